"""Connections with our settings, and rows with the types that the driver's own tables promise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

__all__ = ["DATABASE_NAME", "connect", "execute_rows", "fetch"]

DATABASE_NAME = "record.db"
#: Pages of write-ahead log after which SQLite moves them into the database: 16 MiB.
_CHECKPOINT_PAGES = 4096


def connect(directory: Path, *, writer: bool, cache_kib: int, vfs: str | None = None) -> apsw.Connection:
    """A connection to the database in `directory`; it changes nothing yet, because the file may be somebody else's.

    With synchronous=FULL and the write-ahead log that `schema.migrate` turns on, a commit is on the disk before it returns.
    `vfs` names a registered SQLite VFS (how SQLite reaches files) instead of the system's own.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if writer else 0)
    database = apsw.Connection(str(directory / DATABASE_NAME), flags=flags, vfs=vfs, statementcachesize=128)
    database.set_busy_timeout(10_000)
    if writer:
        database.pragma("synchronous", "full")
        database.pragma("recursive_triggers", 1)
        database.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
        database.pragma("journal_size_limit", 4 * _CHECKPOINT_PAGES * 4096)
    else:
        database.pragma("query_only", 1)
    database.pragma("cache_size", -cache_kib)
    database.pragma("temp_store", 2)
    return database


def fetch(database: apsw.Connection, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a statement. The STRICT tables guarantee the column types that the caller unpacks."""
    return database.execute(sql, bindings).fetchall()


def execute_rows(database: apsw.Connection, sql: str, rows: Sequence[Sequence[int | None]]) -> None:
    """Run a statement that reads its rows of numbers from `json_each(?)`; nothing happens without rows.

    `executemany` would let go of the interpreter lock and take it back for every row, and wait for it whenever another thread is
    busy; one statement does so once.
    """
    if rows:
        database.execute(sql, (json.dumps(rows),))
