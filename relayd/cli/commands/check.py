"""`check`: validates the configuration, and says what it means."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import click

from relayd.cli.check.difference import show_difference
from relayd.cli.check.files import file_notes
from relayd.cli.options import config_option, json_option
from relayd.cli.terminal import json_text, print_json, printable, wrapped
from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.config.values import format_duration, format_size
from relayd.core.conditions import Among, Condition, Glob, Operators
from relayd.core.endpoint import Endpoint
from relayd.core.secret import SourcedSecret
from relayd.core.subscription import Subscription

_LABEL = 11  # columns before the values


@click.command(
    epilog="""\b
Examples:
  relayd check
  relayd check --config /etc/relayd/config.yaml --json
  sudo relayd check --diff
""",
)
@click.option(
    "--diff",
    is_flag=True,
    help="Show what a reload of the running daemon would change, and what happens to the backlog.",
)
@json_option
@config_option
def check(diff: bool, as_json: bool, config_path: Path) -> None:
    """Validate the configuration, and print how it is interpreted.

    Each subscription with its events, its limits, when it retries, and where its secret comes from,
    though never the secret. All errors are reported at once, each with its line; the exit status is
    then 78.

    It reads what relayd would read: run it as relayd's user, with relayd's environment, where
    secrets come from files or variables. With --diff, the running daemon reads it.
    """
    if diff:
        show_difference(config_path, as_json=as_json)
        return
    config = load_config(config_path, environ=os.environ)
    notes = file_notes(config)
    if as_json:
        print_json(_document(config, notes))
        return
    lines = [*_file_lines(config), *_subscription_lines(config), *_note_lines(config, notes)]
    for line in lines:
        click.echo(line)


def _file_lines(config: Config) -> Iterator[str]:
    yield click.style(f"{printable(str(config.path))}: OK", bold=True)
    yield ""
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
    kept = format_duration(config.queue.retention_s)
    size = config.queue.max_bytes
    most = "" if size is None else f", up to {format_size(size)} in all"
    yield _line("queue", f"{config.queue.path}, ended events are kept {kept}{most}")
    yield _line("log", f"{config.log.level} and above, format {config.log.format}")
    networks = ", ".join(map(str, config.allow_networks))
    yield _line("may dial", "public addresses" + (f", and {networks}" if networks else ""))


def _market_words(markets: frozenset[str] | None) -> list[str]:
    if markets is None:
        return ["any other market"]
    return [f"also {', '.join(sorted(markets))}"] if markets else []


def _markets_document(markets: frozenset[str] | None) -> str | list[str]:
    return "*" if markets is None else sorted(markets)


def _subscription_lines(config: Config) -> Iterator[str]:
    for subscription in config.subscriptions.values():
        endpoint = config.endpoints[subscription.url]
        state = "" if subscription.active else "  inactive: gets no new events, its backlog is held"
        yield ""
        yield click.style(subscription.name, bold=True) + state
        yield _line("to", _shown_url(subscription.url))
        yield _line("events", ", ".join(subscription.selection.events))
        for path, wanted in _where(subscription.selection.where).items():
            yield _line("where", f"{path}: {json_text(wanted)}")
        yield _line("limits", _limits(subscription, endpoint, config))
        yield _line("retries", retry_words(subscription.retry))
        yield _line("secret", secret_words(subscription.secret))
        if subscription.previous_secret is not None:
            yield _line("previous", secret_words(subscription.previous_secret))
        yield _line("signature", _signature(subscription))
        if subscription.headers:
            yield _line("headers", ", ".join(name for name, _ in subscription.headers))


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


def _over(seconds: float) -> str:
    """Return a sum of waits, rounded to what matters: `24h`, `66m`, `5d`."""
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0)):
        if seconds >= 2 * size and (unit != "d" or seconds >= 3 * size):
            return f"{round(seconds / size)}{unit}"
    return format_duration(seconds)


def secret_words(sourced: SourcedSecret) -> str:
    """Return where a secret comes from, and when a new one is taken up."""
    kind, _, name = sourced.source.partition(" ")
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
    if subscription.signature == "standard":
        return "X-LocallyGrown-Signature, and those of Standard Webhooks"
    return "X-LocallyGrown-Signature"


def _shown_url(url: str) -> str:
    # The operator wrote the path a moment ago, and looks for it; a query may be a key.
    parts = urlsplit(url)
    shown = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return shown + ("?…" if parts.query else "")


def _where(conditions: Sequence[Condition]) -> dict[str, object]:
    """Return conditions as the configuration writes them."""
    return {condition.path: _test(condition.test) for condition in conditions}


def _test(test: Among | Operators) -> object:
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
        written["not"] = _test(test.negated)
    return written


def _document(config: Config, notes: Sequence[str]) -> dict[str, object]:
    return {
        "config": str(config.path),
        "market_id": config.market_id,
        "api_version": config.api_version,
        "spools": [
            {
                "name": spool.name,
                "path": str(spool.path),
                "table": spool.table,
                "market_id": spool.market_id,
                "markets": _markets_document(spool.markets),
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
            "markets": _markets_document(config.socket.markets),
        },
        "queue": {
            "path": str(config.queue.path),
            "retention_s": config.queue.retention_s,
            "max_size_bytes": config.queue.max_bytes,
        },
        "log": {"level": config.log.level, "format": config.log.format},
        "allow_networks": [str(network) for network in config.allow_networks],
        "subscriptions": [
            _subscription_document(each, config.endpoints) for each in config.subscriptions.values()
        ],
        "warnings": [*map(str, config.warnings), *notes],
    }


def _subscription_document(
    subscription: Subscription, endpoints: Mapping[str, Endpoint]
) -> dict[str, object]:
    endpoint = endpoints[subscription.url]
    previous = subscription.previous_secret
    return {
        "name": subscription.name,
        "url": _shown_url(subscription.url),
        "events": list(subscription.selection.events),
        "where": _where(subscription.selection.where),
        "active": subscription.active,
        "secret_from": subscription.secret.source,
        "previous_secret_from": None if previous is None else previous.source,
        "signature": subscription.signature,
        "headers": [name for name, _ in subscription.headers],
        "timeout_s": subscription.timeout_s,
        "rate_limit": str(endpoint.rate),
        "max_in_flight": endpoint.max_in_flight,
        "retry_s": list(subscription.retry),
        "attempts": len(subscription.retry) + 1,
    }
