"""`check --diff`: what a reload would change, told by the running daemon."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from relayd.cli.command_error import WRONG_CONFIGURATION
from relayd.cli.daemon_client import refusal, running_daemon
from relayd.cli.terminal import print_json, printable, wrapped
from relayd.config.queue_place import queue_place

_THEN = {
    "hold": "{count} will be held",
    "stay_held": "{count} stay held",
    "go_on": "{count} go on",
    "follow": "{count} follow it",
    "stay": "{count} stay as they are: it is for new events",
}


def show_difference(config_path: Path, *, as_json: bool) -> None:
    """Ask the daemon, and print its answer. Exit status 78 where it would refuse the file."""
    path = os.path.abspath(config_path)  # noqa: PTH100 - Path.absolute keeps `..`
    with running_daemon(queue_place(config_path)) as daemon:
        answer = daemon.answer("difference", config=path)
    if not answer.get("ok"):
        raise refusal(answer)
    needs = [f"{key}: changing it needs a restart" for key in answer["needs_restart"]]
    if as_json:
        print_json(answer)
    else:
        for line in needs or _lines(answer, path):
            click.echo(line, err=bool(needs))
    if needs:
        sys.exit(WRONG_CONFIGURATION)


def _lines(answer: Mapping[str, Any], path: str) -> Iterator[str]:
    if answer["config"] != path:
        yield wrapped(f"relayd runs with {answer['config']}: a reload would read that file.")
    changes: Sequence[str] = answer["changes"]
    if not changes:
        yield "A reload would change nothing."
        return
    deliveries = {each["subscription"]: each for each in answer["deliveries"]}
    yield "A reload would change this:"
    for change in changes:
        kind, _, rest = change.partition(" ")
        each = deliveries.get(rest.partition(":")[0]) if kind == "subscription" else None
        note = answer["advice"].get(rest.partition(":")[0]) if kind == "subscription" else None
        words = [change, *([] if each is None else [_words(each)]), *([note] if note else [])]
        yield wrapped(printable("; ".join(words)), "    ", first="  ")
    yield "`relayd reload` makes it so."


def _words(each: Mapping[str, Any]) -> str:
    count = each["waiting"]
    waiting = f"{count:,} waiting {'delivery' if count == 1 else 'deliveries'}"
    return _THEN[each["then"]].format(count=waiting)
