"""`spool`: prints the table, makes a file with it, and tells what waits in the configured ones."""

import grp
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from relayd.cli.options import config_option, json_option
from relayd.cli.source_waits import ask_sources, waits_for
from relayd.cli.spool_files import (
    SpoolFileError,
    create_spool,
    is_shared_folder,
    look_into,
    table_words,
)
from relayd.cli.terminal import print_json, print_table, printable, wrapped
from relayd.config.partial import read_places
from relayd.config.sections import SpoolConfig
from relayd.config.values import parse_mode
from relayd.spool.look import SpoolLook
from relayd.spool.table import DEFAULT_TABLE, SPOOL_TABLE
from relayd.views.moments import about, iso

DEFAULT_MODE = "0660"


def _table(_: click.Context, parameter: click.Parameter, name: str) -> str:
    # As the configuration has it.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise click.BadParameter("a table's name is letters, digits and _.", param=parameter)
    return name


def _mode(_: click.Context, parameter: click.Parameter, text: str) -> int:
    mode = parse_mode(text)
    if mode is None:
        raise click.BadParameter(
            "write a file mode that lets the owner read and write, as 0660.", param=parameter
        )
    return mode


def _group_number(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise click.ClickException(f"there is no group {name}: `groupadd` makes one") from None


_table_option = click.option(
    "--table",
    default=DEFAULT_TABLE,
    show_default=True,
    callback=_table,
    metavar="NAME",
    help="The table's name.",
)


@click.group(
    epilog="""\b
Examples:
  relayd spool sql >> migrations/0007_relayd.sql
  relayd spool create /var/lib/relayd/spool/spool.db
  relayd spool status
""",
)
def spool() -> None:
    """Create spools, the tables into which producers insert events, and show their backlog."""


@spool.command(
    short_help="Print the SQL that creates a spool's table.",
    epilog="""\b
Examples:
  relayd spool sql
  relayd spool sql --table market_events | sqlite3 market.db
""",
)
@_table_option
def sql(table: str) -> None:
    """Print the SQL that creates a spool's table, for the migrations of your own database."""
    click.echo(SPOOL_TABLE.format(table=table), nl=False)


@spool.command(
    short_help="Create a SQLite file with a spool's table.",
    epilog="""\b
Examples:
  relayd spool create /var/lib/relayd/spool/spool.db
  sudo relayd spool create /srv/spool/spool.db --group relayd
""",
)
@click.argument("path", type=click.Path(path_type=Path))
@_table_option
@click.option(
    "--mode",
    default=DEFAULT_MODE,
    show_default=True,
    callback=_mode,
    metavar="MODE",
    help="Its mode; 0660 is for its owner and its group.",
)
@click.option(
    "--group",
    metavar="GROUP",
    help="The file's group; a missing folder is created for that group.",
)
@json_option
def create(path: Path, table: str, mode: int, group: str | None, as_json: bool) -> None:
    """Create a SQLite file with a spool's table in it. An existing file is not changed.

    Programs that run as other users share a spool through a group: `--group`. The folder must be
    that group's as well, and be used for nothing else: whoever may write in a folder may also
    remove the files in it.
    """
    number = _group_number(group)
    try:
        create_spool(path, table, mode, number)
    except SpoolFileError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({"path": str(path.absolute()), "table": table, "mode": f"{mode:04o}"})
        return
    click.echo(f"Made {printable(str(path))} with the table {table} (mode {mode:04o}).")
    if number is not None and is_shared_folder(path.parent, number):
        click.echo(wrapped(f"relayd and the producers can use it once they are in group {group}."))
        return
    click.echo(
        wrapped(
            "relayd and every producer need to write to it and to its directory, where SQLite "
            f"keeps {path.name}-wal beside it: give them a common group, and the directory to that"
            " group (chmod g+rwxs)."
        )
    )


@spool.command(
    short_help="Count each spool's pending rows.",
    epilog="""\b
Examples:
  relayd spool status
  relayd spool status --json
""",
)
@json_option
@config_option
def status(as_json: bool, config_path: Path) -> None:
    """Count the pending rows of each spool, and report what is wrong with it.

    Rows stay here only until relayd has accepted them: a count that does not fall means that it is
    not running, or waits for something, which is shown as in `relayd status`. The table is compared
    with `relayd spool sql`. Exit status 1 if a spool cannot be read, or admits rows that relayd
    cannot accept, or if relayd waits.
    """
    places = read_places(config_path, "spools", "queue")
    looks = [(each, look_into(each, places.queue)) for each in places.spools]
    runs, sources = ask_sources(places.queue.control_path)
    waits = {each.name: waits_for(each, sources) for each in places.spools}
    if as_json:
        documents = [_document(each, look, waits[each.name]) for each, look in looks]
        print_json({"running": runs, "spools": documents})
    elif not looks:
        click.echo("The configuration has no spool.")
    else:
        _print(looks, waits, runs)
    if any(waits.values()) or any(look.problem for _, look in looks):
        sys.exit(1)


def _document(each: SpoolConfig, look: SpoolLook, waits: str | None) -> dict[str, object]:
    return {
        "name": each.name,
        "path": str(each.path),
        "table": each.table,
        "waiting": look.waiting,
        "oldest_created": iso(look.oldest),
        "oldest_created_unix": look.oldest,
        "problem": look.problem,
        "waits_for": waits,
        "differences": look.differences,
    }


def _print(
    looks: list[tuple[SpoolConfig, SpoolLook]],
    waits: Mapping[str, str | None],
    runs: bool | None,
) -> None:
    now = time.time()
    rows = [
        (
            each.name,
            "?" if look.waiting is None else str(look.waiting),
            "" if look.oldest is None else f"{about(now - look.oldest)} ago",
            str(each.path),
        )
        for each, look in looks
    ]
    print_table(("SPOOL", "WAITING", "OLDEST", "FILE"), rows)
    for each, look in looks:
        if look.problem is not None:
            click.echo(wrapped(look.problem, "  ", first=f"{each.name}: "))
        what = waits[each.name]
        if what is not None and not (look.problem and look.problem in what):
            click.echo(wrapped(f"waits for: {what}", "  ", first=f"{each.name} "))
        for words in table_words(look):
            click.echo(wrapped(words, "  ", first=f"{each.name}: "))
    if runs is False:
        click.echo("relayd is not running with this configuration, and accepts no rows.")
