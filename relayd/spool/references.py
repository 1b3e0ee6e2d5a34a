"""What refers to a spool's table, and so decides whether its rows can be deleted: other tables, and their triggers.

A foreign key of the market's may keep a row, and so may a trigger that runs when the row's deletion is
passed on: SQLite names neither. Both are looked up in the schema, so that what is really there is named.
"""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from relayd.spool.table import shown, word

_MOST_TABLES: Final = 50
_MOST_NAMED: Final = 3
_PASSED_ON: Final = {"CASCADE": "DELETE", "SET NULL": "UPDATE", "SET DEFAULT": "UPDATE"}
"""What a foreign key's action at a deletion does to the rows that refer to it: the others keep the row."""

_REFERRERS: Final = f"""
SELECT DISTINCT m.name, f.on_delete
FROM main.sqlite_schema AS m JOIN pragma_foreign_key_list(m.name, 'main') AS f
WHERE m.type = 'table' AND m.rootpage > 0 AND f."table" = ? COLLATE NOCASE
LIMIT {_MOST_TABLES}"""  # noqa: S608 - a constant of our own

_TRIGGERS: Final = f"""
SELECT name, CAST(substr(CAST(sql AS BLOB), 1, 100000) AS BLOB) FROM main.sqlite_schema
WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE
LIMIT {_MOST_TABLES}"""  # noqa: S608 - a constant of our own

# The text is whoever's may write to the schema. Nothing is tried in two ways (++, *+): that took two minutes
# for 100 KB of `a.a.a.…` in a comment.
_NAME = r"""(?:"(?:[^"]|"")*+"|`(?:[^`]|``)*+`|\[[^\]]*+\]|'(?:[^']|'')*+'|[^\s"`'\[.]++)"""
_EVENT = re.compile(
    rf"\s*+CREATE\s++(?:TEMP\s++|TEMPORARY\s++)?TRIGGER\s++(?:IF\s++NOT\s++EXISTS\s++)?"
    rf"{_NAME}(?:\.{_NAME})?\s++"
    r"(?:BEFORE\s++|AFTER\s++|INSTEAD\s++OF\s++)?(DELETE|INSERT|UPDATE)\b",
    re.IGNORECASE,
)
_IGNORES = re.compile(r"\bRAISE\s*+\(\s*+IGNORE\b", re.IGNORECASE)
_RAISES = re.compile(r"\bRAISE\s*+\(\s*+(?:ABORT|FAIL|ROLLBACK)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Trigger:
    """A trigger of a table to which a deletion is passed on. Its names can be shown."""

    name: str
    table: str
    text: str

    def words(self) -> str:
        return f"trigger {self.name} of table {self.table}"


def refusal_words(db: sqlite3.Connection, table: str, error: sqlite3.Error) -> str:
    """Return what to do where deleting a row failed with this error; empty where that is not known.

    Reads the schema only. Raises `sqlite3.Error`.
    """
    code = error.sqlite_errorcode
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return _foreign_key_words(db, table)
    if code == sqlite3.SQLITE_CONSTRAINT_NOTNULL and any(
        action == "SET NULL" for _, _, action in _referrers(db, table)
    ):
        return "ON DELETE SET NULL needs a column that may be NULL; otherwise use ON DELETE CASCADE"
    found = list(_triggers(db, table))
    raising = [each for each in found if _RAISES.search(each.text)]
    if code == sqlite3.SQLITE_CONSTRAINT_TRIGGER and raising:
        found = raising
    return _change(found) if found else ""


def _foreign_key_words(db: sqlite3.Connection, table: str) -> str:
    keeping = list(dict.fromkeys(_keeping(db, table)))
    found = list(_triggers(db, table))
    ignoring = [each for each in found if _IGNORES.search(each.text)]
    parts = []
    if keeping:
        need = "needs" if len(keeping) == 1 else "need"
        parts.append(f"{_named(keeping)} {need} ON DELETE CASCADE or ON DELETE SET NULL")
    if not keeping and not ignoring:
        ignoring = found  # one of them may bring the row back
    if ignoring:
        parts.append(f"{_change(ignoring)}, which keeps rows that refer to it")
    return "; ".join(parts)


def trigger_words(db: sqlite3.Connection, table: str) -> str:
    """Return the triggers that run when a row is deleted, by name; empty where there is none."""
    return _named([each.words() for each in _triggers(db, table)])


def _change(triggers: list[_Trigger]) -> str:
    return f"change or drop {_named([each.words() for each in triggers])}"


def _named(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _keeping(db: sqlite3.Connection, table: str) -> Iterator[str]:
    """Yield each reference that keeps a row: the tables, to be shown."""
    for name, referred, action in _referrers(db, table):
        if action not in _PASSED_ON:
            yield f"table {shown(name)}, which refers to {shown(referred)},"


def _triggers(db: sqlite3.Connection, table: str) -> Iterator[_Trigger]:
    """Yield the triggers that run when a row's deletion is passed on, each once."""
    seen: set[tuple[str, str]] = set()
    for name, _, action in _referrers(db, table):
        event = _PASSED_ON.get(action)
        if event is None:
            continue
        for trigger, sql in db.execute(_TRIGGERS, (name,)).fetchall():
            text = word(sql)
            found = _EVENT.match(text)
            if found is not None and found[1].upper() != event:
                continue
            key = (name, word(trigger))
            if key not in seen:
                seen.add(key)
                yield _Trigger(shown(word(trigger)), shown(name), text)


def _referrers(db: sqlite3.Connection, table: str) -> Iterator[tuple[str, str, str]]:
    """Yield tables that refer to this one, or to a table whose rows go with its rows.

    Each with the table that it refers to, and the foreign key's action at a deletion.
    """
    todo, known = [table], {table.lower()}
    while todo:
        referred = todo.pop(0)
        for raw, action in db.execute(_REFERRERS, (referred,)).fetchall():
            name = word(raw)
            yield name, referred, word(action)
            if (
                word(action) == "CASCADE"
                and name.lower() not in known
                and len(known) < _MOST_TABLES
            ):
                known.add(name.lower())
                todo.append(name)
