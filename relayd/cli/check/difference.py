"""`check --diff`: what a reload would change, as the running daemon sees it."""

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
    "hold": "its backlog of {count} will be held",
    "stay_held": "its backlog of {count} stays held",
    "go_on": "its backlog of {count} will no longer be held",
    "follow": "its backlog of {count} follows it",
    "stay": "its backlog of {count} stays as it is: this is for new events",
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
    return _THEN[each["then"]].format(count=f"{each['waiting']:,}")
