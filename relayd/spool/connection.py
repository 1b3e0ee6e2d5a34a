"""A connection to somebody else's SQLite file: short waits for locks, and deadlines for statements.

The file may be locked, replaced, or hold a schema that computes without an end.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from relayd.core.queue_files import sqlite_uri
from relayd.file_identity import file_identity
from relayd.spool.table import SpoolUnusableError
from relayd.sqlite_errors import is_busy

T = TypeVar("T")

STATEMENT_S: Final = 2.0
"""A statement that takes longer is ended; a batch takes some milliseconds."""
_PATIENCE_S: Final = 0.05
"""How long a read waits for a lock. It holds none meanwhile."""
_ATTEMPT_S: Final = 0.0003
"""Between two attempts to get a lock."""
_STEPS: Final = 2000
"""Steps of SQLite's machine between two looks at the clock: about 0.1 ms."""

_PRAGMAS: Final = (
    # trusted_schema = OFF would be right for somebody else's file, but SQLite 3.40 then refuses the
    # table's own json_valid(). Triggers and views are refused instead, and no function of ours
    # does anything.
    "cell_size_check = ON",
    "mmap_size = 0",
    "cache_size = -2000",
    # The process may write nowhere but in the spool's folder.
    "temp_store = MEMORY",
    # What the market's schema says about rows that refer to the spool holds for relayd as well.
    "foreign_keys = ON",
    # Writing back syncs the file, which can take long: `write_back_wal` does it.
    "wal_autocheckpoint = 0",
)


class GuestConnection:
    """One open file. `db` runs statements under the deadline in force; see `deadline`.

    Raises `SpoolUnusableError`, `sqlite3.Error` or `OSError` where the file cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self._deadline = float("inf")
        self._identity = file_identity(path)
        self.db = sqlite3.connect(
            sqlite_uri(str(path), "rw"), uri=True, isolation_level=None, timeout=0
        )
        self.db.text_factory = bytes  # names in a schema may be anything
        try:
            self.db.set_progress_handler(self._is_late, _STEPS)
            for pragma in _PRAGMAS:
                self.db.execute(f"PRAGMA {pragma}").fetchall()
            self.check_file()
        except BaseException:
            self.db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def check_file(self) -> None:
        """Raise `SpoolUnusableError` when the path leads to another file than was opened.

        A connection goes on reading and writing a file that was moved away.
        """
        if file_identity(self.path) != self._identity:
            raise SpoolUnusableError(f"{self.path} was replaced")

    def data_version(self) -> int:
        """Return SQLite's count of other connections' commits. Waits as `patiently` does."""
        return self._pragma("data_version")

    def schema_version(self) -> int:
        """Return SQLite's count of changes of the schema. Waits as `patiently` does."""
        return self._pragma("main.schema_version")

    def _pragma(self, name: str) -> int:
        def ask(db: sqlite3.Connection) -> int:
            [(value,)] = db.execute(f"PRAGMA {name}").fetchall()
            return int(value)

        return self.patiently(ask)

    def is_wal(self) -> bool:
        """Whether the file has a write-ahead log at present, and no rollback journal."""
        [(mode,)] = self.db.execute("PRAGMA main.journal_mode").fetchall()
        return bytes(mode) == b"wal"

    def write_back_wal(self, size: int) -> None:
        """Write a WAL that is longer than `size` bytes back to the file, as far as is possible.

        It keeps neither readers nor writers waiting, but is not over before the file is synced.
        """
        with suppress(FileNotFoundError, sqlite3.OperationalError):
            if os.stat(f"{self.path}-wal").st_size > size:  # noqa: PTH116 - as below
                self.db.execute("PRAGMA main.wal_checkpoint(PASSIVE)").fetchall()

    def patiently(
        self, work: Callable[[sqlite3.Connection], T], patience_s: float = _PATIENCE_S
    ) -> T:
        """Run a statement, again and again for so long while others hold a lock.

        Raises `sqlite3.OperationalError` (see `is_busy`) afterwards.
        """
        until = self._clock() + patience_s
        while True:
            try:
                return work(self.db)
            except sqlite3.OperationalError as error:
                if not is_busy(error) or self._clock() >= until:
                    raise
            time.sleep(_ATTEMPT_S)

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Roll back whatever is not committed at the end, and lift the deadline."""
        try:
            yield
        finally:
            self._deadline = float("inf")
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")

    def set_deadline(self, seconds: float) -> None:
        """End statements that run in `seconds` from now; they raise SQLITE_INTERRUPT.

        It holds until the `transaction` ends. One call of a function is not interrupted.
        """
        self._deadline = self._clock() + seconds

    def _is_late(self) -> bool:
        return self._clock() > self._deadline
