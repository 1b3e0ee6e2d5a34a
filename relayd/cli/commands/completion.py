"""`completion`: the script with which a shell completes relayd's commands, options and names."""

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

_SHELLS: Final[dict[str, type[ShellComplete]]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command(
    epilog="""\b
Examples:
  relayd completion bash > ~/.local/share/bash-completion/completions/relayd
  relayd completion zsh > ~/.zfunc/_relayd    # a folder that is in your fpath
  relayd completion fish > ~/.config/fish/completions/relayd.fish
""",
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that lets your shell complete commands, options and names."""
    complete = _SHELLS[shell](ctx.find_root().command, {}, "relayd", "_RELAYD_COMPLETE")
    # Not source(): it would start a bash to ask for its version.
    click.echo(complete.source_template % complete.source_vars())
