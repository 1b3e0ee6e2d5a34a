"""`backup`: a copy of the queue that can be put in its place."""

import sys
from pathlib import Path

import click

from relayd.cli.options import config_option, json_option
from relayd.cli.queue_reader import readable
from relayd.cli.terminal import print_json, printable, wrapped
from relayd.config.queue_place import queue_place
from relayd.config.values import format_size
from relayd.queue.sqlite.backup import Backup, BackupError, back_up


@click.command(
    short_help="Back up the queue while it is in use.",
    epilog="""\b
Examples:
  relayd backup /var/backups/relayd-queue.db
  relayd backup --force /var/backups/relayd-queue.db
""",
)
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
@config_option
def backup(target: Path, force: bool, as_json: bool, config_path: Path) -> None:
    """Copy the queue to FILE, with or without a running daemon, and check the copy.

    FILE holds every event, delivery and attempt; only its owner may read it. It appears
    when it is complete; until then it is FILE.partial.
    """
    queue = queue_place(config_path)
    with click.progressbar(
        length=1, label="Copying", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        try:
            with readable(queue):
                made = back_up(queue.path, target, replace=force, progress=progress)
        except BackupError as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        print_json(
            {
                "file": str(target),
                "size_bytes": made.size_bytes,
                "events": made.events,
                "deliveries": made.deliveries,
                "waiting": made.waiting,
            }
        )
    else:
        _tell(made, printable(str(target)), printable(str(queue.path)))


def _tell(made: Backup, target: str, queue: str) -> None:
    click.echo(
        wrapped(
            f"{target} holds {made.events:,} event{'' if made.events == 1 else 's'} and"
            f" {made.deliveries:,} {'delivery' if made.deliveries == 1 else 'deliveries'},"
            f" {made.waiting:,} of them pending ({format_size(made.size_bytes)})."
        )
    )
    click.echo("To restore it:")
    for number, step in enumerate(
        (
            "stop relayd (as a service: `systemctl stop relayd.socket relayd.service`)",
            f"move {queue} away, and {queue}-wal and -shm if they exist",
            f"copy {target} to {queue}, with the owner and mode that it had",
            "start relayd again (as a service: the same with `start`)",
        ),
        start=1,
    ):
        click.echo(wrapped(step, "     ", first=f"  {number}. "))
    click.echo(
        wrapped(
            "What was delivered since then is delivered again; what was accepted since is not in"
            " it."
        )
    )
