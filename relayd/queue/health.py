"""Keeps what is known of each endpoint."""

import sqlite3
from collections.abc import Mapping
from dataclasses import astuple

from relayd.core.endpoint import Health

_UPSERT = """
INSERT OR REPLACE INTO endpoints
  (url, failures, failed_at, failing_since, last_failure, released_at, held_until, ramp)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""


def write_health(db: sqlite3.Connection, health: Mapping[str, Health]) -> None:
    """Write endpoints' health, by URL."""
    if health:
        db.executemany(_UPSERT, [(url, *astuple(value)) for url, value in health.items()])


def read_health(db: sqlite3.Connection) -> Mapping[str, Health]:
    """Return what was last known of each endpoint, by URL."""
    rows = db.execute(
        "SELECT url, failures, failed_at, failing_since, last_failure, released_at, held_until,"
        " ramp FROM endpoints"
    )
    return {url: Health(*values) for url, *values in rows}
