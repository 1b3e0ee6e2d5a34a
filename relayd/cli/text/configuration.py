"""The configuration as it is interpreted, for people."""

from collections.abc import Iterator, Sequence

import click

from relayd.cli.terminal import json_text, printable, wrapped
from relayd.config.config import Config
from relayd.config.values import format_duration, format_size
from relayd.core.endpoint import Endpoint
from relayd.core.inbound.entry import Inbound
from relayd.core.order import OrderBy, longest_block_s
from relayd.core.secret import SourcedSecret
from relayd.core.smtp import Smtp
from relayd.core.subscription import HeaderSignature, Subscription
from relayd.core.web_access import Holder, Role, WebAccess
from relayd.views.configuration import conditions_as_written, shown_url

_LABEL = 11  # columns before the values


def configuration_lines(config: Config, notes: Sequence[str]) -> Iterator[str]:
    """Yield how the configuration is interpreted; `notes` are what is wrong around it."""
    yield from _whole_lines(config)
    yield from _subscription_lines(config)
    yield from _note_lines(config, notes)


def _whole_lines(config: Config) -> Iterator[str]:
    yield click.style(f"{printable(str(config.path))}: OK", bold=True)
    yield ""
    if config.included:
        number = len({*config.included.values()})
        files = "1 file" if number == 1 else f"{number:,} files"
        count = len(config.included)
        subscriptions = "1 subscription" if count == 1 else f"{count:,} subscriptions"
        yield _line("includes", f"{subscriptions} in {files}")
    yield _line("market", f"{config.market_id}, API version {config.api_version}")
    for spool in config.spools:
        own = [
            f"{key} {value}"
            for key, value, common in (
                ("table", spool.table, "relayd_spool"),
                ("market", spool.market_id, config.market_id),
                ("API version", spool.api_version, config.api_version),
            )
            if value != common
        ]
        own += _market_words(spool.markets)
        yield _line("spool", ", ".join([f"{spool.name}: {spool.path}", *own]))
    if config.socket is not None:
        own = [f"{config.socket.path} (mode {config.socket.mode:04o})"]
        if config.socket.market_id != config.market_id:
            own.append(f"market {config.socket.market_id}")
        yield _line("socket", ", ".join([*own, *_market_words(config.socket.markets)]))
    if config.web is not None:
        yield from _web_lines(config.web, config.market_id)
    kept = format_duration(config.queue.retention_s)
    size = config.queue.max_bytes
    most = "" if size is None else f", up to {format_size(size)} in all"
    yield _line("queue", f"{config.queue.path}, ended events are kept {kept}{most}")
    yield _line("log", f"{config.log.level} and above, format {config.log.format}")
    for entry in config.inbound.values():
        yield _line("inbound", _inbound_words(entry, config))
    if config.smtp is not None:
        yield _line("mail", _smtp_words(config.smtp))
    networks = ", ".join(map(str, config.allow_networks))
    yield _line("may dial", "public addresses" + (f", and {networks}" if networks else ""))


def _inbound_words(entry: Inbound, config: Config) -> str:
    words = [f"{entry.name}: {entry.provider} at {entry.path}"]
    words += [f"secret {source_words(source)}" for source in dict.fromkeys(entry.secrets_from)]
    if entry.market_id != config.market_id:
        words.append(f"market {entry.market_id}")
    if entry.networks:
        words.append(f"from {', '.join(map(str, entry.networks))} only")
    if entry.allow_test_mode:
        words.append("test mode too")
    return ", ".join(words)


def _web_lines(web: WebAccess, market_id: str) -> Iterator[str]:
    roles = {each.role for each in web.tokens.values()}
    if web.open:
        who = "everybody who reaches it may do everything"
    else:
        tokens = [
            name
            for role, name in ((Role.EVERYTHING, "token"), (Role.READ, "read_token"))
            if role in roles
        ]
        who = " and ".join(tokens) or "no token for the dashboard and /metrics"
    public = "" if web.public is None else f"; to others {web.public}, /v1/events and /in/"
    own_url = "" if web.base_url is None else f"; browsers reach it at {web.base_url}"
    yield _line("http", f"{web.listen}: {who}{public}{own_url}")
    for name, each in web.producers.items():
        market = [] if each.market_id == market_id else [f"market {each.market_id}"]
        yield _line("producer", ", ".join([name, *market, *_market_words(each.markets)]))


def _market_words(markets: frozenset[str] | None) -> list[str]:
    if markets is None:
        return ["any other market"]
    return [f"also {', '.join(sorted(markets))}"] if markets else []


def _subscription_lines(config: Config) -> Iterator[str]:
    feeds = set() if config.web is None else set(config.web.tokens.values())
    for subscription in config.subscriptions.values():
        endpoint = config.endpoints[subscription.url]
        state = "" if subscription.active else "  inactive: gets no new events, its backlog is held"
        yield ""
        yield click.style(subscription.name, bold=True) + state
        if config.included:
            yield _line("file", str(config.included.get(subscription.name, config.path)))
        yield _line("to", _target(subscription))
        yield from _connection_lines(endpoint)
        yield _line("events", ", ".join(subscription.selection.events))
        for path, wanted in conditions_as_written(subscription.selection.where).items():
            yield _line("where", f"{path}: {json_text(wanted)}")
        if subscription.selection.order_by is not None:
            yield _line("order", order_words(subscription, subscription.selection.order_by))
        yield _line("limits", _limits(subscription, endpoint, config))
        yield _line("retries", retry_words(subscription.retry))
        if subscription.format is not None:
            yield _line("format", f"{subscription.format}: one sentence about the event")
        if (template := subscription.template) is not None:
            yield _line("template", template.file)
        if Holder(Role.FEED, subscription.name) in feeds:
            yield _line("feed", "read with its feed_token")
        if subscription.format != "mail":
            yield from _signing_lines(subscription)


def _signing_lines(subscription: Subscription) -> Iterator[str]:
    if subscription.secret is None:
        yield _line("secret", "none: deliveries are not signed")
    else:
        yield _line("secret", secret_words(subscription.secret))
        if subscription.previous_secret is not None:
            yield _line("previous", secret_words(subscription.previous_secret))
        yield _line("signature", _signature(subscription))
    if subscription.headers:
        yield _line("headers", ", ".join(name for name, _ in subscription.headers))


def _target(subscription: Subscription) -> str:
    shown = shown_url(subscription)
    if subscription.url_source == "text":
        return shown
    return f"{shown}, {source_words(subscription.url_source)}"


def _connection_lines(endpoint: Endpoint) -> Iterator[str]:
    tls = endpoint.tls
    if tls is not None:
        trusted = (
            "the public authorities are trusted" if tls.ca is None else f"only {tls.ca} is trusted"
        )
        sent = "" if tls.client is None else f"; client certificate {tls.certificate}"
        yield _line("tls", f"{trusted}{sent}; read again on reload")
    if endpoint.ip is not None:
        yield _line("addresses", f"IPv{endpoint.ip} only")


def _smtp_words(smtp: Smtp) -> str:
    tls = {"starttls": "STARTTLS", "implicit": "TLS", "none": "no TLS"}[smtp.tls]
    words = f"{smtp.place} ({tls}), from {smtp.sender}"
    if smtp.user is None or smtp.password is None:
        return f"{words}, no login"
    return f"{words}, login {smtp.user}, password {source_words(smtp.password.source)}"


def _note_lines(config: Config, notes: Sequence[str]) -> Iterator[str]:
    if config.warnings or notes:
        yield ""
    for text in [*map(str, config.warnings), *notes]:
        warning = click.style("warning: ", fg="yellow", bold=True)
        yield warning + wrapped(text, "  ", first=" " * 9).lstrip()


def _line(label: str, value: str) -> str:
    return wrapped(value, " " * (_LABEL + 2), first=f"  {label:<{_LABEL}}")


def _limits(subscription: Subscription, endpoint: Endpoint, config: Config) -> str:
    others = [
        each.name
        for each in config.subscriptions.values()
        if each.url == subscription.url and each.name != subscription.name
    ]
    shared = f", shared with {', '.join(others)}" if others else ""
    return (
        f"{endpoint.rate}, {endpoint.max_in_flight} at a time{shared}; "
        f"{format_duration(subscription.timeout_s)} for an attempt"
    )


def retry_words(retry: Sequence[float]) -> str:
    """Return a retry schedule in words: `after 2m, 10m: 3 attempts over 12m`."""
    if not retry:
        return "none: 1 attempt"
    waits = ", ".join(map(format_duration, retry))
    return f"after {waits}: {len(retry) + 1} attempts over {_over(sum(retry))}"


def order_words(subscription: Subscription, order_by: OrderBy) -> str:
    """Return what is sent in order, and how long one failing event can block what is behind it."""
    longest = _over(longest_block_s(subscription.retry, subscription.timeout_s))
    words = (
        f"events with the same {order_by.path} one after the other; one that fails can block those"
        f" behind it for {longest}"
    )
    if order_by.hold:
        return f"{words}, and then until it is replayed with success or cancelled (hold)"
    return f"{words}, then it is skipped"


def _over(seconds: float) -> str:
    """Return a sum of waits, rounded to what matters: `24h`, `66m`, `5d`."""
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0)):
        if seconds >= 2 * size and (unit != "d" or seconds >= 3 * size):
            return f"{round(seconds / size)}{unit}"
    return format_duration(seconds)


def secret_words(sourced: SourcedSecret) -> str:
    """Return where a secret comes from, and when a new one is taken up."""
    return source_words(sourced.source)


def source_words(source: str) -> str:
    """Return the same of a source: see `SourcedSecret`."""
    kind, _, name = source.partition(" ")
    match kind:
        case "file":
            return f"from the file {name}, read again on reload"
        case "env":
            return f"from the variable {name}, fixed until a restart"
        case "credential":
            return f"from the credential {name}, fixed until a restart"
        case _:
            return "in this file, read again on reload"


def _signature(subscription: Subscription) -> str:
    scheme = subscription.signature
    if isinstance(scheme, HeaderSignature):
        form = f"{scheme.prefix}, then {scheme.encoding}" if scheme.prefix else scheme.encoding
        return f"X-LocallyGrown-Signature, and {scheme.header} ({form})"
    if scheme == "standard":
        return "X-LocallyGrown-Signature, and those of Standard Webhooks"
    return "X-LocallyGrown-Signature"
