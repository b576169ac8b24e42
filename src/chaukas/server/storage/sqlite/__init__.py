"""The embedded store: one SQLite database in one directory, written by one process."""

from chaukas.server.storage.sqlite.store import SqliteStore
from chaukas.server.storage.sqlite.text_index.keeper import TextIndexSettings

__all__ = ["SqliteStore", "TextIndexSettings"]
