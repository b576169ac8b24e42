"""Blocks: 1,024 consecutive events of a log, with a summary that lets a scan skip and columns that let it decide.

While a block is open its columns stand as one slice per commit in `tail`; the commit that fills it merges them into one row
of `block_columns` and deletes the slices. Summaries (time range, masks of types, statuses, severities) never say no wrongly.
"""

from __future__ import annotations

from collections import OrderedDict

import apsw
import zstandard

from chaukas.server.errors import StorageError
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK, ColumnSlice, SliceBuilder, mask_of
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS

__all__ = ["BLOCK_BITS", "BlockReader", "write_slice"]

#: `place` of a block is log_no << BLOCK_BITS | block number.
BLOCK_BITS = 30

_SQL_TAIL_ADD = "INSERT INTO tail VALUES (?, ?)"
_SQL_TAIL_OF = "SELECT columns FROM tail WHERE place >= ? AND place < ? ORDER BY place"
_SQL_TAIL_DONE = "DELETE FROM tail WHERE place >= ? AND place < ?"
_SQL_SEAL = "INSERT INTO block_columns VALUES (?, ?)"
_SQL_SEALED = "SELECT columns FROM block_columns WHERE place = ?"
_SQL_SUMMARY = (
    "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events,"
    " min_us = min(min_us, excluded.min_us), max_us = max(max_us, excluded.max_us), types = types | excluded.types,"
    " statuses = statuses | excluded.statuses, severities = severities | excluded.severities"
)


def write_slice(
    database: apsw.Connection, compressor: zstandard.ZstdCompressor, log_no: int, first_index: int, columns: SliceBuilder
) -> None:
    """Add one commit's events of one block: its slice, its summary, and the seal when it fills the block."""
    block_no = first_index // EVENTS_PER_BLOCK
    events = len(columns.us)
    summary = (
        log_no << BLOCK_BITS | block_no, events, min(columns.us), max(columns.us),
        mask_of(set(columns.type)), mask_of(set(columns.status)), mask_of(set(columns.severity)),
    )  # fmt: skip
    database.execute(_SQL_SUMMARY, summary)
    if (first_index + events) % EVENTS_PER_BLOCK:
        database.execute(_SQL_TAIL_ADD, (log_no << INDEX_BITS | first_index, columns.encode()))
        return
    start, end = _tail_range(log_no, block_no)
    whole = SliceBuilder()
    for (blob,) in fetch(database, _SQL_TAIL_OF, (start, end)):
        whole.extend(ColumnSlice(blob, zstandard.ZstdDecompressor()))
    if whole.us:
        whole.extend(ColumnSlice(columns.encode(), zstandard.ZstdDecompressor()))
        database.execute(_SQL_TAIL_DONE, (start, end))
    else:
        whole = columns
    database.execute(_SQL_SEAL, (summary[0], whole.encode(compressor)))


def _tail_range(log_no: int, block_no: int) -> tuple[int, int]:
    start = log_no << INDEX_BITS | block_no * EVENTS_PER_BLOCK
    return start, start + EVENTS_PER_BLOCK


class BlockReader:
    """Reads the columns of a block; sealed ones through a cache bounded in bytes. One per thread."""

    def __init__(self, cache_bytes_max: int = 8 * 1024 * 1024) -> None:
        self._decompressor = zstandard.ZstdDecompressor()
        self._cache: OrderedDict[int, ColumnSlice] = OrderedDict()
        self._cache_bytes_max = cache_bytes_max
        self._cache_bytes = 0

    def forget(self) -> None:
        """Drop the cache; the writer does so after a failed transaction."""
        self._cache.clear()
        self._cache_bytes = 0

    def columns_of(self, database: apsw.Connection, log_no: int, block_no: int) -> list[ColumnSlice]:
        """The slices of a block, in order; a block that does not exist (yet) has none."""
        place = log_no << BLOCK_BITS | block_no
        cached = self._cache.get(place)
        if cached is not None:
            self._cache.move_to_end(place)
            return [cached]
        try:
            for (blob,) in fetch(database, _SQL_SEALED, (place,)):
                columns = ColumnSlice(blob, self._decompressor)
                self._remember(place, columns)
                return [columns]
            rows = fetch(database, _SQL_TAIL_OF, _tail_range(log_no, block_no))
            return [ColumnSlice(blob, self._decompressor) for (blob,) in rows]
        except (ValueError, zstandard.ZstdError) as error:
            raise StorageError(f"the index of block {block_no} is damaged") from error

    def _remember(self, place: int, columns: ColumnSlice) -> None:
        self._cache[place] = columns
        # Arrays and dictionaries that are decoded later weigh about as much again.
        self._cache_bytes += 3 * columns.size_bytes
        while self._cache_bytes > self._cache_bytes_max and len(self._cache) > 1:
            self._cache_bytes -= 3 * self._cache.popitem(last=False)[1].size_bytes
