"""A configuration file, and those that it includes -> a Config, or all that is wrong in one go.

What loading needs (pydantic, PyYAML, the models: 11 MB) is imported when a file is loaded, and not
by those who may load one some day: the daemon above all.
"""

import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from relayd.config.config import Config
from relayd.config.problem import ConfigError

if TYPE_CHECKING:
    from relayd.config.added_subscription import Added
    from relayd.config.findings import Findings

__all__ = ["ConfigError", "load_config", "parse_config"]


def load_config(path: Path, *, environ: Mapping[str, str], added: "Added | None" = None) -> Config:
    """Read the file, those that it includes, and the secrets that they name. Blocks on the disk.

    Raises `ConfigError`, and nothing else, whatever the files hold. `added` is one more included file,
    which is not there yet.
    """
    from relayd.config.documents import read_documents  # noqa: PLC0415 - see the module
    from relayd.config.reading import recorded_reads  # noqa: PLC0415

    with recorded_reads() as files:
        config = _config_of(read_documents(path, added), path, environ)
    return replace(config, files=tuple(files.values()))


def parse_config(
    raw: bytes, path: Path, *, environ: Mapping[str, str], readable_by_all: bool = False
) -> Config:
    """Return what the text `raw` of the file at `path` means. Reads the files that it names.

    Raises `ConfigError`. `readable_by_all` says that others on the machine may read the file.
    """
    from relayd.config.documents import documents_of  # noqa: PLC0415 - see the module
    from relayd.config.reading import FileContent  # noqa: PLC0415

    mode = stat.S_IROTH if readable_by_all else 0
    return _config_of(documents_of(FileContent(raw, mode, 0, 0), path), path, environ)


def _config_of(findings: "Findings", path: Path, environ: Mapping[str, str]) -> Config:
    from relayd.config.build import build_config  # noqa: PLC0415 - see the module
    from relayd.config.reading import absolute  # noqa: PLC0415
    from relayd.config.shape import read_shape  # noqa: PLC0415

    file = read_shape(findings)
    if file is None:
        raise ConfigError(findings.errors)
    config = build_config(file, absolute(path), environ, findings)
    if findings.errors:
        raise ConfigError(findings.errors)
    return config
