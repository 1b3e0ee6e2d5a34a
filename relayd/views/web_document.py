"""What the web process is given of the configuration in force, as the document `QUEUE.web`.

It holds no signing secret, no header's value, no SMTP login and no URL's path. Tokens are in it as
digests. The secrets of `inbound:` are in it, since the web process verifies with them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any, Final

from relayd import __version__
from relayd.config.config import Config
from relayd.config.values import parse_rate
from relayd.core.endpoint import endpoint_name
from relayd.core.inbound.entry import Inbound
from relayd.core.matching import ConditionErrors, Selection, compile_where
from relayd.core.parts import Parts
from relayd.core.token_bucket import Rate
from relayd.core.web_access import Holder, Role, WebAccess, WebProducer, parse_listen
from relayd.views.configuration import markets_document, settings_document, subscription_document
from relayd.views.inbound import read_inbound, secrets_document

FORMAT: Final = 1
"""Of the document. The web process of another version may not know it, and says so."""


def web_document(config: Config, *, loaded_at: float) -> Parts[bytes]:
    """Return the document, which is JSON; `config` has `http:`. `loaded_at` is in Unix seconds."""
    assert config.web is not None
    settings = settings_document(config)
    if isinstance(settings["smtp"], dict):
        del settings["smtp"]["user"]
    head: dict[str, object] = {
        "format": FORMAT,
        "version": __version__,
        "loaded_at": loaded_at,
        **settings,
        "event_types": sorted(config.event_types),
        "http": _access_document(config.web),
        "inbound_secrets": secrets_document(config.inbound),
        "warnings": [str(each) for each in config.warnings],
    }
    yield
    written = []
    for each in config.subscriptions.values():
        document = subscription_document(each, config.endpoints)
        document["url"] = endpoint_name(each.url)
        document["file"] = str(config.included.get(each.name, config.path))
        document["line"] = config.lines.get(each.name)
        written.append(json.dumps(document))
        yield
    # By hand around the subscriptions: each is a part, and all of them at once take long.
    return f'{json.dumps(head)[:-1]}, "subscriptions": [{", ".join(written)}]}}'.encode()


def _access_document(access: WebAccess) -> dict[str, Any]:
    return {
        "listen": str(access.listen),
        "public": None if access.public is None else str(access.public),
        "base_url": access.base_url,
        "trusted_proxies": [str(each) for each in access.trusted_proxies],
        "open": access.open,
        "tokens": {
            digest: {"role": holder.role, "name": holder.name}
            for digest, holder in access.tokens.items()
        },
        "producers": {
            name: {"market_id": each.market_id, "markets": markets_document(each.markets)}
            for name, each in access.producers.items()
        },
    }


@dataclass(frozen=True, slots=True)
class WebSubscription:
    """What is asked of one subscription beside showing it: what it wants, and its endpoint's limits."""

    selection: Selection
    active: bool
    rate: Rate
    max_in_flight: int


@dataclass(frozen=True, slots=True)
class WebDocument:
    """The document as the web process has it.

    `settings` is all of it, as JSON, without secrets. `subscriptions` and `inbound` are by their names, in the
    configuration's order.
    """

    access: WebAccess
    settings: Mapping[str, Any]
    subscriptions: Mapping[str, WebSubscription] = field(default_factory=dict)
    inbound: Mapping[str, Inbound] = field(default_factory=dict)

    def closed(self) -> "WebDocument":
        """Return the same with nobody who may do anything."""
        access = replace(self.access, open=False, tokens={}, producers={})
        return replace(self, access=access, inbound={})


class OtherFormatError(Exception):
    """The document cannot be read: another version of relayd wrote it, or it is damaged."""


def read_web_document(raw: bytes) -> WebDocument:
    """Read what `web_document` wrote, whole: what is wrong is found here, and not when it is asked for.

    Raises `OtherFormatError`.
    """
    try:
        settings = json.loads(raw)
        if settings["format"] != FORMAT:
            raise OtherFormatError(f"relayd {settings['version']} wrote it; restart both processes")
        access = _access(settings["http"])
        subscriptions = {each["name"]: _subscription(each) for each in settings["subscriptions"]}
        _check_names(access, subscriptions)
        secrets = settings.pop("inbound_secrets", {})
        entries = read_inbound(settings.get("inbound", []), secrets)
        return WebDocument(access, settings, subscriptions, entries)
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ConditionErrors,
        RecursionError,
    ) as error:
        raise OtherFormatError("it is damaged; `relayd reload` writes it again") from error


def _subscription(each: Mapping[str, Any]) -> WebSubscription:
    rate = parse_rate(each["rate_limit"])
    if rate is None:
        raise ValueError(each["rate_limit"])
    return WebSubscription(
        Selection(tuple(each["events"]), compile_where(each["where"])),
        bool(each["active"]),
        rate,
        int(each["max_in_flight"]),
    )


def _check_names(access: WebAccess, subscriptions: Mapping[str, object]) -> None:
    """Raise KeyError for a token of a subscription or a producer that there is not."""
    named: Mapping[Role, Mapping[str, object]] = {
        Role.FEED: subscriptions,
        Role.PRODUCER: access.producers,
    }
    for holder in access.tokens.values():
        if holder.role in named:
            named[holder.role][holder.name]


def _access(http: Mapping[str, Any]) -> WebAccess:
    listen = parse_listen(http["listen"])
    if listen is None:
        raise ValueError(http["listen"])
    return WebAccess(
        listen=listen,
        public=None if http["public"] is None else parse_listen(http["public"]),
        base_url=http["base_url"],
        trusted_proxies=tuple(map(ip_network, http["trusted_proxies"])),
        open=http["open"],
        tokens={
            digest: Holder(Role(each["role"]), each["name"])
            for digest, each in http["tokens"].items()
        },
        producers={
            name: WebProducer(
                each["market_id"], None if each["markets"] == "*" else frozenset(each["markets"])
            )
            for name, each in http["producers"].items()
        },
    )
