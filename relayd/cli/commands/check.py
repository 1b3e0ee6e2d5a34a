"""`check`: validates the configuration, and says what it means."""

import os
from pathlib import Path

import click

from relayd.cli.check.difference import show_difference
from relayd.cli.check.files import file_notes
from relayd.cli.in_force import ask_in_force, note_in_force
from relayd.cli.options import config_argument, config_option, json_option
from relayd.cli.terminal import print_json, print_lines
from relayd.cli.text.configuration import configuration_lines
from relayd.config.load import load_config
from relayd.views.configuration import configuration_document
from relayd.views.in_force import in_force_document


@click.command(
    epilog="""\b
Examples:
  relayd check
  relayd check --config /etc/relayd/config.yaml --json
  sudo relayd check --diff
""",
)
@config_argument
@click.option(
    "--diff",
    is_flag=True,
    help="Show what a reload of the running daemon would change, and what happens to the backlog.",
)
@json_option
@config_option
def check(*, diff: bool, as_json: bool, config_path: Path) -> None:
    """Validate the configuration, and print how it is interpreted.

    Each subscription with its events, its limits, when it retries, and where its secret comes from,
    though never the secret. All errors are reported at once, each with its line; the exit status is
    then 78.

    It reads what relayd would read: run it as relayd's user, with relayd's environment, where
    secrets come from files or variables. With --diff, the running daemon reads it. FILE is the same as
    --config FILE.
    """
    if diff:
        show_difference(config_path, as_json=as_json)
        return
    config = load_config(config_path, environ=os.environ)
    notes = file_notes(config)
    in_force = ask_in_force(config.queue, config_path)
    if as_json:
        document = configuration_document(config, notes)
        print_json({**document, "in_force": in_force_document(in_force)})
        return
    print_lines(configuration_lines(config, notes))
    note_in_force(in_force)
