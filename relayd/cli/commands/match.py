"""`match`: which subscriptions an event would go to, and for each that it would not, why."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import click

from relayd.cli.event_data import file_bytes, object_data, sample_data
from relayd.cli.in_force import ask_in_force, note_in_force
from relayd.cli.options import complete_event_types, config_option, json_option
from relayd.cli.terminal import print_json, wrapped
from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.core.catalogue import suggest
from relayd.core.event import Event, EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_line, event_from_row
from relayd.core.matching import Matcher
from relayd.core.patterns import is_known
from relayd.core.samples import SAMPLES
from relayd.views.in_force import in_force_document

_ID: Final = "evt_1"


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one subscription makes of the event."""

    subscription: str
    wanted: bool
    reason: str


@click.command(
    epilog="""\b
Examples:
  relayd match order.created
  relayd match order.created --object '{"id":"order_456","total":2500}'
  curl -s https://example.com/event.json | relayd match -
""",
)
@click.argument("event_type", metavar="TYPE|-", shell_complete=complete_event_types)
@click.option("--data", metavar="JSON", help="The event's data: a JSON object.")
@click.option("--object", "object_text", metavar="JSON", help="What the data has under `object`.")
@click.option("--file", type=click.File("rb"), help="A file that holds the data.")
@click.option("--sample", "use_sample", is_flag=True, help="The catalogue's sample of this type.")
@json_option
@config_option
def match(
    *,
    event_type: str,
    data: str | None,
    object_text: str | None,
    file: BinaryIO | None,
    use_sample: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """Show which subscriptions an event of TYPE would go to, and for each other one, why not.

    With - instead of TYPE, a whole event is read from standard input. Without data, the
    catalogue's sample is used, or else an empty object. Nothing is handed over.
    """
    config = load_config(config_path, environ=os.environ)
    given = [data is not None, object_text is not None, file is not None, use_sample]
    if sum(given) > (0 if event_type == "-" else 1):
        raise click.UsageError("Give the data once: by --data, --object, --file, --sample or -.")
    defaults = EventDefaults(config.market_id, config.api_version, None)
    now = int(time.time())
    what = "the event on standard input"
    if event_type == "-":
        raw = file_bytes(sys.stdin.buffer)
        event = event_from_line(raw, defaults, new_id=_ID, now=now)
    else:
        what, text = _data(event_type, data, object_text, file, use_sample=use_sample)
        event = event_from_row(_row(event_type, text, now), defaults, now=now)
    if isinstance(event, Rejection):
        reason = event.reason.replace("the row's", "the event's").replace("the line", "it")
        raise click.ClickException(f"this is not an event: {reason} ({event.code})")
    findings = _findings(config, event)
    # It answers by the file; the daemon may go by another one.
    in_force = ask_in_force(config.queue, config_path)
    if as_json:
        document = _document(config, event, findings)
        print_json({**document, "in_force": in_force_document(in_force)})
    else:
        _print(config, event, what, findings)
        note_in_force(in_force)


def _data(
    event_type: str,
    data: str | None,
    object_text: str | None,
    file: BinaryIO | None,
    *,
    use_sample: bool,
) -> tuple[str, bytes]:
    """Return what the data is, in words, and its text."""
    if data is not None:
        return "with this data", _encoded(data)
    if object_text is not None:
        return "with this object", _encoded(object_data(object_text))
    if file is not None:
        return "with the data in the file", file_bytes(file)
    if use_sample or event_type in SAMPLES:
        return "with the catalogue's sample", _encoded(sample_data(event_type))
    return "with no data", b"{}"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _row(event_type: str, data: bytes, now: int) -> SpoolRow:
    return SpoolRow(0, _ID.encode(), _encoded(event_type), data, now, None, None)


def _findings(config: Config, event: Event) -> list[_Finding]:
    matcher = Matcher({name: each.selection for name, each in config.subscriptions.items()})
    return [
        _Finding(verdict.name, verdict.matched, verdict.reason)
        if config.subscriptions[verdict.name].active or not verdict.matched
        else _Finding(verdict.name, False, f"it is inactive (active: false), but {verdict.reason}")
        for verdict in matcher.explain(event.envelope)
    ]


def _document(config: Config, event: Event, findings: Sequence[_Finding]) -> dict[str, object]:
    return {
        "event_type": event.type,
        "known_type": is_known(event.type, config.event_types, config.type_prefixes),
        "matched": [each.subscription for each in findings if each.wanted],
        "subscriptions": [
            {"name": each.subscription, "matched": each.wanted, "reason": each.reason}
            for each in findings
        ],
    }


def _print(config: Config, event: Event, what: str, findings: Sequence[_Finding]) -> None:
    click.echo(wrapped(f"{event.type}, {what}"))
    if not is_known(event.type, config.event_types, config.type_prefixes):
        near = suggest(event.type, config.event_types)
        hint = f"did you mean {near}?" if near else "is it spelt right?"
        click.echo(
            wrapped(
                f"Note: the type is not known; {hint} Declare your own types under event_types:."
            )
        )
    widest = max((len(each.subscription) for each in findings), default=0)
    for wanted, heading in ((True, "It would go to:"), (False, "It would not go to:")):
        group = [each for each in findings if each.wanted is wanted]
        if group:
            click.echo(f"\n{heading}")
        for each in group:
            name = click.style(each.subscription.ljust(widest), fg="green" if wanted else None)
            lines = wrapped(each.reason, " " * (widest + 4))
            click.echo(f"  {name}  {lines.lstrip()}")
    if not any(each.wanted for each in findings):
        click.echo("\nNo subscription matches it: it would be kept, but not delivered.")
