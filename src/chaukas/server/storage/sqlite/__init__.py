"""The embedded store: one SQLite database in one directory, with one writer."""

from chaukas.server.storage.sqlite.store import SqliteStore
from chaukas.server.storage.sqlite.text_index.keeper import TextIndexSettings
from chaukas.server.storage.sqlite.writer_process import WriterProcessSettings

__all__ = ["SqliteStore", "TextIndexSettings", "WriterProcessSettings"]
