"""What writes the record: one connection, the appender over it, and how both come back after a failure.

Used by one thread at a time. Whether that is a thread of the server or a process of its own is decided in `writer`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import apsw

from chaukas.server.errors import CannotServeError, ChaukasError, StorageError
from chaukas.server.storage.contract import EventRecord, Outcome, QuarantineItem
from chaukas.server.storage.log_contract import OtherEntry, TreeGrowth
from chaukas.server.storage.sqlite.appender import Appender
from chaukas.server.storage.sqlite.connection import connect
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.logs import Logs
from chaukas.server.storage.sqlite.postings import Postings
from chaukas.server.storage.sqlite.quarantine import Quarantine
from chaukas.server.storage.sqlite.schema import key_secret, migrate
from chaukas.server.storage.sqlite.tree import cosign_head, grow_tree

__all__ = ["RecordWriter"]

_T = TypeVar("_T")
_CACHE_KIB = 32 * 1024


class RecordWriter:
    """All changes of a record; each method is one transaction. A failed one raises `StorageError` and has stored nothing."""

    def __init__(
        self,
        directory: Path,
        server_name: str,
        quarantine_items_max: int,
        quarantine_bytes_max: int,
        *,
        vfs: str | None = None,
        postings: Postings | None = None,
    ) -> None:
        """Nothing is opened yet."""
        self._directory = directory
        self._server_name = server_name
        self._vfs = vfs
        self._quarantine = Quarantine(quarantine_items_max, quarantine_bytes_max)
        self._postings = postings or Postings()
        self._database: apsw.Connection | None = None
        self._appender: Appender | None = None

    def open(self) -> None:
        """Migrate the record and read what memory holds of it. Raises `CannotServeError`."""
        try:
            self._recover()
        except (apsw.Error, TypeError, ValueError) as error:
            # In a damaged file values are missing where the tables promise them.
            self.close()
            raise CannotServeError(f"the data directory {self._directory} cannot be opened: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection: at the end, and after a failure, when only reading again tells what is on the disk."""
        if self._database is not None:
            # A failure is no loss, because what was acknowledged stands in the write-ahead log.
            with contextlib.suppress(apsw.Error):
                self._database.close()
        self._database = None
        self._appender = None

    def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """See `EventAppender.append`."""
        return self._appending(lambda appender: appender.append(items))

    def append_others(self, log_id: int, entries: Sequence[OtherEntry]) -> int:
        """See `LogWriter.append_others`."""
        return self._appending(lambda appender: appender.append_others(log_id, entries))

    def log_quarantined(self, items_max: int) -> int:
        """See `LogWriter.log_quarantined`."""
        return self._appending(lambda appender: appender.log_quarantined(items_max))

    def grow_trees(self, growths: Sequence[TreeGrowth]) -> None:
        """See `LogWriter.grow_trees`."""

        def grow(database: apsw.Connection) -> None:
            for growth in growths:
                grow_tree(database, growth)

        self._changing(grow)

    def cosign_head(self, log_id: int, size: int, note: bytes) -> None:
        """See `LogWriter.cosign_head`."""
        self._changing(lambda database: cosign_head(database, log_id, size, note))

    def remove_quarantined(self, quarantine_id: str) -> bool:
        """See `QuarantineStore.quarantine_remove`."""
        try:
            return self._quarantine.remove(self._opened()[0], quarantine_id)
        except apsw.Error as error:
            self.close()
            raise StorageError from error

    def _recover(self) -> None:
        """Connect, check that the record is ours to write, and read what memory holds of it."""
        database = self._database = connect(self._directory, writer=True, cache_kib=_CACHE_KIB, vfs=self._vfs)
        if database.readonly("main"):
            raise CannotServeError(f"the data directory {self._directory} cannot be written: its database is read-only")
        migrate(database, self._server_name)
        keys = IdKeys(key_secret(database))
        appender = Appender(database, Logs(self._server_name), keys, self._postings, self._quarantine)
        appender.recover()
        self._appender = appender

    def _opened(self) -> tuple[apsw.Connection, Appender]:
        """After a failure closed the connection, what it left behind is read like after a crash."""
        if self._appender is None:
            try:
                self.open()
            except CannotServeError as error:
                raise StorageError from error
        if self._database is None or self._appender is None:
            raise AssertionError("open() sets both or raises")
        return self._database, self._appender

    def _appending(self, work: Callable[[Appender], _T]) -> _T:
        """One transaction of the appender, which rolls back by itself."""
        _, appender = self._opened()
        try:
            return work(appender)
        except (apsw.Error, OSError) as error:
            self.close()
            raise StorageError from error
        except ChaukasError:
            raise
        except BaseException:
            # Nobody knows what memory holds now: it is read again, like after a crash.
            self.close()
            raise

    def _changing(self, work: Callable[[apsw.Connection], None]) -> None:
        """One transaction that memory knows nothing of."""
        database, _ = self._opened()
        try:
            database.execute("BEGIN IMMEDIATE")
            work(database)
            database.execute("COMMIT")
        except apsw.Error as error:
            self.close()
            raise StorageError from error
        except BaseException:
            database.execute("ROLLBACK")
            raise
