"""Options that commands share: `--config FILE` and `--json`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from relayd.config.problem import ConfigError, Problem

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

VARIABLE: Final = "RELAYD_CONFIG"
PLACES: Final = (Path("config.yaml"), Path("/etc/relayd/config.yaml"))
"""Where a configuration is looked for that no option and no variable names."""

_GIVEN: Final = "relayd.config"
_TYPE: Final = click.Path(path_type=Path)


def named_config(ctx: click.Context, given: Path | None) -> Path | None:
    """Return the file that the command line or `$RELAYD_CONFIG` names, or that is there."""
    chosen: Path | None = given or ctx.meta.get(_GIVEN)
    variable = os.environ.get(VARIABLE)
    if chosen is None and variable:
        chosen = Path(variable)
    return chosen or next((path for path in PLACES if os.path.exists(path)), None)  # noqa: PTH110 - Path.exists raises where it may not look


def _config(ctx: click.Context, _: click.Parameter, given: Path | None) -> Path:
    path = named_config(ctx, given)
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


def _remember(ctx: click.Context, _: click.Parameter, given: Path | None) -> None:
    if given is not None:
        ctx.meta[_GIVEN] = given


def config_option(command: Decorated) -> Decorated:
    """Give a command `--config FILE`, as `config_path: Path`; the file may not be there."""
    return click.option(
        "--config",
        "config_path",
        type=_TYPE,
        metavar="FILE",
        callback=_config,
        help="The configuration. Default: $RELAYD_CONFIG, ./config.yaml, then "
        "/etc/relayd/config.yaml.",
    )(command)


def optional_config_option(command: Decorated) -> Decorated:
    """Give a command `--config FILE` that it can do without, as `config_path: Path | None`."""
    return click.option(
        "--config",
        "config_path",
        type=_TYPE,
        metavar="FILE",
        callback=lambda ctx, _, given: named_config(ctx, given),
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
        help="The configuration; may also stand behind the command.",
    )(command)


def json_option(command: Decorated) -> Decorated:
    """Give a command `--json`, as `as_json: bool`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document, for programs."
    )(command)
