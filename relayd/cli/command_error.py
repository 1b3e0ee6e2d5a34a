"""What ends a command: a sentence for people, and with `--json` one JSON object for programs.

Each error has a code, which is part of the contract (docs/operating.md): one of `CODES`, or what the
daemon answered. Loads little, since every command needs it.
"""

import os
import sys
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import click

import relayd
from relayd.cli.standard_streams import StandardOutputError
from relayd.config.problem import ConfigError

WRONG_CONFIGURATION: Final = 78
"""EX_CONFIG of sysexits.h: the systemd unit prevents a restart on this status."""

TRACEBACK: Final = "RELAYD_TRACEBACK"
"""A variable: where it is set, an internal error ends a command with its traceback."""

CODES: Final = (
    "usage",
    "configuration",
    "not_running",
    "not_permitted",
    "not_answering",
    "another_queue",
    "queue_unreadable",
    "declined",
    "exists",
    "invalid",
    "no_include",
    "older_daemon",
    "extra_missing",
    "internal_error",
    "failed",
)
"""Why a command failed, for programs. docs/operating.md says what each means."""

_JSON: Final = "relayd.json"
_ARGUMENTS: Final = "relayd.arguments"
_PACKAGE: Final = Path(relayd.__file__).parent


class CommandError(click.ClickException):
    """A command failed; says why, and what to do. `code` is for programs."""

    def __init__(self, message: str, *, code: str = "failed", problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.problems = list(problems)

    def document(self) -> dict[str, object]:
        """Return what `--json` prints."""
        found = _document(self.code, self.message)
        return {**found, "problems": self.problems} if self.problems else found

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - as click has it
        """Print the sentence on standard error."""
        click.echo(_fitted(f"relayd: {self.message}"), err=True)


class ConfigurationRefusedError(CommandError):
    """The configuration is wrong: exit status 78. Each problem has its place in the file."""

    exit_code = WRONG_CONFIGURATION

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems), code="configuration", problems=problems)

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - as click has it
        """Print each problem in a line, as compilers do."""
        for problem in self.problems:
            click.echo(_fitted(problem), err=True)


def wants_json(ctx: click.Context) -> None:
    """Note that the command has `--json`."""
    ctx.meta[_JSON] = True


def note_arguments(ctx: click.Context, arguments: Sequence[str]) -> None:
    """Note the command line, since an error in it may come before `--json` was read."""
    ctx.meta[_ARGUMENTS] = list(arguments)


@contextmanager
def ending_in_one_form(ctx: click.Context) -> Iterator[None]:
    """End the process for whatever goes wrong in the block: in words, as JSON, with its status."""
    try:
        yield
    except click.UsageError as error:
        if _is_json(ctx, error):
            _print(_document("usage", error.format_message()))
        if not sys.stderr.isatty():
            raise  # click shows how the command is used
        words = _fitted(error.format_message(), 7).replace("\n", "\n       ")
        raise click.UsageError(words, error.ctx) from None
    except (click.exceptions.Exit, click.Abort, BrokenPipeError, StandardOutputError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends the command in words
        found = _command_error(ctx, error)
        if _is_json(ctx):
            _print(found.document())
        found.show()
        ctx.exit(found.exit_code)


def _fitted(text: str, taken: int = 0) -> str:
    """Return text that breaks between words where a person reads it; elsewhere a line stays one."""
    if not sys.stderr.isatty():
        return text
    from relayd.cli.terminal import width  # noqa: PLC0415 - only an error needs it

    return "\n".join(
        textwrap.fill(line, width() - taken, break_long_words=False, break_on_hyphens=False)
        if line
        else line
        for line in text.splitlines()
    )


def _command_error(ctx: click.Context, error: Exception) -> CommandError:
    if isinstance(error, CommandError):
        return error
    if isinstance(error, ConfigError):
        return ConfigurationRefusedError([str(problem) for problem in error.problems])
    if isinstance(error, click.ClickException):
        return CommandError(error.format_message())
    # The daemon's log is where its defects are looked for, with all that is known.
    if ctx.invoked_subcommand == "run" or os.environ.get(TRACEBACK):
        raise error
    return CommandError(_defect_in_words(ctx, error), code="internal_error")


def _defect_in_words(ctx: click.Context, error: Exception) -> str:
    """Say what a report needs, and nothing that the error has in it: it may be an event's content."""
    leaf: BaseException = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    frames = traceback.extract_tb(leaf.__traceback__)
    ours = [each for each in frames if Path(each.filename).is_relative_to(_PACKAGE)]
    place = ""
    if ours:
        name = Path(ours[-1].filename).relative_to(_PACKAGE.parent)
        place = f" at {name}:{ours[-1].lineno}"
    what = f"{type(leaf).__name__}{place}"
    if isinstance(leaf, OSError) and leaf.strerror:
        what = f"{what}, {leaf.strerror}"
    return (
        f"internal error in `relayd {ctx.invoked_subcommand}` of version {relayd.__version__}:"
        f" {what}. Please report this line; with {TRACEBACK}=1 in the environment the command"
        " prints the traceback"
    )


def _is_json(ctx: click.Context, error: click.UsageError | None = None) -> bool:
    if ctx.meta.get(_JSON):
        return True
    command = None if error is None or error.ctx is None else error.ctx.command
    if command is None or all(each.name != "as_json" for each in command.params):
        return False
    arguments: list[str] = ctx.meta.get(_ARGUMENTS, [])
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _document(code: str, message: str) -> dict[str, object]:
    return {"ok": False, "code": code, "error": message}


def _print(document: object) -> None:
    from relayd.cli.terminal import print_json_line  # noqa: PLC0415 - only an error needs it

    # In one line, since it may come after others: `listen` and `--follow` print a line each.
    print_json_line(document)
