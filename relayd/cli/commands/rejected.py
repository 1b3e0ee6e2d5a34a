"""`rejected`: lists, shows, re-submits or drops what sources brought that cannot be an event."""

import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from relayd.cli.daemon_client import running_daemon
from relayd.cli.event_data import file_data
from relayd.cli.options import WholeNumber, config_option, json_option, yes_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.terminal import confirm, packed, print_json, print_lines, printable, wrapped
from relayd.cli.text.rejected import next_step, removed_lines
from relayd.config.moments import MOMENT_FORMS, parse_seconds
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig
from relayd.views.moments import clock_time, short_time, zone
from relayd.views.rejected import (
    columns_of,
    listed_document,
    rejected_document,
    removed_document,
)

_ALL = 1_000_000
_AT_ONCE = 500
_MILLISECONDS = "ms"
_number = click.argument("number", type=WholeNumber(1, 2**63 - 1))
_MOST_NUMBER = 2**63 - 1


def _ranges(
    _: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[range, ...]:
    """Return the rows that are meant: each text is a number, or several, as 3-17."""
    ranges = []
    for text in texts:
        found = re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", text)
        if found is None:
            raise click.BadParameter(
                f"{text!r} is not a number, or a range of them, as 3-17.", param=parameter
            )
        first = int(found[1])
        last = int(found[2] or found[1])
        if not 1 <= first <= last <= _MOST_NUMBER:
            raise click.BadParameter(f"{text!r} holds no number from 1 on.", param=parameter)
        ranges.append(range(first, last + 1))
    return tuple(ranges)


_numbers = click.argument("numbers", nargs=-1, callback=_ranges, metavar="[NUMBER|FIRST-LAST]...")
_all_option = click.option("--all", "take_all", is_flag=True, help="All rejected rows.")


@click.group(
    epilog="""\b
Examples:
  relayd rejected list
  relayd rejected resubmit 7 --type order.created
  relayd rejected drop 8 9
""",
)
def rejected() -> None:
    """List rejected input, fix and resubmit it, or drop it."""


@rejected.command(
    "list",
    epilog="""\b
Example:
  relayd rejected list --limit 10
""",
)
@click.option("--limit", type=WholeNumber(1, 10_000), default=50, show_default=True)
@json_option
@config_option
def list_(limit: int, as_json: bool, config_path: Path) -> None:
    """List rejected input, newest first, with the reason."""
    with reading_queue(queue_place(config_path)) as reading:
        found = reading.list_rejected(limit=limit)
        removed = reading.removed_for_limit()
    if as_json:
        print_json(
            {
                "rejected": [listed_document(each) for each in found],
                "removed": [removed_document(each) for each in removed],
            }
        )
        return
    if not found:
        click.echo("Nothing was rejected.")
    now = time.time()
    if found:
        time_header = f"TIME {zone(now)}"
        click.echo(f"{'NUMBER':>6}  {time_header}  SOURCE  CODE")
    for each in found:
        moment = short_time(each.rejected_at, now).ljust(len(time_header))
        parts = (f"{each.seq:>6}", moment, each.source, each.code)
        print_lines(packed(parts))
        click.echo(wrapped(each.reason, " " * 8))
    if found:
        number = found[0].seq
        click.echo(
            wrapped(
                f"`relayd rejected show {number}` shows one in full. Fix the producer, then `relayd"
                f" rejected resubmit {number}` (--type, --data, --id, --created replace what is wrong),"
                f" or `relayd rejected drop {number}`."
            )
        )
    for line in removed_lines(removed):
        click.echo(line)


@rejected.command(
    short_help="Show one rejected row in full.",
    epilog="""\b
Example:
  relayd rejected show 7
""",
)
@_number
@json_option
@config_option
def show(number: int, as_json: bool, config_path: Path) -> None:
    """Show one rejected row in full: each column as it was found, and why it is not an event."""
    with reading_queue(queue_place(config_path)) as reading:
        found = reading.rejected(number)
    if found is None:
        raise click.ClickException(f"there is no rejected input {number}")
    if as_json:
        print_json(rejected_document(found))
        return
    click.echo(f"{found.seq}  from {printable(found.source)} at {clock_time(found.rejected_at)}")
    click.echo(wrapped(f"{found.reason} ({found.code})", "  "))
    click.echo("")
    for name, value in columns_of(found).items():
        if value is not None:
            shown = "raw body" if found.webhook is not None and name == "data" else name
            click.echo(f"{shown:12}{printable(str(value))}")
    click.echo("")
    click.echo(wrapped(next_step(found)))


@rejected.command(
    short_help="Resubmit rejected rows, with changes.",
    epilog="""\b
Examples:
  relayd rejected resubmit 7
  relayd rejected resubmit 7 --type order.created --id evt_order_456
  relayd rejected resubmit 7 --file fixed.json
  relayd rejected resubmit 3-17 --created ms
""",
)
@_numbers
@click.option("--type", "event_type", metavar="TYPE", help="Replace the event's type.")
@click.option("--data", metavar="JSON", help="Replace the event's data, a JSON object.")
@click.option("--file", type=click.File("rb"), help="A file that holds the data; - for stdin.")
@click.option("--id", "event_id", metavar="ID", help="Replace the event's id.")
@click.option(
    "--created",
    metavar="TIME",
    help=f"Replace the event's time: {MOMENT_FORMS}; or ms where its own is in milliseconds.",
)
@_all_option
@json_option
@config_option
def resubmit(
    *,
    numbers: tuple[range, ...],
    event_type: str | None,
    data: str | None,
    file: BinaryIO | None,
    event_id: str | None,
    created: str | None,
    take_all: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """Resubmit rejected rows, with the changes given; what is accepted leaves the list.

    --type and --created apply to all rows given, the others to one. A number in a range
    that is not in the list is skipped. A webhook is mapped as its entry says now, and what is
    given replaces what that gives.
    """
    if data is not None and file is not None:
        raise click.UsageError("Give the data once: by --data or --file.")
    if file is not None:
        data = file_data(file)
    mended = {"type": event_type, "data": data, "id": event_id}
    changes = {key: value for key, value in mended.items() if value is not None}
    one = len(numbers) == 1 and len(numbers[0]) == 1
    if changes.keys() - {"type"} and (take_all or not one):
        raise click.UsageError("--data, --file and --id are for one row: give its number.")
    if created is not None and created != _MILLISECONDS:
        changes["created"] = str(_created(created))
    results: list[dict[str, Any]] = []
    queue = queue_place(config_path)
    with running_daemon(queue) as daemon:
        for number in _chosen(queue, numbers, take_all=take_all):
            own = _in_seconds(queue, number) if created == _MILLISECONDS else {}
            answer = daemon.answer("resubmit", rejected=number, changes={**changes, **own})
            results.append({"number": number, **answer})
            if not as_json:
                _tell_resubmitted(number, answer)
    if as_json:
        print_json({"resubmitted": results})
    elif not results:
        click.echo("Nothing was rejected.")
    sys.exit(0 if all(each["ok"] for each in results) else 1)


@rejected.command(
    epilog="""\b
Examples:
  relayd rejected drop 8 9 12-40
  relayd rejected drop --all --yes
""",
)
@_numbers
@_all_option
@yes_option
@json_option
@config_option
def drop(
    *,
    numbers: tuple[range, ...],
    take_all: bool,
    yes: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """Remove rejected rows permanently. Their content is lost."""
    queue = queue_place(config_path)
    dropped = 0
    with running_daemon(queue) as daemon:
        chosen = _chosen(queue, numbers, take_all=take_all)
        if chosen:
            confirm(f"Drop {len(chosen):,} rejected row{'s' * (len(chosen) > 1)}?", yes=yes)
        for start in range(0, len(chosen), _AT_ONCE):
            answer = daemon.ask("drop", rejected=chosen[start : start + _AT_ONCE])
            dropped += answer["changed"]
    if as_json:
        print_json({"changed": dropped})
    elif dropped or not numbers:
        click.echo(f"{dropped:,} dropped.")
    else:
        raise click.ClickException("there is no such rejected input")


def _created(text: str) -> int:
    seconds = parse_seconds(text, time.time())
    if seconds is None or seconds < 0:
        raise click.BadParameter(
            f"{text!r} is not a time: give {MOMENT_FORMS}, or ms", param_hint="--created"
        )
    return seconds


def _in_seconds(queue: QueueConfig, number: int) -> dict[str, str]:
    """Return a row's own time, which is in milliseconds; nothing where it is no such number."""
    with reading_queue(queue) as reading:
        found = reading.rejected(number)
    own = None if found is None else found.row.created
    text = own.decode(errors="replace") if isinstance(own, bytes) else str(own)
    number_found = re.fullmatch(r"([0-9]{4,16})(\.0*)?", text)
    return {} if number_found is None else {"created": str(int(number_found[1]) // 1000)}


def _chosen(queue: QueueConfig, numbers: Sequence[range], *, take_all: bool) -> list[int]:
    if take_all == bool(numbers):
        raise click.UsageError("Specify which: numbers from `relayd rejected list`, or --all.")
    if not take_all and all(len(each) == 1 for each in numbers):
        # Whether they are there is for the daemon to say.
        return list(dict.fromkeys(each[0] for each in numbers))
    with reading_queue(queue) as reading:
        # Oldest first, as they came.
        listed = [each.seq for each in reading.list_rejected(limit=_ALL)][::-1]
    if take_all:
        return listed
    chosen = [seq for seq in listed if any(seq in each for each in numbers)]
    if not chosen:
        raise click.ClickException("none of these numbers is in the list")
    return chosen


def _tell_resubmitted(number: int, answer: Mapping[str, Any]) -> None:
    if not answer["ok"]:
        click.echo(wrapped(f"{number}: {answer['error']} ({answer['code']})", "   "), err=True)
    elif answer["duplicate"]:
        click.echo(f"{number}: {answer['id']} had been accepted before, with the same content.")
    else:
        click.echo(f"{number}: accepted as {answer['id']}.")
