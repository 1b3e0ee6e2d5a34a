"""`reload`: has the daemon reload its configuration, and prints what changed."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relayd.cli import WRONG_CONFIGURATION
from relayd.cli.options import config_option, json_option
from relayd.cli.terminal import print_json
from relayd.config.partial import read_places
from relayd.control import NoDaemonError, connected

RELOAD_TIMEOUT_S = 240.0
"""More than the daemon gives the reading of the file: it says what came of it."""


@click.command(
    epilog="""\b
Example:
  relayd reload
""",
)
@json_option
@config_option
def reload(as_json: bool, config_path: Path) -> None:
    """Reload the running daemon's configuration, and print what changed, or why not.

    A file with an error is refused as a whole, and the old configuration stays in force: exit
    status 78.
    """
    path = read_places(config_path, "queue").queue.control_path
    try:
        with connected(path) as daemon:
            answer = daemon.ask({"command": "reload"}, timeout_s=RELOAD_TIMEOUT_S)
    except NoDaemonError as error:
        raise click.ClickException(f"{error}: is `relayd run` running?") from error
    except TimeoutError as error:
        raise click.ClickException(
            f"relayd did not answer within {RELOAD_TIMEOUT_S:g} s; see its log"
        ) from error
    if as_json:
        print_json(answer)
    else:
        _tell_reload(answer)
    if not answer.get("ok"):
        sys.exit(1 if answer.get("code") == "failed" else WRONG_CONFIGURATION)


def _tell_reload(answer: Mapping[str, Any]) -> None:
    if answer.get("ok"):
        for line in answer["changes"] or ["nothing changed"]:
            click.echo(line)
        for warning in answer.get("warnings", ()):
            click.echo(f"warning: {warning}", err=True)
        return
    for problem in answer.get("problems") or [answer.get("error", "refused")]:
        click.echo(problem, err=True)
