"""The configuration in force, as the daemon wrote it for the web process: read again when it changes."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from starlette.requests import Request

from relayd.views.web_document import OtherFormatError, WebDocument, read_web_document

_log = structlog.get_logger()

LOOK_S: Final = 1.0

_Identity = tuple[int, int, int]


class NothingToServeError(Exception):
    """There is nothing to serve by; says why, and what to do."""


class _GoneError(NothingToServeError):
    """The file is not there: the daemon has removed it, since its configuration has no `http:` any more."""


class FollowedDocument:
    """What `QUEUE.web` says. `document` is replaced as a whole, by `follow`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: _Identity | None = None
        self._trouble = ""
        self._looking = asyncio.Lock()
        self.document, self._seen = self._read()

    def _read(self) -> tuple[WebDocument, _Identity]:
        try:
            with self._path.open("rb") as file:
                seen = _identity(os.fstat(file.fileno()))
                return read_web_document(file.read()), seen
        except FileNotFoundError:
            raise _GoneError(
                f"there is no {self._path}: relayd writes it when it starts, or reloads, with `http:`"
                " in its configuration"
            ) from None
        except PermissionError:
            raise NothingToServeError(
                f"{self._path} is for relayd's user alone; run `relayd web` as that user"
            ) from None
        except OSError as error:
            raise NothingToServeError(f"{self._path} cannot be read: {error.strerror}") from error
        except OtherFormatError as error:
            raise NothingToServeError(f"{self._path}: {error}") from error

    async def follow(self) -> None:
        """Read the file again whenever it is another one, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Read the file again if it is another one.

        Where it is gone, nobody has a token any more. Where it cannot be read, what was read last stays.
        """
        async with self._looking:  # one at a time, or the older file might be what stays
            before = self.document
            try:
                # In a thread: with thousands of subscriptions it takes long.
                found = await asyncio.to_thread(self._read_if_changed)
            except NothingToServeError as error:
                if isinstance(error, _GoneError):
                    self.document, self._seen = before.closed(), None
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    _log.warning("web_file_not_read", detail=self._trouble)
                return
            self._trouble = ""
            if found is None:
                return
            self.document, self._seen = found
            after = self.document.access
            _log.info("web_file_read", tokens=len(after.tokens))
            if (before.access.listen, before.access.public) != (after.listen, after.public):
                _log.warning(
                    "web_restart_needed", detail="http.listen or http.public changed: restart it"
                )

    def _read_if_changed(self) -> tuple[WebDocument, _Identity] | None:
        with suppress(OSError):
            if _identity(self._path.stat()) == self._seen:
                return None
        return self._read()


def document_of(request: Request) -> WebDocument:
    """Return what the daemon has said of the configuration in force."""
    followed: FollowedDocument = request.app.state.followed
    return followed.document


async def look_again(request: Request) -> None:
    """Know what the daemon has just put in force."""
    followed: FollowedDocument = request.app.state.followed
    await followed.look()


def _identity(found: os.stat_result) -> _Identity:
    return (found.st_ino, found.st_mtime_ns, found.st_size)
