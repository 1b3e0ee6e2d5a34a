"""The configuration in force, as the daemon wrote it for the web process: read again when it changes."""

import asyncio
import os
from pathlib import Path
from typing import Final

import structlog
from starlette.requests import Request

from relayd.views.web_document import OtherFormatError, WebDocument, read_web_document

_log = structlog.get_logger()

LOOK_S: Final = 1.0


class NotInForceError(Exception):
    """There is nothing to serve by; says why, and what to do."""


class InForce:
    """What `QUEUE.web` says. `document` is replaced as a whole, by `follow`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self.document = self._read()

    def _read(self) -> WebDocument:
        try:
            with self._path.open("rb") as file:
                self._seen = _identity(os.fstat(file.fileno()))
                return read_web_document(file.read())
        except FileNotFoundError:
            raise NotInForceError(
                f"there is no {self._path}: relayd writes it when it starts, or reloads, with `http:`"
                " in its configuration"
            ) from None
        except PermissionError:
            raise NotInForceError(
                f"{self._path} is for relayd's user alone; run `relayd web` as that user"
            ) from None
        except OSError as error:
            raise NotInForceError(f"{self._path} cannot be read: {error.strerror}") from error
        except OtherFormatError as error:
            raise NotInForceError(f"{self._path}: {error}") from error

    async def follow(self) -> None:
        """Read the file again whenever it is another one, until cancelled.

        Where it is gone or cannot be read, what was read last stays.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Read the file again if it is another one by now."""
        try:
            if _identity(self._path.stat()) == self._seen:
                return
        except OSError:
            return
        before = self.document.access
        try:
            self.document = self._read()
        except NotInForceError as error:
            _log.warning("web_file_not_read", detail=str(error))
            return
        after = self.document.access
        _log.info("web_file_read", tokens=len(after.tokens))
        if (before.listen, before.public) != (after.listen, after.public):
            _log.warning(
                "web_restart_needed", detail="http.listen or http.public changed: restart it"
            )


def in_force_of(request: Request) -> WebDocument:
    """Return what the daemon has said of the configuration in force."""
    in_force: InForce = request.app.state.in_force
    return in_force.document


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_ino, found.st_mtime_ns, found.st_size)
