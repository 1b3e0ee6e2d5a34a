"""Keeps what is known of each endpoint."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import astuple, fields

from relayd.core.endpoint import Health

_NAMES = [field.name for field in fields(Health)]
_COLUMNS = ", ".join(_NAMES)
_RECENT = _NAMES.index("recent")
_REPORTED = _NAMES.index("reported")

_UPSERT = f"""
INSERT OR REPLACE INTO endpoints (url, {_COLUMNS})
VALUES (?, {", ".join("?" for _ in _NAMES)})"""  # noqa: S608 - names of our own

_READ = f"SELECT url, {_COLUMNS} FROM endpoints"  # noqa: S608 - names of our own


def write_health(db: sqlite3.Connection, health: Mapping[str, Health]) -> None:
    """Write endpoints' health, by URL."""
    if health:
        db.executemany(_UPSERT, [(url, *_values(value)) for url, value in health.items()])


def read_health(db: sqlite3.Connection) -> Mapping[str, Health]:
    """Return what was last known of each endpoint, by URL."""
    return {url: _health(values) for url, *values in db.execute(_READ)}


def _values(health: Health) -> list[object]:
    values: list[object] = list(astuple(health))
    values[_RECENT] = json.dumps(health.recent, separators=(",", ":"))
    return values


def _health(values: list[object]) -> Health:
    values[_RECENT] = tuple(json.loads(str(values[_RECENT])))
    values[_REPORTED] = bool(values[_REPORTED])
    return Health(**dict(zip(_NAMES, values, strict=True)))  # type: ignore[arg-type]  # columns are fields
