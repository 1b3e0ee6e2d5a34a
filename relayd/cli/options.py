"""Options that commands share, such as `--config FILE` and `--json`, and what the shell completes."""

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from relayd.cli.command_error import wants_json
from relayd.config.problem import ConfigError, Problem
from relayd.permissions import name_of

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
VARIABLE: Final = "RELAYD_CONFIG"
PLACES: Final = (Path("config.yaml"), Path("/etc/relayd/config.yaml"))
"""Where a configuration is looked for that no option and no variable names."""

_GIVEN: Final = "relayd.config"
_ARGUMENT: Final = "relayd.config argument"
_CONFIG_HELP: Final = """The configuration. Default: $RELAYD_CONFIG, ./config.yaml (as root only if it
is root's), then /etc/relayd/config.yaml."""
_TYPE: Final = click.Path(path_type=Path, readable=False)  # who may not read it is told better


def named_config(ctx: click.Context, given: Path | None) -> Path | None:
    """Return the file that the command line or `$RELAYD_CONFIG` names, or that is there.

    For root, another user's file in the working directory is not there unless it is named.
    """
    chosen: Path | None = given or ctx.meta.get(_GIVEN)
    variable = os.environ.get(VARIABLE)
    if chosen is None and variable:
        chosen = Path(variable)
    return chosen or next(
        (path for path in PLACES if os.path.exists(path) and _stranger(path) is None),  # noqa: PTH110 - Path.exists raises where it may not look
        None,
    )


def _stranger(path: Path) -> str | None:
    """Return the user whose file root has merely found, and who could make root do anything."""
    # What is in /etc is the administrator's word, whoever owns it.
    if os.geteuid() != 0 or path.is_absolute():
        return None
    try:
        if os.path.exists(PLACES[1]) and path.samefile(PLACES[1]):  # noqa: PTH110 - as above
            return None
        uids = {path.lstat().st_uid, path.stat().st_uid} - {0}
    except OSError:
        return None
    return name_of(min(uids)) if uids else None


def _config(ctx: click.Context, _: click.Parameter, given: Path | None) -> Path:
    if given is not None and ctx.meta.get(_ARGUMENT) not in {None, given}:
        raise click.UsageError("Name one configuration: FILE is the same as --config FILE.")
    path = named_config(ctx, given)
    here = PLACES[0]
    # What is in the working directory comes first, and so is what was meant.
    if path in {None, *PLACES} and not _is_named(ctx, given) and (owner := _stranger(here)):
        raise ConfigError(
            [
                Problem(
                    str(here),
                    None,
                    None,
                    "",
                    f"belongs to user {owner}, and root does not read another user's file unless"
                    " it is named",
                    f"run the command as {owner}, name the file by --config {here}, or another one",
                )
            ]
        )
    if path is None:
        places = " nor ".join(map(str, PLACES))
        raise ConfigError(
            [
                Problem(
                    "relayd",
                    None,
                    None,
                    "",
                    f"there is no configuration: neither {places} exists",
                    "`relayd init` writes a first one; --config FILE names another",
                )
            ]
        )
    return path


def _is_named(ctx: click.Context, given: Path | None) -> bool:
    return bool(given or ctx.meta.get(_GIVEN) or os.environ.get(VARIABLE))


def _remember(ctx: click.Context, _: click.Parameter, given: Path | None) -> None:
    if given is not None:
        ctx.meta[_GIVEN] = given


def _config_option(callback: Callable[..., Path | None]) -> Callable[[Decorated], Decorated]:
    name, kind = "config_path", _TYPE
    return click.option(
        "--config", name, type=kind, metavar="FILE", callback=callback, help=_CONFIG_HELP
    )


def config_option(command: Decorated) -> Decorated:
    """Give a command `--config FILE`, as `config_path: Path`; the file may not be there."""
    return _config_option(_config)(command)


def config_option_unless(name: str) -> Callable[[Decorated], Decorated]:
    """Give a command the same; `config_path` is None where the eager option `name` makes up for it."""

    def unless(ctx: click.Context, param: click.Parameter, given: Path | None) -> Path | None:
        return _config(ctx, param, given) if given or ctx.params.get(name) is None else None

    return _config_option(unless)


def config_argument(command: Decorated) -> Decorated:
    """Let a command take `--config FILE` as its one argument as well. Put it above `config_option`."""

    def remember(ctx: click.Context, _: click.Parameter, given: Path | None) -> None:
        before = ctx.meta.get(_ARGUMENT)
        _remember(ctx, _, given)
        ctx.meta[_ARGUMENT] = given or before

    return click.argument(
        "file",
        type=_TYPE,
        required=False,
        is_eager=True,  # before the option, whose default it is
        expose_value=False,
        callback=remember,
    )(command)


def optional_config_option(command: Decorated) -> Decorated:
    """Give a command `--config FILE` that it can do without, as `config_path: Path | None`."""

    def optional(ctx: click.Context, _: click.Parameter, given: Path | None) -> Path | None:
        if not _is_named(ctx, given) and (owner := _stranger(PLACES[0])):
            click.echo(
                f"Note: {PLACES[0]} belongs to user {owner}, and is not read as root; --config"
                " names it.",
                err=True,
            )
        return named_config(ctx, given)

    return click.option(
        "--config",
        "config_path",
        type=_TYPE,
        metavar="FILE",
        callback=optional,
        help="The configuration, where it is needed. Default: $RELAYD_CONFIG, ./config.yaml, "
        "then /etc/relayd/config.yaml.",
    )(command)


def group_config_option(command: Decorated) -> Decorated:
    """Let `--config FILE` stand before the command as well."""
    return click.option(
        "--config",
        type=_TYPE,
        metavar="FILE",
        callback=_remember,
        expose_value=False,
        help="The configuration; may also follow the command.",
    )(command)


class _Text(click.types.StringParamType):
    """Text in UTF-8: nothing else is a name, an id or JSON, in the queue, a file or a request."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Return the text."""
        text: str = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("this is not text in UTF-8.", param, ctx)
        return text


class FiniteRange(click.FloatRange):
    """A number within bounds. `nan` is within all bounds of click's own."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number to work with.", param, ctx)
        return number


_TEXT: Final = _Text()


def checked_values(command: click.Command) -> None:
    """Have each text that a command and what stands below it takes be UTF-8. Paths may be anything."""
    for parameter in command.params:
        if parameter.type is click.STRING:
            parameter.type = _TEXT
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            checked_values(inner)


def _wants_json(ctx: click.Context, _: click.Parameter, given: bool) -> bool:
    if given:
        wants_json(ctx)
    return given


def json_option(command: Decorated) -> Decorated:
    """Give a command `--json`, as `as_json: bool`."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,  # so that an error in another option is JSON too
        callback=_wants_json,
        help="Print one JSON document, for programs.",
    )(command)


yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def complete_subscriptions(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the configuration's subscriptions whose names begin so, for the shell."""
    given = ctx.params.get("config_path")
    path = given if isinstance(given, Path) else named_config(ctx, None)
    return _items([] if path is None else _subscription_names(path), incomplete)


def complete_event_types(
    _: click.Context, __: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the catalogue's event types that begin so, for the shell."""
    from relayd.core.catalogue import EVENT_TYPES  # noqa: PLC0415 - only the shell needs it

    return _items(EVENT_TYPES, incomplete)


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _subscription_names(path: Path) -> list[str]:
    # Only the shell needs it, at each press of Tab: no more of the files is checked than that.
    from relayd.config.documents import read_documents  # noqa: PLC0415 - see above

    try:
        section = read_documents(path).value(("subscriptions",))
    except ConfigError:
        return []
    return [str(name) for name in section] if isinstance(section, dict) else []


class WholeNumber(click.IntRange):
    """A number in a range, of which an error says what is allowed."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the number. Raises `click.BadParameter`."""
        try:
            number: int = super().convert(value, param, ctx)
        except click.BadParameter:
            allowed = f"of {self.min:,} or more"
            if self.max is not None:
                allowed = f"from {self.min:,} to {self.max:,}"
            self.fail(f"{str(value)!r} is not allowed: give a whole number {allowed}", param, ctx)
        return number
