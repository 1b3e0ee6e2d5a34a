"""A configuration file -> a Config, or all that is wrong with it in one go."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from relayd.config.build import build_config
from relayd.config.config import Config
from relayd.config.findings import Findings, fault_problem
from relayd.config.problem import ConfigError, Problem
from relayd.config.reading import Unreadable, read_file
from relayd.config.shape import read_shape
from relayd.config.yaml_text import MAX_BYTES, YamlError, parse_yaml

__all__ = ["ConfigError", "load_config", "parse_config"]


def load_config(path: Path, *, environ: Mapping[str, str]) -> Config:
    """Read the file, and the secrets that it names. Blocks on the disk.

    Raises `ConfigError`, and nothing else, whatever the file holds.
    """
    content = read_file(path, MAX_BYTES)
    if isinstance(content, Unreadable):
        hint = "`relayd init` writes a first one" if content.missing else "name a file to read"
        raise ConfigError([Problem(str(path), None, None, "", content.reason, hint)])
    by_all = bool(content.mode & stat.S_IROTH)
    return parse_config(content.raw, path, environ=environ, readable_by_all=by_all)


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
