"""The embedded driver on SQLite."""

from chaukas.server.storage.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
