"""`reload`: has the daemon reload its configuration, and prints what changed."""

from pathlib import Path

import click

from relayd.cli.daemon_client import RELOAD_TIMEOUT_S, refusal, running_daemon
from relayd.cli.options import config_option, json_option
from relayd.cli.terminal import print_json
from relayd.config.partial import read_places


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
    with running_daemon(read_places(config_path, "queue").queue) as daemon:
        answer = daemon.answer("reload", timeout_s=RELOAD_TIMEOUT_S)
    if not answer.get("ok"):
        raise refusal(answer)
    if as_json:
        print_json(answer)
        return
    for line in answer["changes"] or ["Nothing changed."]:
        click.echo(line)
    for warning in answer.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)
