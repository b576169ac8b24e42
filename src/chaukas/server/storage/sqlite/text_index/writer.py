"""Writing the text index: texts wait in memory until a commit adds them with the position behind them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

import apsw

from chaukas.server.errors import StorageError
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS
from chaukas.server.storage.sqlite.text_index.file import (
    DAMAGE,
    FOREIGN,
    TEXT_INDEX_NAME,
    TextIndexUnusable,
    create_tables,
    is_current,
    open_index,
    remove_text_index,
)
from chaukas.server.storage.sqlite.text_index.indexed_text import indexed_text

__all__ = ["TextIndexWriter"]

_CACHE_KIB: Final = 16 * 1024
#: Texts that wait for the commit before they are handed to SQLite.
_WAITING_CHARS_MAX: Final = 16 * 1024 * 1024
#: A write-ahead log that is longer is moved into the file and cut off when there is nothing else to do.
_LOG_BYTES_SETTLED: Final = 4 * 1024 * 1024

#: The file gives back its free pages when more than one in so many is free.
_FREE_SHARE_MAX: Final = 16

_SQL_ADD = "INSERT INTO words(rowid, text) VALUES (?, ?)"
_SQL_INDEXED = "SELECT log_no, next_index, mark FROM indexed"
_SQL_POSITION = "INSERT OR REPLACE INTO indexed VALUES (?, ?, ?)"


class TextIndexWriter:
    """The one writer of a directory's index; nothing of it may be used after an exception but `close` and `drop`.

    Each method raises `TextIndexUnusable` when the file cannot be written. If it is `damaged` the file has been removed: a new
    writer begins anew.
    """

    def __init__(self, directory: Path) -> None:
        """Open the index or begin one; a file that is none of ours is removed first."""
        self._directory = directory
        #: log_no -> (index behind the last event that was added, mark of the record there).
        self._positions: dict[int, tuple[int, bytes]] = {}
        self._moved: set[int] = set()
        self._waiting: list[tuple[int, str]] = []
        self._waiting_chars = 0
        self._database: apsw.Connection | None = None
        #: Changes when somebody else writes.
        self._version = 0
        self._open()

    def indexed(self) -> dict[int, int]:
        """For each log the index behind the last event that was added, committed or not."""
        return {log_no: index for log_no, (index, _) in self._positions.items()}

    def marks(self) -> dict[int, tuple[int, bytes]]:
        """For each log its position and the mark that was set there; empty bytes where none was."""
        return dict(self._positions)

    def add(self, log_no: int, first_index: int, bodies: Sequence[bytes]) -> None:
        """Add consecutive stored events of a log. Those that are indexed already are passed over; a gap is a `ValueError`.

        An event that cannot be read has no texts: the index is not what checks the record, and must not stop at it.
        """
        position = self._positions.get(log_no, (0, b""))[0]
        if first_index > position:
            raise ValueError(f"log {log_no} is indexed up to {position}; events from {first_index} on leave a gap")
        end = first_index + len(bodies)
        if end <= position:
            return
        waiting, chars = self._waiting, 0
        for place, body in enumerate(bodies[position - first_index :], log_no << INDEX_BITS | position):
            try:
                text = indexed_text(body)
            except StorageError:
                continue
            chars += len(text)
            waiting.append((place, text))
        self._positions[log_no] = (end, b"")
        self._moved.add(log_no)
        self._waiting_chars += chars
        if self._waiting_chars >= _WAITING_CHARS_MAX:
            with self._guarded() as database:
                self._hand_over(database)

    def set_mark(self, log_no: int, mark: bytes) -> None:
        """Say what the record has at the log's position, to tell later whether it is still the same record."""
        index, known = self._positions.get(log_no, (0, b""))
        if mark != known:
            self._positions[log_no] = (index, mark)
            self._moved.add(log_no)

    def commit(self) -> None:
        """Make everything added so far, and the positions behind it, visible to readers.

        A crash of the process loses nothing of it, one of the machine perhaps the newest commits, each of them whole.
        """
        if not self._moved:
            return
        with self._guarded() as database:
            self._hand_over(database)
            rows = [(log_no, *self._positions[log_no]) for log_no in sorted(self._moved)]
            database.executemany(_SQL_POSITION, rows)
            database.execute("COMMIT")
            self._moved.clear()
            free, pages = database.pragma("freelist_count"), database.pragma("page_count")
            if free > pages // _FREE_SHARE_MAX:
                # Each page moved is written twice; merging frees a few hundred in a hundred thousand events.
                database.pragma("incremental_vacuum", free)

    def settle(self) -> None:
        """Give back the room of a long write-ahead log, when no reader is in the way; for when there is nothing else to do."""
        log = self._directory / f"{TEXT_INDEX_NAME}-wal"
        if not log.exists() or log.stat().st_size <= _LOG_BYTES_SETTLED:
            return
        with self._guarded() as database:
            database.set_busy_timeout(0)
            try:
                with contextlib.suppress(apsw.BusyError, apsw.LockedError):
                    database.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            finally:
                database.set_busy_timeout(10_000)

    def drop(self) -> None:
        """Remove the index and begin an empty one."""
        self._remove()
        self._open()

    def close(self) -> None:
        """Close the file; what was not committed is forgotten."""
        if self._database is not None:
            database, self._database = self._database, None
            with contextlib.suppress(apsw.Error):
                database.close()

    def _open(self) -> None:
        try:
            try:
                self._open_existing()
            except FOREIGN:
                self._remove()
            if self._database is None:
                # A crash may have left the write-ahead log of a file that is gone.
                remove_text_index(self._directory)
                self._database = open_index(self._directory, writer=True, cache_kib=_CACHE_KIB)
                create_tables(self._database)
            self._version = self._database.pragma("data_version")
        except apsw.Error as error:
            self.close()
            raise TextIndexUnusable(f"the text index cannot be opened: {error}") from error

    def _open_existing(self) -> None:
        path = self._directory / TEXT_INDEX_NAME
        if path.exists() and path.stat().st_size:
            self._database = open_index(self._directory, writer=True, cache_kib=_CACHE_KIB)
            if is_current(self._database):
                self._positions = {log_no: (index, mark) for log_no, index, mark in fetch(self._database, _SQL_INDEXED)}
            else:
                self._remove()

    def _remove(self) -> None:
        self.close()
        self._positions, self._moved = {}, set()
        self._waiting, self._waiting_chars = [], 0
        remove_text_index(self._directory)

    def _hand_over(self, database: apsw.Connection) -> None:
        """Give what waits to SQLite, in the order of places: FTS5 flushes its memory whenever a row's number falls."""
        if not database.in_transaction:
            database.execute("BEGIN IMMEDIATE")
            if database.pragma("data_version") != self._version:
                # Rows that two followers add are there twice, so the later one stops; its rows are rolled back.
                self.close()
                raise TextIndexUnusable("another process writes the text index")
        waiting, self._waiting, self._waiting_chars = self._waiting, [], 0
        waiting.sort(key=itemgetter(0))
        database.executemany(_SQL_ADD, waiting)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[apsw.Connection]:
        """The connection, with SQLite's exceptions translated and a damaged file removed."""
        if self._database is None:
            raise TextIndexUnusable("the text index is closed")
        try:
            yield self._database
        except DAMAGE as error:
            self._remove()
            raise TextIndexUnusable("the text index was damaged and has been removed", damaged=True) from error
        except apsw.Error as error:
            # Closing rolls the transaction back, which a full disk may prevent otherwise.
            self.close()
            raise TextIndexUnusable(f"the text index cannot be written: {error}") from error
