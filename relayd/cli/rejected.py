"""`rejected`: lists, shows, re-submits or drops what sources brought that cannot be an event."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from relayd.cli.asking import running_daemon
from relayd.cli.moments import clock_time, iso, short_time
from relayd.cli.options import config_option, json_option
from relayd.cli.output import print_json, printable, wrapped
from relayd.cli.queue_place import queue_place
from relayd.cli.selection import confirm, reading_queue
from relayd.config.sections import QueueConfig
from relayd.core.event import Column
from relayd.queue.rejected import (
    ListedInput,
    RejectedInput,
    list_rejected,
    read_rejected,
)

_ALL = 1_000_000
_AT_ONCE = 500

_number = click.argument("number", type=click.IntRange(1, 2**63 - 1))
_numbers = click.argument(
    "numbers", nargs=-1, type=click.IntRange(1, 2**63 - 1), metavar="[NUMBER]..."
)
_all_option = click.option("--all", "take_all", is_flag=True, help="All that there are.")


@click.group(
    epilog="""\b
Examples:
  relayd rejected list
  relayd rejected resubmit 7 --type order.created
  relayd rejected drop 8 9
""",
)
def rejected() -> None:
    """See what came from a spool and cannot be an event: mend it, or drop it."""


@rejected.command(
    "list",
    epilog="""\b
Example:
  relayd rejected list --limit 10
""",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@config_option
def list_(limit: int, as_json: bool, config_path: Path) -> None:
    """List rejected input, the newest first, with the reason."""
    with reading_queue(queue_place(config_path)) as reading:
        found = list_rejected(reading.db, limit=limit)
    if as_json:
        print_json({"rejected": [_listed_document(each) for each in found]})
    elif not found:
        click.echo("Nothing was rejected.")
    now = time.time()
    for each in () if as_json else found:
        click.echo(
            f"{each.seq:>6}  {short_time(each.rejected_at, now):8}  {printable(each.source)}"
            f"  {each.code}"
        )
        click.echo(wrapped(each.reason, " " * 8))


@rejected.command(
    epilog="""\b
Example:
  relayd rejected show 7
""",
)
@_number
@json_option
@config_option
def show(number: int, as_json: bool, config_path: Path) -> None:
    """Show one rejected row whole: each column as it was found, and why it is no event."""
    with reading_queue(queue_place(config_path)) as reading:
        found = read_rejected(reading.db, number)
    if found is None:
        raise click.ClickException(f"there is no rejected input {number}")
    row = found.row
    columns = {
        "id": row.id,
        "type": row.type,
        "created": row.created,
        "market_id": row.market_id,
        "api_version": row.api_version,
        "data": row.data,
    }
    if as_json:
        shown = {name: _text(value) for name, value in columns.items()}
        print_json({**_listed_document(found), "row": shown})
        return
    click.echo(f"{found.seq}  from {printable(found.source)} at {clock_time(found.rejected_at)}")
    click.echo(wrapped(f"{found.reason} ({found.code})", "  "))
    click.echo("")
    for name, value in columns.items():
        if value is not None:
            click.echo(f"{name:12}{printable(str(_text(value)))}")


@rejected.command(
    epilog="""\b
Examples:
  relayd rejected resubmit 7
  relayd rejected resubmit 7 --type order.created --id evt_order_456
  relayd rejected resubmit 7 --file mended.json
""",
)
@_numbers
@click.option("--type", "event_type", metavar="TYPE", help="The event's type in place of its own.")
@click.option("--data", metavar="JSON", help="The data, a JSON object, in place of its own.")
@click.option("--file", type=click.File("rb"), help="A file that holds the data; - for stdin.")
@click.option("--id", "event_id", metavar="ID", help="The event's id in place of its own.")
@_all_option
@json_option
@config_option
def resubmit(
    *,
    numbers: tuple[int, ...],
    event_type: str | None,
    data: str | None,
    file: BinaryIO | None,
    event_id: str | None,
    take_all: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """Hand rejected rows over again, mended where you say so; what is accepted leaves the list."""
    if data is not None and file is not None:
        raise click.UsageError("Give the data once: by --data or --file.")
    if file is not None:
        try:
            data = file.read().decode()
        except UnicodeDecodeError as error:
            raise click.ClickException(f"the file is not text in UTF-8: {error}") from error
    mended = {"type": event_type, "data": data, "id": event_id}
    changes = {key: value for key, value in mended.items() if value is not None}
    if changes and (take_all or len(numbers) != 1):
        raise click.UsageError("--type, --data, --file and --id are for one row: give its number.")
    results: list[dict[str, Any]] = []
    queue = queue_place(config_path)
    with running_daemon(queue) as daemon:
        for number in _chosen(queue, numbers, take_all=take_all):
            answer = daemon.answer("resubmit", rejected=number, changes=changes)
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
  relayd rejected drop 8 9
  relayd rejected drop --all --yes
""",
)
@_numbers
@_all_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@config_option
def drop(
    *,
    numbers: tuple[int, ...],
    take_all: bool,
    yes: bool,
    as_json: bool,
    config_path: Path,
) -> None:
    """Remove rejected rows for good. What they held is lost."""
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


def _chosen(queue: QueueConfig, numbers: Sequence[int], *, take_all: bool) -> list[int]:
    if take_all == bool(numbers):
        raise click.UsageError("Say which: numbers as `relayd rejected list` has them, or --all.")
    if not take_all:
        return list(dict.fromkeys(numbers))
    with reading_queue(queue) as reading:
        # Oldest first, as they came.
        return [each.seq for each in list_rejected(reading.db, limit=_ALL)][::-1]


def _tell_resubmitted(number: int, answer: Mapping[str, Any]) -> None:
    if not answer["ok"]:
        click.echo(wrapped(f"{number}: {answer['error']} ({answer['code']})", "   "), err=True)
    elif answer["duplicate"]:
        click.echo(f"{number}: {answer['id']} had been accepted before, with the same content.")
    else:
        click.echo(f"{number}: accepted as {answer['id']}.")


def _listed_document(each: ListedInput | RejectedInput) -> dict[str, object]:
    return {
        "number": each.seq,
        "source": each.source,
        "rejected_at": iso(each.rejected_at),
        "rejected_at_unix": each.rejected_at,
        "code": each.code,
        "reason": each.reason,
    }


def _text(value: Column) -> str | int | float | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
