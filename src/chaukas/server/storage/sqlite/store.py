"""The SQLite driver: one writer (a thread or a process), a few reader threads, one directory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from chaukas.server.errors import CannotServeError, StorageError
from chaukas.server.storage.contract import (
    ArrivalPoint,
    Arrivals,
    EventFilter,
    EventRecord,
    EventStats,
    IngestStatus,
    Outcome,
    Page,
    PageRequest,
    QuarantineItem,
    QuarantineRow,
    SessionPlace,
    SessionRow,
    StoredEvent,
    StoreInfo,
)
from chaukas.server.storage.sqlite.arrivals import ArrivalQueries
from chaukas.server.storage.sqlite.connection import connect, fetch
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.lock import DirectoryLock
from chaukas.server.storage.sqlite.log_store import SqliteLogStore
from chaukas.server.storage.sqlite.pending import PendingPostings
from chaukas.server.storage.sqlite.postings import Postings
from chaukas.server.storage.sqlite.quarantine import read_row, read_rows
from chaukas.server.storage.sqlite.reader import EventQueries
from chaukas.server.storage.sqlite.record_writer import RecordWriter
from chaukas.server.storage.sqlite.schema import key_secret
from chaukas.server.storage.sqlite.session_list import SessionList
from chaukas.server.storage.sqlite.statistics import Statistics
from chaukas.server.storage.sqlite.text_index.feed import RecordFeed
from chaukas.server.storage.sqlite.text_index.file import TextIndexUnusable, remove_text_index
from chaukas.server.storage.sqlite.text_index.keeper import TextIndexKeeper, TextIndexSettings
from chaukas.server.storage.sqlite.text_index.reader import TextIndexReader
from chaukas.server.storage.sqlite.tree import TreeReader
from chaukas.server.storage.sqlite.writer import ThreadWriter, Writer
from chaukas.server.storage.sqlite.writer_process import ProcessWriter, WriterProcessSettings

__all__ = ["SqliteStore"]

_T = TypeVar("_T")
_READERS = 2
_READER_CACHE_KIB = 8 * 1024

_SQL_INFO = (
    "SELECT (SELECT count(*) FROM logs), (SELECT coalesce(sum(next_index - other_entries), 0) FROM logs),"
    " (SELECT coalesce(sum(sessions), 0) FROM logs), (SELECT count(*) FROM quarantine),"
    " (SELECT coalesce(sum(size_bytes), 0) FROM quarantine)"
)


class _Reader:
    """What one reader thread owns."""

    def __init__(self, directory: Path, pending: PendingPostings, vfs: str | None, on_damaged_texts: Callable[[], None]) -> None:
        self.database = connect(directory, writer=False, cache_kib=_READER_CACHE_KIB, vfs=vfs)
        self.texts = TextIndexReader(directory)
        keys = IdKeys(key_secret(self.database))
        self.queries = EventQueries(self.database, keys, pending, self.texts, on_damaged_texts)
        self.arrivals = ArrivalQueries(self.database)
        self.tree = TreeReader(self.database, self.queries)
        self.statistics = Statistics(self.database)
        self.sessions = SessionList(self.database, self.queries)

    def close(self) -> None:
        """Close both files."""
        self.texts.close()
        _close(self.database)


class SqliteStore:
    """Implements `chaukas.server.storage.contract.Store` on `<data_dir>/record.db`."""

    def __init__(
        self,
        data_dir: Path,
        server_name: str = "chaukas.localhost",
        quarantine_items_max: int = 10_000,
        quarantine_bytes_max: int = 1024 * 1024 * 1024,
        *,
        text_index: TextIndexSettings | None = None,
        writer_process: WriterProcessSettings | None = None,
        vfs: str | None = None,
        postings: Postings | None = None,
    ) -> None:
        """Nothing is opened yet.

        Without `text_index` the index of words is read if there is one, and not kept up. With `writer_process` a process of its
        own writes the record, without it a thread does, through the SQLite VFS named `vfs` if there is one, and with `postings`
        that are merged in other steps than usual.
        """
        self._directory = Path(data_dir)
        self._vfs = vfs
        self._lock = DirectoryLock(self._directory)
        record = (self._directory, server_name, quarantine_items_max, quarantine_bytes_max)
        self._writer: Writer = (
            ThreadWriter(RecordWriter(*record, vfs=vfs, postings=postings))
            if writer_process is None
            else ProcessWriter(*record, writer_process, lock=self._lock)
        )
        self._readers: ThreadPoolExecutor | None = None
        self._of_thread = threading.local()
        self._opened: list[_Reader] = []
        self._pending = PendingPostings()
        self._text_index = text_index
        self._texts: TextIndexKeeper | None = None
        self._closing = asyncio.Lock()
        self.log_store = SqliteLogStore(lambda work: self._read(lambda reader: work(reader.tree)), self._writer)

    async def open(self) -> None:
        """Lock the directory, migrate, recover. Raises `CannotServeError`."""
        await asyncio.to_thread(self._lock.acquire)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="chaukas-reader")
        try:
            await self._writer.open()
            # One reader is connected from the start: the log and its index then stay, and a full disk stops no question.
            stored, indexed = await self._read(self._check_text_index)
            if self._text_index is not None:
                self._texts = TextIndexKeeper(self._directory, self._text_index, stored_events=stored, indexed_events=indexed)
        except StorageError as error:
            await self.close()
            raise CannotServeError(f"the data directory {self._directory} cannot be read") from error
        except BaseException:
            await self.close()
            raise

    def _check_text_index(self, reader: _Reader) -> tuple[int, int]:
        """Events in the record and in the index; an index that was made of another record is removed before anybody asks it."""
        feed = RecordFeed(self._directory, vfs=self._vfs)
        try:
            stored = sum(feed.heads().values())
            with reader.texts.snapshot() as index:
                marks = index.marks()
            if all(feed.mark(log_no, position) == mark for log_no, (position, mark) in marks.items()):
                return stored, sum(position for position, _ in marks.values())
        except TextIndexUnusable as error:
            if not error.damaged:
                return stored, 0
        finally:
            feed.close()
        reader.texts.close()
        remove_text_index(self._directory)
        if self._text_index is not None:
            self._text_index.on_problem("the text index is damaged, or of another state of the record; it is made anew")
        return stored, 0

    async def close(self) -> None:
        """Finish what runs, close the database, release the directory. Idempotent."""
        async with self._closing:
            # Taken away first, so that what is asked from now on is refused and not lost in a thread that ends.
            readers, self._readers = self._readers, None
            if readers is not None:
                await asyncio.to_thread(readers.shutdown)
            texts, self._texts = self._texts, None
            if texts is not None:
                await asyncio.to_thread(texts.stop)
            for reader in self._opened:
                reader.close()
            self._opened.clear()
            self._of_thread = threading.local()
            await self._writer.close()
            self._lock.release()

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """See `EventAppender.append`."""
        if not items:
            return []
        texts = self._texts
        if texts is not None:
            await texts.room()
        outcomes = await self._writer.append(items)
        if texts is not None:
            texts.stored(sum(outcome.status is IngestStatus.ACCEPTED for outcome in outcomes))
        return outcomes

    async def query(self, request: PageRequest) -> Page:
        """See `EventReader.query`."""
        return await self._read(lambda reader: reader.queries.query(request))

    async def count(self, filter: EventFilter) -> int:
        """See `EventReader.count`."""
        return await self._read(lambda reader: reader.queries.count(filter))

    async def arrivals(self, filter: EventFilter, after: Mapping[int, int] | None, limit: int, bytes_max: int) -> Arrivals:
        """See `ArrivalReader.arrivals`."""
        return await self._read(lambda reader: reader.arrivals.arrivals(filter, after, limit, bytes_max))

    async def arrivals_at(self, tenant_id: str | None, project_id: str | None, point: ArrivalPoint) -> dict[int, int]:
        """See `ArrivalReader.arrivals_at`."""
        return await self._read(lambda reader: reader.arrivals.arrivals_at(tenant_id, project_id, point))

    async def stats(self, tenant_id: str | None, project_id: str | None, start_ns: int | None, end_ns: int | None) -> EventStats:
        """See `StatsReader.stats`."""
        return await self._read(lambda reader: reader.statistics.stats(tenant_id, project_id, start_ns, end_ns))

    async def sessions(
        self,
        tenant_id: str | None,
        project_id: str | None,
        limit: int,
        after: SessionPlace | None = None,
        session_id: str | None = None,
    ) -> list[SessionRow]:
        """See `SessionReader.sessions`."""
        return await self._read(lambda reader: reader.sessions.sessions(tenant_id, project_id, limit, after, session_id))

    async def events_with_id(self, tenant_id: str | None, project_id: str | None, event_id: str) -> list[StoredEvent]:
        """See `SessionReader.events_with_id`."""
        return await self._read(lambda reader: reader.sessions.events_with_id(tenant_id, project_id, event_id))

    async def quarantine_list(
        self, tenant_id: str | None, project_id: str | None, limit: int, after: str | None = None
    ) -> list[QuarantineRow]:
        """See `QuarantineStore.quarantine_list`."""
        return await self._read(lambda reader: read_rows(reader.database, tenant_id, project_id, limit, after))

    async def quarantine_get(self, quarantine_id: str) -> QuarantineRow | None:
        """See `QuarantineStore.quarantine_get`."""
        return await self._read(lambda reader: read_row(reader.database, quarantine_id))

    async def quarantine_remove(self, quarantine_id: str) -> bool:
        """See `QuarantineStore.quarantine_remove`."""
        return await self._writer.remove_quarantined(quarantine_id)

    async def info(self) -> StoreInfo:
        """See `Store.info`."""
        ((logs, events, sessions, items, size),) = await self._read(lambda reader: fetch(reader.database, _SQL_INFO))
        texts = self._texts
        lag, restarts = (0, 0) if texts is None else (texts.lag_events, texts.restarts)
        return StoreInfo("sqlite", logs, events, sessions, items, size, lag, restarts)

    async def _read(self, work: Callable[[_Reader], _T]) -> _T:
        if self._readers is None:
            raise StorageError("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_in_thread, work)

    def _read_in_thread(self, work: Callable[[_Reader], _T]) -> _T:
        try:
            reader: _Reader | None = getattr(self._of_thread, "reader", None)
            if reader is None:
                reader = self._of_thread.reader = _Reader(self._directory, self._pending, self._vfs, self._renew_texts)
                self._opened.append(reader)
            return work(reader)
        except apsw.Error as error:
            self._forget_reader()
            raise StorageError("the event store could not be read") from error

    def _renew_texts(self) -> None:
        """In a reader thread, which has found the text index damaged."""
        texts = self._texts
        if texts is not None:
            texts.begin_anew()

    def _forget_reader(self) -> None:
        """A connection that failed may stand in the middle of a transaction: the thread's next question takes a new one."""
        reader: _Reader | None = getattr(self._of_thread, "reader", None)
        if reader is not None:
            self._of_thread.reader = None
            self._opened.remove(reader)
            reader.close()


def _close(database: apsw.Connection) -> None:
    """Close a connection; a failure is no loss, because what was acknowledged stands in the write-ahead log."""
    with contextlib.suppress(apsw.Error):
        database.close()
