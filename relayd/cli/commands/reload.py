"""`reload`: has the daemon reload its configuration, and prints what changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relayd.cli.daemon_client import RELOAD_TIMEOUT_S, DaemonClient, end_refused
from relayd.cli.daemon_elsewhere import daemon_elsewhere
from relayd.cli.options import config_option, json_option
from relayd.cli.terminal import print_json
from relayd.config.partial import read_places
from relayd.control import NoDaemonError, connected


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
    queue = read_places(config_path, "queue").queue
    try:
        with connected(queue.control_path) as daemon:
            answer = DaemonClient(daemon).answer("reload", timeout_s=RELOAD_TIMEOUT_S)
    except NoDaemonError as error:
        elsewhere = daemon_elsewhere(queue)
        raise click.ClickException(elsewhere or f"{error}: is `relayd run` running?") from error
    if as_json:
        print_json(answer)
    if not answer.get("ok"):
        end_refused(answer, tell=not as_json)
    if not as_json:
        _tell_reload(answer)


def _tell_reload(answer: Mapping[str, Any]) -> None:
    for line in answer["changes"] or ["nothing changed"]:
        click.echo(line)
    for warning in answer.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)
