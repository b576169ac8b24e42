"""An empty record in memory, with the tables of the newest format."""

from __future__ import annotations

from importlib import resources

import apsw

__all__ = ["empty_record", "unguarded"]


def empty_record() -> apsw.Connection:
    """A database with all tables and no rows, in memory."""
    database = apsw.Connection(":memory:")
    folder = resources.files("chaukas.server.storage.sqlite") / "migrations"
    for script in sorted(folder.iterdir(), key=lambda each: each.name):
        if script.name.endswith(".sql"):
            database.execute(script.read_text(encoding="utf-8"))
    return database


def unguarded(database: apsw.Connection) -> apsw.Connection:
    """The same connection, its database without the triggers that protect the record: a test is about to damage it."""
    for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        database.execute(f'DROP TRIGGER "{name}"')
    return database
