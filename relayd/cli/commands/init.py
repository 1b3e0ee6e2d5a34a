"""`init`: a first configuration and its spool, ready to run by any user in any folder."""

import os
import secrets
import shlex
from pathlib import Path

import click

from relayd.cli.spool_files import SpoolFileError, create_spool
from relayd.cli.terminal import printable
from relayd.config.template import first_config
from relayd.permissions import become, owner_to_become

CONFIG = "config.yaml"
SPOOL = "spool/spool.db"
SUBSCRIPTIONS = "subscriptions.d"


@click.command(
    epilog="""\b
Examples:
  relayd init
  relayd init ~/relay
""",
)
@click.argument(
    "directory", type=click.Path(path_type=Path, file_okay=False), default=".", metavar="[DIR]"
)
def init(directory: Path) -> None:
    """Write a first config.yaml into DIR (by default here), and create its spool in a folder there.

    It delivers to a receiver on this machine, with a secret of its own. Existing files are
    never overwritten. In another user's folder, root creates both for that user.
    """
    if owner := owner_to_become(directory / CONFIG, making=True):
        # What root makes in another user's folder, that user could not use.
        become(owner)
    config, spool = directory / CONFIG, directory / SPOOL
    for path in (config, spool):
        if os.path.lexists(path):
            raise click.ClickException(
                f"{path} already exists and was not changed: choose another folder, or move it"
            )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / SUBSCRIPTIONS).mkdir(mode=0o700, exist_ok=True)
        _write_private(config, first_config(secrets.token_hex(32)))
    except OSError as error:
        raise click.ClickException(f"cannot write {config}: {error.strerror}") from error
    try:
        spool.parent.mkdir(exist_ok=True)
        create_spool(spool, "relayd_spool", 0o660)
    except (OSError, SpoolFileError) as error:
        config.unlink()
        raise click.ClickException(str(error)) from error
    click.echo(f"Wrote {printable(str(config))}, one subscription to a receiver on this machine,")
    click.echo(f"and {printable(str(spool))}, the spool from which it takes events.")
    click.echo()
    here = os.path.realpath(directory) == os.path.realpath(os.curdir)
    click.echo("Now, each in its own terminal" + (":" if here else ", in that folder:"))
    click.echo()
    if not here:
        click.echo(f"  cd {shlex.quote(str(directory))}")
    for command, does in (
        ("relayd listen --subscription first", "the receiver, which prints what arrives"),
        ("relayd run", "the daemon"),
        ("relayd emit order.created --sample", "an event"),
    ):
        click.echo(f"  {command:36}# {does}")
    click.echo()
    click.echo("`relayd check` explains the file. Then, for each receiver of your own:")
    click.echo()
    click.echo("  relayd add shop --url https://shop.example/webhooks --events 'order.*'")
    click.echo()
    click.echo(f"which writes a file into {SUBSCRIPTIONS}/.")


def _write_private(path: Path, text: str) -> None:
    # The secret is in it: for its owner alone, from the first byte on.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
