"""`schema`: the JSON Schema of the configuration, with which editors complete and check it."""

from pathlib import Path

import click

from relayd.cli.options import json_option, optional_config_option
from relayd.cli.terminal import print_json
from relayd.config.schema import json_schema


@click.command(
    epilog="""\b
Examples:
  relayd schema > config.schema.json
\b
And as the first line of the configuration:
  # yaml-language-server: $schema=config.schema.json
""",
)
@json_option
@optional_config_option
def schema(*, as_json: bool, config_path: Path | None) -> None:  # noqa: ARG001 - as every command has them
    """Print the JSON Schema of the configuration, for your editor.

    Editors with the YAML language server (VS Code, Neovim, Helix, Zed and others) then complete the
    keys, explain them, and mark what is wrong while you write. What a schema cannot say, such as
    that a secret's file is there, is left to `relayd check`.

    It is JSON in any case, and the same for each configuration.
    """
    print_json(json_schema())
