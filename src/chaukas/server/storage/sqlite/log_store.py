"""The transparency log's side of the SQLite driver; implements `storage.log_contract.LogStore` through the store's threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import apsw

from chaukas.server.storage.log_contract import EntryRecord, LogInfo, OtherEntry, SignedHead, TileName, TreeGrowth
from chaukas.server.storage.sqlite.appender import Appender
from chaukas.server.storage.sqlite.tree import TreeReader, cosign_head, grow_tree

__all__ = ["SqliteLogStore"]

_T = TypeVar("_T")


class _Reading(Protocol):
    def __call__(self, work: Callable[[TreeReader], _T], /) -> Awaitable[_T]: ...


class _Writing(Protocol):
    def __call__(self, work: Callable[[apsw.Connection], _T], /) -> Awaitable[_T]: ...


class _Appending(Protocol):
    def __call__(self, work: Callable[[Appender], _T], /) -> Awaitable[_T]: ...


class SqliteLogStore:
    """`read` runs work in a reader thread, `write` in the writer's within one transaction, `append` there with the appender."""

    def __init__(
        self,
        read: _Reading,
        write: _Writing,
        append: _Appending,
    ) -> None:
        self._read = read
        self._write = write
        self._append = append

    async def logs(self, tenant_id: str | None, project_id: str | None) -> list[LogInfo]:
        """See `LogReader.logs`."""
        return await self._read(lambda reader: reader.logs(tenant_id, project_id))

    async def log(self, log_id: int) -> LogInfo | None:
        """See `LogReader.log`."""
        return await self._read(lambda reader: reader.log(log_id))

    async def grown_logs(self) -> list[LogInfo]:
        """See `LogReader.grown_logs`."""
        return await self._read(lambda reader: reader.grown_logs())

    async def entries(self, log_id: int, start: int, end: int) -> list[bytes]:
        """See `LogReader.entries`."""
        return await self._read(lambda reader: reader.entries(log_id, start, end))

    async def tiles(self, log_id: int, names: Sequence[TileName]) -> list[bytes]:
        """See `LogReader.tiles`."""
        return await self._read(lambda reader: reader.tiles(log_id, names))

    async def head(self, log_id: int, size: int | None = None) -> SignedHead | None:
        """See `LogReader.head`."""
        return await self._read(lambda reader: reader.head(log_id, size))

    async def covering_head(self, log_id: int, index: int) -> SignedHead | None:
        """See `LogReader.covering_head`."""
        return await self._read(lambda reader: reader.covering_head(log_id, index))

    async def entry_record(self, log_id: int, index: int) -> EntryRecord | None:
        """See `LogReader.entry_record`."""
        return await self._read(lambda reader: reader.entry_record(log_id, index))

    async def find_event(self, tenant_id: str | None, project_id: str | None, event_id: str) -> list[tuple[LogInfo, int]]:
        """See `LogReader.find_event`."""
        return await self._read(lambda reader: reader.find_event(tenant_id, project_id, event_id))

    async def grow_trees(self, growths: Sequence[TreeGrowth]) -> None:
        """See `LogWriter.grow_trees`."""

        def grow(database: apsw.Connection) -> None:
            for growth in growths:
                grow_tree(database, growth)

        await self._write(grow)

    async def cosign_head(self, log_id: int, size: int, note: bytes) -> None:
        """See `LogWriter.cosign_head`."""
        await self._write(lambda database: cosign_head(database, log_id, size, note))

    async def append_others(self, log_id: int, entries: Sequence[OtherEntry]) -> int:
        """See `LogWriter.append_others`."""
        return await self._append(lambda appender: appender.append_others(log_id, entries))

    async def log_quarantined(self, items_max: int) -> int:
        """See `LogWriter.log_quarantined`."""
        return await self._append(lambda appender: appender.log_quarantined(items_max))
