"""Tells when the queue's -wal grows: somebody reads the queue for long, and nobody notices.

While another program holds a read transaction open (a backup, a forgotten sqlite3 shell), SQLite
cannot move what it committed since from the -wal into the file, and the -wal grows with each
commit. Once that program ends, the next commits do it, and cut the -wal back.

It is looked at beside the loop: where the disk hangs, the watch waits, and nothing else.
"""

from pathlib import Path
from typing import Final

import structlog
import trio

_log = structlog.get_logger()

LARGE_BYTES: Final = 256 * 1024 * 1024
"""Without a long reader it has 4 MiB, or after a burst the 64 MiB that it is cut back to."""

_LOOK_S: Final = 30.0


class WalWatch:
    """Watches the -wal of the queue at `path`. Warns once each time that it grows large."""

    def __init__(self, path: Path) -> None:
        self._wal = path.with_name(f"{path.name}-wal")
        self._large = False

    async def run(self) -> None:
        """Look twice a minute, until cancelled."""
        while True:
            await self.look()
            await trio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Look once, and tell what changed. Cancelling does not wait for the disk."""
        size = await trio.to_thread.run_sync(self._size, abandon_on_cancel=True)
        if size >= LARGE_BYTES and not self._large:
            _log.warning(
                "wal_large",
                path=str(self._wal),
                bytes=size,
                detail="another program has been reading the queue for a long time (a backup, an"
                " open sqlite3 shell?): the file grows until it ends",
            )
        elif self._large and size < LARGE_BYTES:
            _log.info("wal_truncated", path=str(self._wal), bytes=size)
        self._large = size >= LARGE_BYTES

    def _size(self) -> int:
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0
