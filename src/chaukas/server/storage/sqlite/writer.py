"""Where the record is written: in a thread of the server, or in a process of its own (`writer_process`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from chaukas.server.errors import StorageError
from chaukas.server.storage.contract import EventRecord, Outcome, QuarantineItem
from chaukas.server.storage.log_contract import OtherEntry, TreeGrowth
from chaukas.server.storage.sqlite.record_writer import RecordWriter

__all__ = ["ThreadWriter", "Writer"]

_T = TypeVar("_T")


class Writer(Protocol):
    """`RecordWriter` for the event loop: its methods, one at a time and in the order of the calls.

    All of them raise `StorageError` when nothing was stored, or nobody knows; the same call may be made again.
    """

    async def open(self) -> None:
        """See `RecordWriter.open`. Raises `CannotServeError`."""
        ...

    async def close(self) -> None:
        """Finish what was asked for, and close the record. Idempotent."""
        ...

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """See `EventAppender.append`."""
        ...

    async def append_others(self, log_id: int, entries: Sequence[OtherEntry]) -> int:
        """See `LogWriter.append_others`."""
        ...

    async def log_quarantined(self, items_max: int) -> int:
        """See `LogWriter.log_quarantined`."""
        ...

    async def grow_trees(self, growths: Sequence[TreeGrowth]) -> None:
        """See `LogWriter.grow_trees`."""
        ...

    async def cosign_head(self, log_id: int, size: int, note: bytes) -> None:
        """See `LogWriter.cosign_head`."""
        ...

    async def remove_quarantined(self, quarantine_id: str) -> bool:
        """See `QuarantineStore.quarantine_remove`."""
        ...


class ThreadWriter:
    """One thread of this process."""

    def __init__(self, record: RecordWriter) -> None:
        self._record = record
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """See `Writer.open`."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chaukas-writer")
        await self._run(self._record.open)

    async def close(self) -> None:
        """See `Writer.close`."""
        # Taken away first, so that what is asked from now on is refused and not lost in a thread that ends.
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._record.close)
            await asyncio.to_thread(thread.shutdown)

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """See `EventAppender.append`."""
        return await self._run(lambda: self._record.append(items))

    async def append_others(self, log_id: int, entries: Sequence[OtherEntry]) -> int:
        """See `LogWriter.append_others`."""
        return await self._run(lambda: self._record.append_others(log_id, entries))

    async def log_quarantined(self, items_max: int) -> int:
        """See `LogWriter.log_quarantined`."""
        return await self._run(lambda: self._record.log_quarantined(items_max))

    async def grow_trees(self, growths: Sequence[TreeGrowth]) -> None:
        """See `LogWriter.grow_trees`."""
        await self._run(lambda: self._record.grow_trees(growths))

    async def cosign_head(self, log_id: int, size: int, note: bytes) -> None:
        """See `LogWriter.cosign_head`."""
        await self._run(lambda: self._record.cosign_head(log_id, size, note))

    async def remove_quarantined(self, quarantine_id: str) -> bool:
        """See `QuarantineStore.quarantine_remove`."""
        return await self._run(lambda: self._record.remove_quarantined(quarantine_id))

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._thread is None:
            raise StorageError("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
