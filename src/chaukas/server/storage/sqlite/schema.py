"""Opening a store's database: format version, migrations, connection settings."""

from __future__ import annotations

import os
from importlib import resources

import apsw

from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite.connection import DATABASE_NAME, fetch

__all__ = ["APPLICATION_ID", "FORMAT_VERSION", "key_secret", "migrate", "read_meta"]

#: The newest format this code reads and writes; it is the number of the last migration.
FORMAT_VERSION = 2
#: "Chau" in ASCII: tells our databases from any other SQLite file.
APPLICATION_ID = 0x43686175
_SECRET_BYTES = 32


def migrate(database: apsw.Connection, server_name: str) -> None:
    """Bring a new or older database to `FORMAT_VERSION`, with a write-ahead log.

    Raises `CannotServeError` for what this code must not touch, before anything is changed.
    """
    application = database.pragma("application_id")
    version = database.pragma("user_version")
    tables = fetch(database, "SELECT count(*) FROM sqlite_schema")[0][0]
    if application != APPLICATION_ID and (application or tables):
        raise CannotServeError(f"{DATABASE_NAME} in the data directory is not a Chaukas record")
    if version > FORMAT_VERSION:
        raise CannotServeError(
            f"the data directory has format {version}; this version of the server reads up to {FORMAT_VERSION}: use a newer one"
        )
    if database.pragma("journal_mode", "wal") != "wal":
        raise CannotServeError("the file system of the data directory does not support a write-ahead log (shared memory)")
    for number in range(version + 1, FORMAT_VERSION + 1):
        _apply(database, number, server_name)
    known = read_meta(database, "server_name")
    if known != server_name:
        raise CannotServeError(
            f"the data directory belongs to the server name {known!r}, not {server_name!r}: the name is part of every log's"
            " origin and cannot change; set server_name back"
        )


def _apply(database: apsw.Connection, number: int, server_name: str) -> None:
    """One migration in one transaction; a crash in between leaves the version before."""
    folder = resources.files("chaukas.server.storage.sqlite") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(f"{number:04d}_"))
    script = (folder / names[0]).read_text(encoding="utf-8")
    database.execute("BEGIN EXCLUSIVE")
    try:
        database.execute(script)
        if number == 1:
            database.execute("INSERT INTO meta VALUES ('server_name', ?)", (server_name,))
            database.execute("INSERT INTO meta VALUES ('key_secret', ?)", (os.urandom(_SECRET_BYTES),))
        database.pragma("application_id", APPLICATION_ID)
        database.pragma("user_version", number)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def read_meta(database: apsw.Connection, key: str) -> str | bytes | None:
    """A value of the `meta` table."""
    for (value,) in fetch(database, "SELECT value FROM meta WHERE key = ?", (key,)):
        return value  # type: ignore[no-any-return]
    return None


def key_secret(database: apsw.Connection) -> bytes:
    """The secret of the keys of ids. Raises `CannotServeError` when it is gone."""
    secret = read_meta(database, "key_secret")
    if not isinstance(secret, bytes):
        raise CannotServeError("the data directory has lost its key secret; the record cannot be searched")
    return secret
