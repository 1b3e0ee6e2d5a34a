"""The configuration as it is interpreted, as the document of `check`."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from relayd.config.config import Config
from relayd.core.conditions import Among, Condition, Operators
from relayd.core.endpoint import Endpoint, endpoint_name
from relayd.core.glob import Glob
from relayd.core.order import longest_block_s
from relayd.core.smtp import Smtp
from relayd.core.subscription import HeaderSignature, SignatureScheme, Subscription
from relayd.core.tls import Tls
from relayd.core.web_access import Role, WebAccess
from relayd.views.inbound import inbound_document


def configuration_document(config: Config, notes: Sequence[str]) -> dict[str, object]:
    """Return the configuration as it is interpreted; `notes` are what is wrong around it."""
    return {
        **settings_document(config),
        "http": _http_document(config.web),
        "subscriptions": [
            {
                **subscription_document(each, config.endpoints),
                "file": str(config.included.get(each.name, config.path)),
            }
            for each in config.subscriptions.values()
        ],
        "warnings": [*map(str, config.warnings), *notes],
    }


def settings_document(config: Config) -> dict[str, object]:
    """Return what is interpreted outside of the subscriptions."""
    return {
        "config": str(config.path),
        "files": list(dict.fromkeys(map(str, (config.path, *config.included.values())))),
        "market_id": config.market_id,
        "api_version": config.api_version,
        "spools": [
            {
                "name": spool.name,
                "path": str(spool.path),
                "table": spool.table,
                "market_id": spool.market_id,
                "markets": markets_document(spool.markets),
                "api_version": spool.api_version,
            }
            for spool in config.spools
        ],
        "socket": None
        if config.socket is None
        else {
            "path": str(config.socket.path),
            "mode": f"{config.socket.mode:04o}",
            "market_id": config.socket.market_id,
            "markets": markets_document(config.socket.markets),
        },
        "queue": {
            "path": str(config.queue.path),
            "retention_s": config.queue.retention_s,
            "max_size_bytes": config.queue.max_bytes,
        },
        "log": {"level": config.log.level, "format": config.log.format},
        "inbound": [inbound_document(each) for each in config.inbound.values()],
        "smtp": _smtp_document(config.smtp),
        "allow_networks": [str(network) for network in config.allow_networks],
    }


def _http_document(web: WebAccess | None) -> object:
    """Return where the web process listens, and for whom there is a token; no token is in it."""
    if web is None:
        return None
    roles = {each.role for each in web.tokens.values()}
    return {
        "listen": str(web.listen),
        "public": None if web.public is None else str(web.public),
        "base_url": web.base_url,
        "trusted_proxies": [str(each) for each in web.trusted_proxies],
        "open": web.open,
        "token": Role.EVERYTHING in roles,
        "read_token": Role.READ in roles,
        "producers": [
            {
                "name": name,
                "market_id": each.market_id,
                "markets": markets_document(each.markets),
            }
            for name, each in web.producers.items()
        ],
        "feeds": [each.name for each in web.tokens.values() if each.role is Role.FEED],
    }


def markets_document(markets: frozenset[str] | None) -> str | list[str]:
    """Return the markets that events may name beside their source's own."""
    return "*" if markets is None else sorted(markets)


def subscription_document(
    subscription: Subscription, endpoints: Mapping[str, Endpoint]
) -> dict[str, object]:
    """Return a subscription as it is interpreted, without what may be secret."""
    endpoint = endpoints[subscription.url]
    previous = subscription.previous_secret
    order_by = subscription.selection.order_by
    return {
        "name": subscription.name,
        "url": shown_url(subscription),
        "url_from": subscription.url_source,
        "events": list(subscription.selection.events),
        "where": conditions_as_written(subscription.selection.where),
        "order_by": None if order_by is None else order_by.path,
        "on_exhausted": None if order_by is None else "hold" if order_by.hold else "skip",
        "longest_block_s": None if order_by is None else round(_longest_block_s(subscription), 1),
        "active": subscription.active,
        "format": subscription.format,
        "template": None if subscription.template is None else subscription.template.file,
        "secret_from": None if subscription.secret is None else subscription.secret.source,
        "previous_secret_from": None if previous is None else previous.source,
        "signature": None
        if subscription.secret is None
        else _signature_document(subscription.signature),
        "headers": [name for name, _ in subscription.headers],
        "timeout_s": subscription.timeout_s,
        "rate_limit": str(endpoint.rate),
        "max_in_flight": endpoint.max_in_flight,
        "tls": _tls_document(endpoint.tls),
        "ip": endpoint.ip,
        "retry_s": list(subscription.retry),
        "attempts": len(subscription.retry) + 1,
    }


def _longest_block_s(subscription: Subscription) -> float:
    return longest_block_s(subscription.retry, subscription.timeout_s)


def _signature_document(scheme: SignatureScheme | HeaderSignature) -> object:
    if isinstance(scheme, HeaderSignature):
        return {"header": scheme.header, "prefix": scheme.prefix, "encoding": scheme.encoding}
    return scheme


def _tls_document(tls: Tls | None) -> object:
    if tls is None:
        return None
    return {"ca": tls.ca, "certificate": tls.certificate, "key": tls.key}


def _smtp_document(smtp: Smtp | None) -> object:
    if smtp is None:
        return None
    return {
        "host": smtp.host,
        "port": smtp.port,
        "tls": smtp.tls,
        "from": smtp.sender,
        "user": smtp.user,
        "password_from": None if smtp.password is None else smtp.password.source,
    }


def shown_url(subscription: Subscription) -> str:
    """Return a subscription's URL with its path, and without its query.

    Of one that is not in the configuration itself, only the host: it was kept apart as a secret.
    """
    url = subscription.url
    if subscription.url_source != "text":
        return endpoint_name(url)
    # The operator wrote the path a moment ago, and looks for it; a query may be a key.
    parts = urlsplit(url)
    shown = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return shown + ("?…" if parts.query else "")


def conditions_as_written(conditions: Sequence[Condition]) -> dict[str, object]:
    """Return conditions as the configuration writes them."""
    return {condition.path: _as_written(condition.test) for condition in conditions}


def _as_written(test: Among | Operators) -> object:
    if isinstance(test, Among):
        return test.written[0] if len(test.written) == 1 else list(test.written)
    written: dict[str, object] = {}
    for each in test.checks:
        if isinstance(each, Glob):
            written["glob"] = each.pattern
        else:
            written[each.name] = each.operand
    if test.exists is not None:
        written["exists"] = test.exists
    if test.negated is not None:
        written["not"] = _as_written(test.negated)
    return written
