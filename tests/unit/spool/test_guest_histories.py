"""Whatever happens to a spool: each row is handed over, and nothing is deleted that was not
confirmed."""

import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relayd.spool.guest import Guest

REST = "data TEXT, created, market_id, api_version"
SHAPES = [
    f"CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY AUTOINCREMENT, id, type, {REST})",
    f"CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY DESC, id, type, {REST})",
    f"CREATE TABLE relayd_spool (seq, id TEXT, type, {REST})",
    f"CREATE TABLE relayd_spool (seq, id TEXT, type, {REST}, k INTEGER PRIMARY KEY)",
    f"CREATE TABLE relayd_spool (seq, id, type TEXT, {REST}, PRIMARY KEY (id, type)) WITHOUT ROWID",
    (
        f"CREATE TABLE relayd_spool (seq, id TEXT COLLATE NOCASE PRIMARY KEY, type, {REST})"
        " WITHOUT ROWID"
    ),
]
VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 1.0, 1.5, "1", b"1", "", b"", "a", "A", "\0", "ä", "😀", None]),
)
Content = tuple[Any, ...]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Histories(RuleBasedStateMachine):
    """A market and a guest take turns. Rows are known by their content alone, as a receiver does."""

    @initialize(
        shape=st.sampled_from(SHAPES),
        wal=st.booleans(),
        encoding=st.sampled_from(["UTF-8", "UTF-16le"]),
    )
    def make(self, shape: str, wal: bool, encoding: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "spool.db"
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute(f"PRAGMA encoding = '{encoding}'")
        self.db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute(shape)
        self.clock = Clock()
        self.guest = Guest(self.path, "relayd_spool", clock=self.clock)
        self.guest.open()
        self.unconfirmed: dict[int, Content] = {}
        self.confirmed: set[Content] = set()
        self.backup: sqlite3.Connection | None = None

    def teardown(self) -> None:
        if not hasattr(self, "guest"):
            return
        try:
            self.settle()
        finally:
            self.guest.close()
            self.db.close()
            if self.backup is not None:
                self.backup.close()
            self.folder.cleanup()

    def rows(self) -> Counter[Content]:
        self.db.text_factory = bytes
        return Counter(self.db.execute("SELECT id, type, data FROM relayd_spool").fetchall())

    def settle(self) -> None:
        """Confirm all that is handed over, for a minute: then the spool is empty."""
        for _ in range(40):
            self.clock.now += 2.0
            self.look()
            self.confirm(1000)
            self.tend()
        assert not self.rows()
        assert not self.guest.undeleted

    @rule(event_id=VALUES, kind=VALUES, count=st.integers(1, 5))
    def insert(self, event_id: Any, kind: Any, count: int) -> None:
        for _ in range(count):
            self.db.execute(
                "INSERT OR IGNORE INTO relayd_spool (id, type, data)"
                " SELECT ?, ?, count(*) FROM relayd_spool",
                (event_id, kind),
            )

    @rule(data=st.sampled_from(["x", "y"]))
    def change_some(self, data: str) -> None:
        self.db.execute(
            "UPDATE OR IGNORE relayd_spool SET data = ? WHERE id IN"
            " (SELECT id FROM relayd_spool ORDER BY random() LIMIT 2)",
            (data,),
        )

    @rule()
    def delete_some(self) -> None:
        self.db.execute(
            "DELETE FROM relayd_spool WHERE id IN"
            " (SELECT id FROM relayd_spool ORDER BY random() LIMIT 2)"
        )

    @rule()
    def vacuum(self) -> None:
        self.db.execute("VACUUM")

    @rule()
    def change_the_schema(self) -> None:
        self.db.execute("DROP INDEX IF EXISTS i")
        self.db.execute("CREATE INDEX i ON relayd_spool (type, id)")

    @rule()
    def back_up(self) -> None:
        if self.backup is None:
            self.backup = sqlite3.connect(":memory:")
        self.db.backup(self.backup)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        assert self.backup is not None
        self.backup.backup(self.db)

    @rule()
    def look(self) -> None:
        for row in self.guest.look().rows:
            columns = row.columns
            self.unconfirmed[row.key] = (columns.id, columns.type, columns.data)

    @rule(count=st.integers(1, 10))
    def confirm(self, count: int) -> None:
        keys = list(self.unconfirmed)[:count]
        self.confirmed.update(self.unconfirmed.pop(key) for key in keys)
        self.guest.confirm(keys)

    @rule()
    def tend(self) -> None:
        before = self.rows()
        self.guest.tend()
        gone = before - self.rows()
        assert set(gone) <= self.confirmed

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def reopen(self) -> None:
        self.guest.close()
        self.guest.open()
        self.unconfirmed.clear()

    @invariant()
    def nothing_keeps_it(self) -> None:
        if hasattr(self, "guest"):
            assert self.guest.waits_for is None


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
