"""The command line: finds a command by its name, and loads no more code than that one needs.

Exit status: 0 done, 1 it failed, 2 the command line is wrong, 78 the configuration is wrong.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, NoReturn

import click
from click.shell_completion import CompletionItem

from relayd import __version__
from relayd.cli.command_error import ending_in_one_form, note_arguments
from relayd.cli.options import checked_values, group_config_option
from relayd.cli.standard_streams import standard_streams

_NOT_FOR_LIBRARIES: Final = ("rich", "httpx._main")
"""What httpx imports for a command line of its own, and structlog to colour tracebacks.

Both do without where it is not installed. It takes 4 MB, which the daemon would keep, and 0.1 s.
Commands that print tables import rich when they do.
"""

SECTIONS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "First steps": {
            "demo": "Show an event's whole path on this machine.",
            "init": "Write a first configuration, ready to run.",
            "check": "Validate and explain the configuration.",
        },
        "The daemon": {
            "run": "Run the daemon in the foreground.",
            "web": "Run the web process in the foreground.",
            "status": "Show endpoints, backlog and sources.",
            "reload": "Reload the configuration.",
            "backup": "Back up the queue while it is in use.",
        },
        "Events in": {
            "emit": "Hand over an event.",
            "spool": "Create spools and show their backlog.",
            "types": "List the event types, with samples.",
            "events": "List accepted events.",
            "match": "Show where an event would go, and why.",
            "rejected": "Fix and resubmit, or drop, rejected input.",
        },
        "Deliveries": {
            "deliveries": "List deliveries.",
            "show": "Show an event or a delivery in full.",
            "explain": "Explain why an event did or did not arrive.",
            "retry": "Attempt pending deliveries now.",
            "replay": "Resend deliveries.",
            "cancel": "Cancel pending deliveries.",
            "rename": "Move a backlog to a new name.",
        },
        "Receivers": {
            "add": "Add a subscription as a file.",
            "remove": "Remove a subscription that was added.",
            "test": "Send a sample event to a receiver.",
            "pause": "Hold a subscription's deliveries.",
            "resume": "Resume a held subscription.",
            "listen": "Receive, print and verify deliveries.",
            "sign": "Sign a body.",
            "verify": "Verify the signature of a body.",
        },
        "Your shell and editor": {
            "completion": "Print a shell completion script.",
            "schema": "Print the configuration's JSON Schema.",
        },
    }
)
"""Every command and what it does in a line, under the headings of `relayd --help`."""

COMMANDS: Final = MappingProxyType(
    {name: summary for section in SECTIONS.values() for name, summary in section.items()}
)

_SHARED: Final[Mapping[str, str]] = MappingProxyType({"resume": "pause"})
"""Commands that are not in a module of their own name, but in that of their counterpart."""


@contextmanager
def _as_if_not_installed(*names: str) -> Iterator[None]:
    """Within the block, importing these modules raises ImportError, unless they are loaded already.

    None in `sys.modules` does that: see "The module cache" in Python's reference.
    """
    hidden = {name: None for name in names if name not in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]  # typeshed does not know of None
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click has it
        """Return the commands' names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as click has it
        """Return a command, loaded now, or None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module = _SHARED.get(cmd_name, cmd_name)
        with _as_if_not_installed(*_NOT_FOR_LIBRARIES):
            command = getattr(import_module(f"relayd.cli.commands.{module}"), cmd_name)
        assert isinstance(command, click.Command)
        checked_values(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names; suggest one where none does."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from relayd.cli.other_names import OTHER_NAMES  # noqa: PLC0415 - a mistake needs it

            if name in OTHER_NAMES:
                ctx.fail(f"There is no command {name!r}. {OTHER_NAMES[name]}")
            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean {near[0]}?" if near else "`relayd --help` lists them."
            ctx.fail(f"There is no command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as click has it
        """Write the commands under their headings, in one column throughout."""
        widest = max(map(len, COMMANDS))
        for heading, section in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(widest), summary) for name, summary in section.items()]
                )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names from the table, without loading any."""
        names = [
            CompletionItem(name, help=summary)
            for name, summary in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run the command; tell what went wrong in one form, with the contract's exit status."""
        with ending_in_one_form(ctx):
            return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the group's own options; the rest is for the command."""
        note_arguments(ctx, args)
        return super().parse_args(ctx, args)


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`relayd COMMAND --help` explains a command, with examples. Start with `relayd demo`.",
)
@click.version_option(__version__, "-V", "--version", message="relayd %(version)s")
@group_config_option
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Accept events from programs on this machine and deliver them as signed webhooks."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False  # inherited by the command's own context


def main() -> NoReturn:
    """Run the command line, and exit with its status."""
    with standard_streams():
        cli(prog_name="relayd")
    sys.exit()  # not reached: the block ends the process itself
