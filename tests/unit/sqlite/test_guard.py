"""The guard: the triggers that stop a statement from changing or dropping a part of the record by accident."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from chaukas.server.cli.tampering.sample import make_record
from chaukas.server.storage.sqlite.connection import DATABASE_NAME

_TABLES = {"segments": "bodies", "logs": "origin", "sessions": "salt", "tiles": "hashes", "heads": "root"}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("guard")
    asyncio.run(make_record(home))
    return home / "data" / DATABASE_NAME


@pytest.mark.parametrize("recursive", [0, 1])
@pytest.mark.parametrize("table", _TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET {column} = CAST('x' AS {type}) WHERE {newest}",
        "UPDATE {table} SET {key} = {key} + 1 WHERE {newest}",
        "DELETE FROM {table} WHERE {newest}",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE {newest}",
        "REPLACE INTO {table} SELECT * FROM {table} WHERE {newest}",
        "INSERT OR IGNORE INTO {table} SELECT * FROM {table} WHERE {newest}",
        "INSERT INTO {table} SELECT * FROM {table} WHERE {newest} ON CONFLICT ({key}) DO UPDATE SET {column} = x'00'",
    ],
)
def test_nothing_of_the_record_is_changed_by_a_statement(record: Path, table: str, statement: str, recursive: int):
    """A statement that would change, replace or delete a row of the record fails, whatever the connection's settings are."""
    database = apsw.Connection(str(record), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        database.pragma("recursive_triggers", recursive)
        key = database.execute(f"PRAGMA table_info({table})").fetchall()[0][1]
        names = {"table": table, "column": _TABLES[table], "key": key, "type": "TEXT" if table == "logs" else "BLOB"}
        names["newest"] = f"{key} = (SELECT max({key}) FROM {table})"  # noqa: S608  names of this test
        database.execute("BEGIN")
        with pytest.raises(apsw.ConstraintError, match="the record is append-only"):
            database.execute(statement.format(**names))
        database.execute("ROLLBACK")
    finally:
        database.close()


@pytest.mark.parametrize("recursive", [0, 1])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO sessions SELECT session_no + 1000, log_no, session_id, x'00', 1, 0, 0, 0 FROM sessions LIMIT 1",
        "REPLACE INTO logs SELECT 9 + log_no, 1, 'x', tenant_id, project_id, 0, 0, x'', 0, 0, 0, 0, 0 FROM logs LIMIT 1",
    ],
)
def test_no_row_is_replaced_through_another_of_its_keys(record: Path, statement: str, recursive: int):
    """INSERT OR REPLACE deletes every row that conflicts with the new one, not only the one with its primary key."""
    database = apsw.Connection(str(record), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        database.pragma("recursive_triggers", recursive)
        with pytest.raises(apsw.ConstraintError, match="the record is append-only"):
            database.execute(statement)
    finally:
        database.close()
