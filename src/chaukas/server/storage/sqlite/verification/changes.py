"""Changes to a record that nobody should make: for the tamper drill, on copies only.

For every table and every column of it: another value, a shorter one, the values of two rows swapped; for every table a row
deleted and a row copied; for the frame a trigger or an index less and a trigger more. The guard is taken away for each
change and put back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from chaukas.server.storage.sqlite.connection import DATABASE_NAME

__all__ = ["Change", "changes_of", "guarded_statements", "merge_some_postings"]

_GUARDED = ("segments", "logs", "sessions", "tiles", "heads")
_FLIP, _CUT, _SWAP, _DELETE, _COPY = "another value", "cut short", "swapped with a neighbour", "row deleted", "row copied"
_FAR = 1_000
_POSTING_BYTES = 16
#: What is not found, by table and column or operation; the reasons stand in `report.EXEMPT`.
_EXEMPT = {
    ("segments", "digests"),
    ("heads", "signed_at_ns"),
    ("quarantine", "number"),
    ("quarantine", "event_id"),
    ("quarantine", "reasons"),
    ("quarantine", "first_received_at_ns"),
    ("quarantine", "last_received_at_ns"),
    ("quarantine", "arrivals"),
    ("quarantine", _DELETE),
    ("pending_postings", "commit_no"),
    ("pending_postings", _SWAP),
    ("pending_postings", _COPY),
    ("sqlite_sequence", "seq"),
    ("sqlite_sequence", _DELETE),
    ("sqlite_sequence", _COPY),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change: a script of SQL statements with their values."""

    table: str
    what: str
    statements: tuple[tuple[str, tuple[Any, ...]], ...]
    #: Whether a verification must find it.
    found: bool = True
    #: Whether one trigger of the guard is not put back.
    drops_guard: bool = False

    def __str__(self) -> str:
        return f"{self.table}: {self.what}"

    def apply(self, directory: Path) -> bool:
        """Change the record in a directory; False when SQLite itself refuses, or nothing changed."""
        with _opened(directory) as database:
            triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
            before = database.total_changes()
            try:
                with database:
                    for name, _ in triggers:
                        database.execute(f'DROP TRIGGER "{name}"')
                    for sql, values in self.statements:
                        database.execute(sql, values)
                    for _, guard in triggers[self.drops_guard :]:
                        database.execute(str(guard))
            except apsw.ConstraintError:
                return False
            return self.table == "schema" or database.total_changes() > before


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[apsw.Connection]:
    database = apsw.Connection(str(directory / DATABASE_NAME), flags=apsw.SQLITE_OPEN_READWRITE)
    # These are copies: nobody waits for the disk.
    database.pragma("synchronous", 0)
    try:
        yield database
        # What a verification reads is then one file.
        database.pragma("wal_checkpoint(TRUNCATE)")
    finally:
        database.close()


def merge_some_postings(directory: Path) -> None:
    """Move all but the newest pending postings into their table, as the writer does when there are many."""
    with _opened(directory) as database, database:
        rows: list[Any] = database.execute("SELECT commit_no, entries FROM pending_postings ORDER BY commit_no").fetchall()[:-2]
        for commit_no, entries in rows:
            split = [(entries[at : at + _POSTING_BYTES],) for at in range(0, len(entries), _POSTING_BYTES)]
            database.executemany("INSERT OR IGNORE INTO postings VALUES (?)", split)
            database.execute("DELETE FROM pending_postings WHERE commit_no = ?", (commit_no,))


def changes_of(directory: Path) -> list[Change]:
    """All changes that this record has rows for."""
    found: list[Change] = []
    with _opened(directory) as database:
        tables: list[str] = [
            name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        ]
        for table in tables:
            found += _changes_of_table(database, table)
    found.append(Change("schema", "a trigger of the guard is missing", (), drops_guard=True))
    found.append(Change("schema", "an index is missing", (("DROP INDEX sessions_by_id", ()),)))
    evil = "CREATE TRIGGER forget AFTER INSERT ON tail BEGIN DELETE FROM totals; END"
    found.append(Change("schema", "a trigger more", ((evil, ()),)))
    found.append(Change("schema", "a table more", (("CREATE TABLE notes (text)", ()),)))
    return found


def _changes_of_table(database: apsw.Connection, table: str) -> Iterator[Change]:
    columns = [(row[1], row[5]) for row in database.execute(f'PRAGMA table_info("{table}")')]
    keys = [name for name, part in columns if part] or ["rowid"]
    names = [name for name, _ in columns]
    order = f"ORDER BY {', '.join(keys)}"
    if table == "quarantine":
        order = f"WHERE tenant_id <> '' {order}"
    if table == "heads":
        order = "WHERE place = (SELECT max(place) FROM heads)"
    selected = f"SELECT {', '.join([*keys, *names])} FROM {table} {order}"  # noqa: S608  names of the schema
    rows = database.execute(selected).fetchall()
    if not rows:
        return
    at = len(rows) // 2
    row, where = rows[at], " AND ".join(f"{key} = ?" for key in keys)
    key_values, values = row[: len(keys)], dict(zip(names, row[len(keys) :], strict=True))
    other = rows[at - 1] if len(rows) > 1 else None
    for name in names:
        value = values[name]
        exempt = (table, name) in _EXEMPT
        # A key moves far away, so that it meets no other row.
        another = value + _FAR if name in keys and isinstance(value, int) else _flipped(value)
        for what, changed in ((_FLIP, another), (_CUT, _cut(value))):
            if changed is not None:
                sql = f"UPDATE {table} SET {name} = ? WHERE {where}"  # noqa: S608  names of the schema
                shorter = exempt and not (table == "segments" and what == _CUT)
                yield Change(table, f"{name}: {what}", ((sql, (changed, *key_values)),), found=not shorter)
        if other is not None and name not in keys:
            theirs = dict(zip(names, other[len(keys) :], strict=True))[name]
            if theirs != value:
                sql = f"UPDATE {table} SET {name} = ? WHERE {where}"  # noqa: S608  names of the schema
                both = ((sql, (theirs, *key_values)), (sql, (value, *other[: len(keys)])))
                yield Change(table, f"{name}: {_SWAP}", both, found=not exempt and (table, _SWAP) not in _EXEMPT)
    deleted = f"DELETE FROM {table} WHERE {where}"  # noqa: S608  names of the schema
    yield Change(table, _DELETE, ((deleted, key_values),), found=(table, _DELETE) not in _EXEMPT)
    yield _copy(table, names, keys, values, rows[-1])


def _copy(table: str, names: list[str], keys: list[str], values: dict[str, Any], last: tuple[Any, ...]) -> Change:
    """The same row once more under a new key, behind all others."""
    copied = dict(values)
    for key, value in zip(keys, last, strict=False):
        if key in copied:
            copied[key] = value + 1 if isinstance(value, int) else _flipped(value)
    for name in ("log_id", "origin", "session_id", "digest", "tenant_id", "project_id"):
        if name in copied and name not in keys and table in {"logs", "sessions", "quarantine"}:
            copied[name] = _flipped(copied[name])
    marks = ", ".join("?" for _ in names)
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608  names of the schema
    return Change(table, _COPY, ((sql, tuple(copied[name] for name in names)),), found=(table, _COPY) not in _EXEMPT)


def _flipped(value: Any) -> Any:  # noqa: ANN401  whatever a column holds
    """A value that differs a little."""
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, bytes):
        middle = len(value) // 2
        return value[:middle] + bytes((value[middle] ^ 1,)) + value[middle + 1 :] if value else b"\x01"
    return 0


def _cut(value: Any) -> Any:  # noqa: ANN401  whatever a column holds
    """The value without its end; None where it has none."""
    return value[:-1] if isinstance(value, str | bytes) and value else None


def guarded_statements(directory: Path) -> dict[str, str]:
    """Statements that the guard must refuse, with what became of each: `refused`, or what went wrong. Nothing is changed."""
    results: dict[str, str] = {}
    with _opened(directory) as database:
        database.pragma("recursive_triggers", 0)
        for table in _GUARDED:
            names = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
            key = names[0]
            newest = f"{key} = (SELECT max({key}) FROM {table})"  # noqa: S608  names of the schema
            for sql in (
                f"UPDATE {table} SET {key} = {key} + 1 WHERE {newest}",  # noqa: S608  names of the schema
                f"UPDATE OR REPLACE {table} SET {key} = {key} WHERE {newest}" if table == "segments" else "",  # noqa: S608
                f"DELETE FROM {table} WHERE {newest}",  # noqa: S608
                f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE {newest}",  # noqa: S608
                f"REPLACE INTO {table} SELECT * FROM {table} WHERE {newest}",  # noqa: S608
                f"INSERT INTO {table} SELECT * FROM {table} WHERE {newest} ON CONFLICT ({key}) DO UPDATE SET {key} = 0",  # noqa: S608
            ):
                if not sql:
                    continue
                database.execute("BEGIN")
                try:
                    database.execute(sql)
                    results[sql] = "not refused"
                except apsw.ConstraintError as error:
                    results[sql] = "refused" if "append-only" in str(error) else f"refused by something else: {error}"
                finally:
                    database.execute("ROLLBACK")
    return results
