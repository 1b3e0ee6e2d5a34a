"""`QUEUE.web`: what the web process is given of the configuration in force, for relayd's user alone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
import trio

from relayd.config.config import Config
from relayd.pacing import paced
from relayd.views.web_document import web_document

_log = structlog.get_logger()

MODE: Final = 0o600


class WebFile:
    """Writes the file at a start and at each reload. A failure is logged: it stops neither.

    `clock` gives Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    async def follow(self, config: Config) -> None:
        """Write what `config` has, whole or not at all; remove the file where it has no `http:`."""
        path = config.queue.web_path
        try:
            if config.web is None:
                path.unlink(missing_ok=True)
                return
            raw = await paced(web_document(config, loaded_at=self._clock()))
            # The write of a large one to a slow disk must not hold up the loop.
            await trio.to_thread.run_sync(_write, path, raw)
        except OSError as error:
            _log.error(
                "web_file_not_written",
                path=str(path),
                detail=f"{error.strerror}; the web process goes on with what it has",
            )


def _write(path: Path, raw: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(raw)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
