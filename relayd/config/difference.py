"""What a reload changes: the difference of two configurations, by the names of the file's keys."""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar

from relayd.config.config import Config
from relayd.config.sections import SpoolConfig
from relayd.core.endpoint import Endpoint
from relayd.core.inbound.entry import Inbound
from relayd.core.parts import Parts, whole
from relayd.core.subscription import MADE_WITH, Subscription
from relayd.core.web_access import Holder, Role, WebAccess

T = TypeVar("T")

RELEASING: Final = frozenset({"url", *MADE_WITH})
"""Keys with which an attempt may succeed that failed without."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs among named things; `changed` maps a name to the keys whose values differ."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is new in one configuration compared with another. Holds no value, only names.

    `endpoints` are named by URL. `settings` holds the keys outside of the named things, such as
    `log.level`. `needs_restart` holds those of them that a reload cannot apply.
    """

    subscriptions: Changes
    spools: Changes
    inbound: Changes
    endpoints: Changes
    settings: tuple[str, ...]
    needs_restart: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.subscriptions or self.spools or self.inbound or self.settings)

    @property
    def released(self) -> frozenset[str]:
        """The subscriptions whose waiting retries may succeed now, and are attempted at once."""
        changed = self.subscriptions.changed
        return frozenset(name for name, keys in changed.items() if not RELEASING.isdisjoint(keys))

    def lines(self, notes: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        """Return the difference in words, a line for each thing: `spool market: table changed`.

        Endpoints have no lines: what changes one stands in its subscriptions' lines. `notes` stand
        behind those, by the subscriptions' names.
        """
        return [
            *_lines("subscription", self.subscriptions, notes),
            *_lines("spool", self.spools),
            *_lines("inbound", self.inbound),
            *(f"{key} changed" for key in self.settings),
        ]


def difference(old: Config, new: Config) -> Difference:
    """Return what `new` changes of `old`."""
    return whole(difference_in_parts(old, new))


def difference_in_parts(old: Config, new: Config) -> Parts[Difference]:
    """Return what `new` changes of `old`, in parts with pauses. What is the same object in both is not looked into."""
    settings = _differing(_settings(old), _settings(new))
    old_feeds, new_feeds = _feeds(old.web), _feeds(new.web)
    subscriptions = yield from _changes(
        old.subscriptions,
        new.subscriptions,
        same=lambda before, after: (
            before is after
            and old.endpoints[before.url] == new.endpoints[after.url]
            and old_feeds.get(before.name) == new_feeds.get(after.name)
        ),
        old_keys=lambda each: {**_keys(each, old), "feed_token": old_feeds.get(each.name)},
        new_keys=lambda each: {**_keys(each, new), "feed_token": new_feeds.get(each.name)},
    )
    spools = yield from _changes(
        {spool.name: spool for spool in old.spools},
        {spool.name: spool for spool in new.spools},
        same=operator.is_,
        old_keys=_spool_keys,
        new_keys=_spool_keys,
    )
    inbound = yield from _changes(
        old.inbound,
        new.inbound,
        same=operator.eq,
        old_keys=_inbound_keys,
        new_keys=_inbound_keys,
    )
    endpoints = yield from _changes(
        old.endpoints,
        new.endpoints,
        same=operator.is_,
        old_keys=_endpoint_keys,
        new_keys=_endpoint_keys,
    )
    return Difference(
        subscriptions=subscriptions,
        spools=spools,
        inbound=inbound,
        endpoints=endpoints,
        settings=settings,
        needs_restart=tuple(key for key in settings if key in {"queue.path", "log.format"}),
    )


def _lines(
    kind: str, changes: Changes, notes: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    said = {
        **dict.fromkeys(changes.added, "added"),
        **dict.fromkeys(changes.removed, "removed"),
        **{name: f"{', '.join(keys)} changed" for name, keys in changes.changed.items()},
    }
    for name, words in said.items():
        note = f"; {notes[name]}" if name in notes else ""
        yield f"{kind} {name}: {words}{note}"


def _changes(
    old: Mapping[str, T],
    new: Mapping[str, T],
    *,
    same: Callable[[T, T], bool],
    old_keys: Callable[[T], Mapping[str, object]],
    new_keys: Callable[[T], Mapping[str, object]],
) -> Parts[Changes]:
    added: list[str] = []
    changed: dict[str, tuple[str, ...]] = {}
    for name, after in new.items():
        before = old.get(name)
        if before is None:
            added.append(name)
        elif not same(before, after) and (keys := _differing(old_keys(before), new_keys(after))):
            changed[name] = keys
        yield
    removed: list[str] = []
    for name in old:
        if name not in new:
            removed.append(name)
        yield
    return Changes(tuple(added), tuple(removed), MappingProxyType(changed))


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key))


def _keys(subscription: Subscription, config: Config) -> dict[str, object]:
    """Return a subscription's values by the configuration's keys; only ever compared."""
    order_by = subscription.selection.order_by
    return {
        "url": subscription.url,
        "events": subscription.selection.events,
        "where": subscription.selection.where,
        "order_by": None if order_by is None else order_by.path,
        "on_exhausted": order_by is not None and order_by.hold,
        "active": subscription.active,
        "secret": subscription.secret,
        "previous_secret": subscription.previous_secret,
        "signature": subscription.signature,
        "timeout": subscription.timeout_s,
        **_endpoint_keys(config.endpoints[subscription.url]),
        "retry": subscription.retry,
        "headers": subscription.headers,
        "format": subscription.format,
        "template": subscription.template,
    }


def _endpoint_keys(endpoint: Endpoint) -> dict[str, object]:
    return {
        "rate_limit": endpoint.rate,
        "max_in_flight": endpoint.max_in_flight,
        "tls": endpoint.tls,
        "ip": endpoint.ip,
        "smtp": endpoint.smtp,
    }


def _spool_keys(spool: SpoolConfig) -> dict[str, object]:
    return {
        "path": spool.path,
        "table": spool.table,
        "market_id": spool.market_id,
        "markets": spool.markets,
        "api_version": spool.api_version,
    }


def _inbound_keys(entry: Inbound) -> dict[str, object]:
    return {
        "provider": entry.provider,
        # It may have come from elsewhere and be the same.
        "secret": (entry.secrets, entry.secrets_from),
        "market_id": entry.market_id,
        "tolerance": entry.tolerance_s,
        "allow_from": entry.networks,
        "types": entry.types,
        "allow_test_mode": entry.allow_test_mode,
        "scheme": entry.scheme,
    }


def _settings(config: Config) -> dict[str, object]:
    socket = config.socket
    return {
        "market_id": config.market_id,
        "api_version": config.api_version,
        "socket.path": None if socket is None else socket.path,
        "socket.mode": None if socket is None else socket.mode,
        "socket.market_id": None if socket is None else socket.market_id,
        "socket.markets": None if socket is None else socket.markets,
        "queue.path": config.queue.path,
        "queue.retention": config.queue.retention_s,
        "queue.max_size": config.queue.max_bytes,
        **_web_settings(config.web),
        "log.level": config.log.level,
        "log.format": config.log.format,
        "smtp": config.smtp,
        "allow_networks": config.allow_networks,
        "event_types": config.event_types,
    }


def _web_settings(web: WebAccess | None) -> dict[str, object]:
    if web is None:
        # As a section with nothing in it: what it does not set was not changed either.
        return {"http.trusted_proxies": (), "http.token": (False, None), "http.producers": ({}, {})}
    holders = {each: digest for digest, each in web.tokens.items()}
    return {
        "http.listen": web.listen,
        "http.public": web.public,
        "http.base_url": web.base_url,
        "http.trusted_proxies": web.trusted_proxies,
        "http.token": (web.open, holders.get(Holder(Role.EVERYTHING))),
        "http.read_token": holders.get(Holder(Role.READ)),
        "http.producers": (
            web.producers,
            {each: one for each, one in holders.items() if each.role is Role.PRODUCER},
        ),
    }


def _feeds(web: WebAccess | None) -> dict[str, str]:
    """Return the digests of the feeds' tokens, by the names of their subscriptions."""
    if web is None:
        return {}
    return {each.name: one for one, each in web.tokens.items() if each.role is Role.FEED}
