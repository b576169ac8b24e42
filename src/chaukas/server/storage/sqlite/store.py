"""The SQLite driver: one writer thread, a few reader threads, one directory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import apsw

from chaukas.server.errors import CannotServeError, ChaukasError, StorageError
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
from chaukas.server.storage.sqlite.appender import Appender
from chaukas.server.storage.sqlite.arrivals import ArrivalQueries
from chaukas.server.storage.sqlite.connection import connect, fetch
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.lock import DirectoryLock
from chaukas.server.storage.sqlite.log_store import SqliteLogStore
from chaukas.server.storage.sqlite.logs import Logs
from chaukas.server.storage.sqlite.postings import Postings
from chaukas.server.storage.sqlite.quarantine import Quarantine, read_row, read_rows
from chaukas.server.storage.sqlite.reader import EventQueries
from chaukas.server.storage.sqlite.schema import migrate, read_meta
from chaukas.server.storage.sqlite.session_list import SessionList
from chaukas.server.storage.sqlite.statistics import Statistics
from chaukas.server.storage.sqlite.text_index.feed import RecordFeed
from chaukas.server.storage.sqlite.text_index.file import TextIndexUnusable, remove_text_index
from chaukas.server.storage.sqlite.text_index.keeper import TextIndexKeeper, TextIndexSettings
from chaukas.server.storage.sqlite.text_index.reader import TextIndexReader
from chaukas.server.storage.sqlite.tree import TreeReader

__all__ = ["SqliteStore"]

_T = TypeVar("_T")
_READERS = 2
_WRITER_CACHE_KIB = 32 * 1024
_READER_CACHE_KIB = 8 * 1024

_SQL_INFO = (
    "SELECT (SELECT count(*) FROM logs), (SELECT coalesce(sum(next_index - other_entries), 0) FROM logs),"
    " (SELECT coalesce(sum(sessions), 0) FROM logs), (SELECT count(*) FROM quarantine),"
    " (SELECT coalesce(sum(size_bytes), 0) FROM quarantine)"
)


class _Reader:
    """What one reader thread owns."""

    def __init__(
        self, directory: Path, keys: IdKeys, postings: Postings, vfs: str | None, on_damaged_texts: Callable[[], None]
    ) -> None:
        self.database = connect(directory, writer=False, cache_kib=_READER_CACHE_KIB, vfs=vfs)
        self.texts = TextIndexReader(directory)
        self.queries = EventQueries(self.database, keys, postings, self.texts, on_damaged_texts)
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
        vfs: str | None = None,
    ) -> None:
        """Nothing is opened yet. Without `text_index` the index of words is read if there is one, and not kept up."""
        self._directory = Path(data_dir)
        self._vfs = vfs
        self._server_name = server_name
        self._quarantine = Quarantine(quarantine_items_max, quarantine_bytes_max)
        self._lock = DirectoryLock(self._directory)
        self._writer: ThreadPoolExecutor | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._of_thread = threading.local()
        self._opened: list[_Reader] = []
        self._database: apsw.Connection | None = None
        self._appender: Appender | None = None
        self._keys: IdKeys | None = None
        self._postings = Postings()
        self._text_index = text_index
        self._texts: TextIndexKeeper | None = None
        self._closing = asyncio.Lock()
        self.log_store = SqliteLogStore(
            lambda work: self._read(lambda reader: work(reader.tree)),
            lambda work: self._write(lambda: self._change(work)),
            lambda work: self._write(lambda: self._append_with(work)),
        )

    async def open(self) -> None:
        """Lock the directory, migrate, recover. Raises `CannotServeError`."""
        self._lock.acquire()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="chaukas-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="chaukas-reader")
        try:
            await self._write(self._open)
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

    def _open(self) -> None:
        """In the writer thread; also after a failed transaction left the connection in doubt."""
        try:
            self._recover()
        except (apsw.Error, TypeError, ValueError) as error:
            # In a damaged file values are missing where the tables promise them.
            self._abandon()
            raise CannotServeError(f"the data directory {self._directory} cannot be opened: {error}") from error
        except BaseException:
            self._abandon()
            raise

    def _recover(self) -> None:
        """Connect, check that the record is ours to write, and read what memory holds of it."""
        database = self._database = connect(self._directory, writer=True, cache_kib=_WRITER_CACHE_KIB, vfs=self._vfs)
        if database.readonly("main"):
            raise CannotServeError(f"the data directory {self._directory} cannot be written: its database is read-only")
        migrate(database, self._server_name)
        secret = read_meta(database, "key_secret")
        if not isinstance(secret, bytes):
            raise CannotServeError("the data directory has lost its key secret; the record cannot be searched")
        self._keys = IdKeys(secret)
        self._appender = Appender(database, Logs(self._server_name), self._keys, self._postings, self._quarantine)
        self._appender.recover()

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
            writer, self._writer = self._writer, None
            if readers is not None:
                await asyncio.to_thread(readers.shutdown)
            texts, self._texts = self._texts, None
            if texts is not None:
                await asyncio.to_thread(texts.stop)
            for reader in self._opened:
                reader.close()
            self._opened.clear()
            self._of_thread = threading.local()
            if writer is not None:
                await asyncio.get_running_loop().run_in_executor(writer, self._abandon)
                await asyncio.to_thread(writer.shutdown)
            self._lock.release()

    def _abandon(self) -> None:
        """Close the writer's connection: at the end, and after a failure, when only reading again tells what is on the disk."""
        if self._database is not None:
            _close(self._database)
        self._database = None
        self._appender = None

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """See `EventAppender.append`."""
        if not items:
            return []
        texts = self._texts
        if texts is not None:
            await texts.room()
        outcomes = await self._write(lambda: self._append(items))
        if texts is not None:
            texts.stored(sum(outcome.status is IngestStatus.ACCEPTED for outcome in outcomes))
        return outcomes

    def _append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        return self._append_with(lambda appender: appender.append(items))

    def _append_with(self, work: Callable[[Appender], _T]) -> _T:
        self._reopen()
        assert self._appender is not None  # noqa: S101  _reopen sets it or raises
        try:
            return work(self._appender)
        except (apsw.Error, OSError) as error:
            self._abandon()
            raise StorageError from error
        except ChaukasError:
            raise
        except BaseException:
            # Nobody knows what memory holds now: it is read again, like after a crash.
            self._abandon()
            raise

    def _reopen(self) -> None:
        """After a failure closed the connection: what it left behind is read like after a crash."""
        if self._appender is None:
            try:
                self._open()
            except CannotServeError as error:
                raise StorageError from error

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
        return await self._write(lambda: self._remove(quarantine_id))

    def _change(self, work: Callable[[apsw.Connection], _T]) -> _T:
        """One transaction that memory knows nothing of."""
        self._reopen()
        assert self._database is not None  # noqa: S101  _reopen sets it or raises
        try:
            self._database.execute("BEGIN IMMEDIATE")
            changed = work(self._database)
            self._database.execute("COMMIT")
        except apsw.Error as error:
            self._abandon()
            raise StorageError from error
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        return changed

    def _remove(self, quarantine_id: str) -> bool:
        self._reopen()
        assert self._database is not None  # noqa: S101  _reopen sets it or raises
        try:
            return self._quarantine.remove(self._database, quarantine_id)
        except apsw.Error as error:
            self._abandon()
            raise StorageError from error

    async def info(self) -> StoreInfo:
        """See `Store.info`."""
        ((logs, events, sessions, items, size),) = await self._read(lambda reader: fetch(reader.database, _SQL_INFO))
        texts = self._texts
        lag, restarts = (0, 0) if texts is None else (texts.lag_events, texts.restarts)
        return StoreInfo("sqlite", logs, events, sessions, items, size, lag, restarts)

    async def _write(self, work: Callable[[], _T]) -> _T:
        if self._writer is None:
            raise StorageError("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def _read(self, work: Callable[[_Reader], _T]) -> _T:
        if self._readers is None:
            raise StorageError("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_in_thread, work)

    def _read_in_thread(self, work: Callable[[_Reader], _T]) -> _T:
        try:
            reader: _Reader | None = getattr(self._of_thread, "reader", None)
            if reader is None:
                assert self._keys is not None  # noqa: S101  open() came first
                reader = self._of_thread.reader = _Reader(
                    self._directory, self._keys, self._postings, self._vfs, self._renew_texts
                )
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
