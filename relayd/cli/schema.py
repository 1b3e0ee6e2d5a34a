"""`schema`: the JSON Schema of the configuration, with which editors complete and check it."""

import click

from relayd.cli.output import print_json
from relayd.config.schema import json_schema


@click.command(
    epilog="""\b
Examples:
  relayd schema > config.schema.json
\b
And as the first line of the configuration beside it:
  # yaml-language-server: $schema=config.schema.json
""",
)
def schema() -> None:
    """Print the JSON Schema of the configuration, for your editor.

    Editors with the YAML language server (VS Code, Neovim, Helix, Zed and others) then complete the
    keys, explain them, and mark what is wrong while you write. What a schema cannot say, such as
    that a secret's file is there, is left to `relayd check`.
    """
    print_json(json_schema())
