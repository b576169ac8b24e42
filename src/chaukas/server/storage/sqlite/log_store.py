"""The transparency log's side of the SQLite driver; implements `storage.log_contract.LogStore` through the store's threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from chaukas.server.storage.log_contract import EntryRecord, LogInfo, LogSnapshot, OtherEntry, SignedHead, TreeGrowth
from chaukas.server.storage.sqlite.tree import TreeReader
from chaukas.server.storage.sqlite.writer import Writer

__all__ = ["SqliteLogStore"]

_T = TypeVar("_T")


class _Reading(Protocol):
    def __call__(self, work: Callable[[TreeReader], _T], /) -> Awaitable[_T]: ...


class SqliteLogStore:
    """`read` runs work in a reader thread; changes go through the store's writer."""

    def __init__(self, read: _Reading, writer: Writer) -> None:
        self._read = read
        self._writer = writer

    async def read(self, work: Callable[[LogSnapshot], _T]) -> _T:
        """See `LogReader.read`: one read transaction."""
        return await self._read(lambda reader: reader.read(work))

    async def logs(self, tenant_id: str | None, project_id: str | None) -> list[LogInfo]:
        """See `LogSnapshot.logs`."""
        return await self._read(lambda reader: reader.logs(tenant_id, project_id))

    async def log(self, log_id: int) -> LogInfo | None:
        """See `LogSnapshot.log`."""
        return await self._read(lambda reader: reader.log(log_id))

    async def grown_logs(self) -> list[LogInfo]:
        """See `LogSnapshot.grown_logs`."""
        return await self._read(lambda reader: reader.grown_logs())

    async def entries(self, log_id: int, start: int, end: int) -> list[bytes]:
        """See `LogSnapshot.entries`."""
        return await self._read(lambda reader: reader.entries(log_id, start, end))

    async def head(self, log_id: int, size: int | None = None) -> SignedHead | None:
        """See `LogSnapshot.head`."""
        return await self._read(lambda reader: reader.head(log_id, size))

    async def covering_head(self, log_id: int, index: int) -> SignedHead | None:
        """See `LogSnapshot.covering_head`."""
        return await self._read(lambda reader: reader.covering_head(log_id, index))

    async def entry_record(self, log_id: int, index: int) -> EntryRecord | None:
        """See `LogSnapshot.entry_record`."""
        return await self._read(lambda reader: reader.entry_record(log_id, index))

    async def grow_trees(self, growths: Sequence[TreeGrowth]) -> None:
        """See `LogWriter.grow_trees`."""
        await self._writer.grow_trees(growths)

    async def cosign_head(self, log_id: int, size: int, note: bytes) -> None:
        """See `LogWriter.cosign_head`."""
        await self._writer.cosign_head(log_id, size, note)

    async def append_others(self, log_id: int, entries: Sequence[OtherEntry]) -> int:
        """See `LogWriter.append_others`."""
        return await self._writer.append_others(log_id, entries)

    async def log_quarantined(self, items_max: int) -> int:
        """See `LogWriter.log_quarantined`."""
        return await self._writer.log_quarantined(items_max)
