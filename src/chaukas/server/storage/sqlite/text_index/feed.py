"""What the text index is fed with: the stored events of the record, in the order of their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import zstandard

from chaukas.server.storage.entry import KIND_EVENT
from chaukas.server.storage.sqlite.connection import connect, fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS, decode_bodies

__all__ = ["RecordFeed", "Stretch"]

_INDEX_MASK = (1 << INDEX_BITS) - 1
_CACHE_KIB = 4 * 1024
#: Rows that one statement reads; the statement ends before they are used, so that it holds back no checkpoint of the record.
_SEGMENTS_AT_ONCE = 32

_SQL_HEADS = "SELECT log_no, next_index FROM logs"
#: The fifth byte of the entries is the kind of the first one, which all of a segment share (`Segment.kind`).
_SQL_SEGMENTS = (
    "SELECT place, events, substr(entries, 5, 1), bodies FROM segments WHERE place > ? AND place < ? ORDER BY place LIMIT ?"
)
#: The segment that holds a place, which may begin before it.
_SQL_SEGMENT_OF = "SELECT place FROM segments WHERE place <= ? ORDER BY place DESC LIMIT 1"
#: The hash of the entry in front of a place: of the segment that begins there, or of the whole log.
_SQL_LEAF_BEFORE = "SELECT leaf_before FROM segments WHERE place = ?"
_SQL_LAST_LEAF = "SELECT last_leaf FROM logs WHERE log_no = ? AND next_index = ?"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive stored events of one log; empty bytes stand for an entry that is no event."""

    log_no: int
    first_index: int
    bodies: list[bytes]


class RecordFeed:
    """Reads the record of a directory beside its writer; one per thread."""

    def __init__(self, directory: Path, *, vfs: str | None = None) -> None:
        """Raises `apsw.Error` when there is no record to read."""
        self._database = connect(directory, writer=False, cache_kib=_CACHE_KIB, vfs=vfs)
        self._decompressor = zstandard.ZstdDecompressor()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def version(self) -> int:
        """A number that changes with every commit of another connection; asking costs next to nothing."""
        return int(self._database.pragma("data_version"))

    def heads(self) -> dict[int, int]:
        """The next index of every log."""
        return dict(fetch(self._database, _SQL_HEADS))

    def mark(self, log_no: int, index: int) -> bytes | None:
        """The leaf hash of the entry before an index at which a segment begins or the log ends; None where neither does.

        An entry holds commitments with random salts: two records that went different ways, an older copy that was put back for
        instance, do not agree in it.
        """
        for sql, bindings in ((_SQL_LEAF_BEFORE, (log_no << INDEX_BITS | index,)), (_SQL_LAST_LEAF, (log_no, index))):
            for (leaf,) in fetch(self._database, sql, bindings):
                return bytes(leaf)
        return None

    def stretches(self, log_no: int, first_index: int, end_index: int) -> Iterator[Stretch]:
        """The events from `first_index` on, segment by segment, the last one whole.

        Raises `StorageError` where a segment is damaged.
        """
        start, end = log_no << INDEX_BITS | first_index, log_no << INDEX_BITS | end_index
        for (place,) in fetch(self._database, _SQL_SEGMENT_OF, (start,)):
            start = max(place, log_no << INDEX_BITS)
        at = start - 1
        while True:
            rows = fetch(self._database, _SQL_SEGMENTS, (at, end, _SEGMENTS_AT_ONCE))
            if not rows:
                return
            for place, events, kind, zipped in rows:
                index = place & _INDEX_MASK
                is_event = kind == bytes([KIND_EVENT])
                bodies = list(decode_bodies(self._decompressor, place, events, zipped)) if is_event else [b""] * events
                skipped = max(0, first_index - index)
                yield Stretch(log_no, index + skipped, bodies[skipped:])
            at = rows[-1][0]


def damaged(error: apsw.Error) -> bool:
    """Whether an error of SQLite means that the file itself cannot be read as a database."""
    return isinstance(error, apsw.CorruptError | apsw.NotADBError)
