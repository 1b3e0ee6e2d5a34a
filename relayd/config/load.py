"""A configuration file -> a Config, or all that is wrong with it in one go.

What loading needs (pydantic, PyYAML, the models: 11 MB) is imported when a file is loaded, and not
by those who may load one some day: the daemon above all.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from relayd.config.config import Config
from relayd.config.problem import ConfigError, Problem

__all__ = ["ConfigError", "load_config", "parse_config"]


def load_config(path: Path, *, environ: Mapping[str, str]) -> Config:
    """Read the file, and the secrets that it names. Blocks on the disk.

    Raises `ConfigError`, and nothing else, whatever the file holds.
    """
    from relayd.config.reading import Unreadable, read_file, recorded_reads  # noqa: PLC0415 - see the module
    from relayd.config.yaml_text import MAX_BYTES  # noqa: PLC0415

    # Where the working directory changes later, the daemon still finds the file.
    with recorded_reads() as files:
        content = read_file(Path(os.path.abspath(path)), MAX_BYTES)  # noqa: PTH100 - as below
        if isinstance(content, Unreadable):
            hint = "`relayd init` writes a first one" if content.missing else "name a file to read"
            raise ConfigError([Problem(str(path), None, None, "", content.reason, hint)])
        by_all = bool(content.mode & stat.S_IROTH)
        config = parse_config(content.raw, path, environ=environ, readable_by_all=by_all)
    return replace(config, files=tuple(files.values()))


def parse_config(
    raw: bytes, path: Path, *, environ: Mapping[str, str], readable_by_all: bool = False
) -> Config:
    """Return what the text `raw` of the file at `path` means. Reads the secrets that it names.

    Raises `ConfigError`. `readable_by_all` says that others on the machine may read the file.
    """
    from relayd.config.build import build_config  # noqa: PLC0415 - see the module
    from relayd.config.findings import Findings, fault_problem  # noqa: PLC0415
    from relayd.config.shape import read_shape  # noqa: PLC0415
    from relayd.config.yaml_nodes import YamlError  # noqa: PLC0415
    from relayd.config.yaml_text import parse_yaml  # noqa: PLC0415

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
