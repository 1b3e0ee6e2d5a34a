"""A configuration file -> a Config, or all that is wrong with it in one go."""

import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

from relayd.config.build import build_config
from relayd.config.config import Config
from relayd.config.findings import Findings, fault_problem
from relayd.config.problem import ConfigError, Problem
from relayd.config.shape import read_shape
from relayd.config.yaml_text import MAX_BYTES, YamlError, parse_yaml

__all__ = ["ConfigError", "load_config", "parse_config"]


def load_config(path: Path, *, environ: Mapping[str, str]) -> Config:
    """Read the file, and the secrets that it names. Blocks on the disk.

    Raises `ConfigError`, and nothing else, whatever the file holds.
    """
    raw, mode = _read(path)
    return parse_config(raw, path, environ=environ, readable_by_all=bool(mode & stat.S_IROTH))


def parse_config(
    raw: bytes, path: Path, *, environ: Mapping[str, str], readable_by_all: bool = False
) -> Config:
    """Return what the text `raw` of the file at `path` means. Reads the secrets that it names.

    Raises `ConfigError`. `readable_by_all` says that others on the machine may read the file.
    """
    shown = str(path)
    try:
        document = parse_yaml(raw)
    except YamlError as error:
        raise ConfigError([fault_problem(shown, fault) for fault in error.faults]) from None
    findings = Findings(shown, document)
    file = read_shape(findings)
    if file is None:
        raise ConfigError(findings.errors)
    # Not resolved: beside a symbolic link stands what the operator sees there.
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`
    config = build_config(file, absolute, environ, findings, readable_by_all=readable_by_all)
    if findings.errors:
        raise ConfigError(findings.errors)
    return config


def _read(path: Path) -> tuple[bytes, int]:
    """Return the file's bytes, one past the limit at most, and its mode."""
    try:
        # A pipe would block, and never end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise _unreadable(path, "does not exist", "`relayd init` writes a first one") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is no path"
        raise _unreadable(
            path, f"cannot be opened by {_user()}: {reason}", "let relayd's user read it"
        ) from None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, no path
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise _unreadable(path, "is a directory", "name the file in it, as config.yaml")
        if not stat.S_ISREG(mode):
            raise _unreadable(path, "is not a file")
        try:
            return file.read(MAX_BYTES + 1), mode
        except OSError as error:
            raise _unreadable(path, f"cannot be read: {error.strerror}") from None


def _unreadable(path: Path, message: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(str(path), None, None, "", message, hint)])


def _user() -> str:
    user = os.geteuid()
    try:
        return f"user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"user {user}"
