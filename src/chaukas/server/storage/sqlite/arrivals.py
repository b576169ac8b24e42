"""What arrived behind a position: the events of all logs in scope, merged in the order of their arrival.

One look at the heads of the logs tells which of them grew. Their segments are then taken in the order (received_at_ns, log_id,
index): the rows of segments are small without their bodies, and a body is read only for an event whose columns match. Because
whole commits are passed in that order, the position of all logs at any moment is the same as a point in time.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import apsw
import zstandard

from chaukas.server.errors import NotFoundError, StorageError
from chaukas.server.storage.contract import ArrivalPoint, Arrivals, EventFilter, Position, StoredEvent
from chaukas.server.storage.sqlite.blocks import BlockReader
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK, ColumnSlice
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS, SegmentReader

__all__ = ["ArrivalQueries"]

#: Every log in scope with its head; the one look that a poll takes when nothing arrived.
_SQL_HEADS = (
    "SELECT log_no, log_id, origin, next_index, received_at_ns FROM logs"
    " WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR project_id = ?2)"
)
#: The same for one log, through the index.
_SQL_HEAD = "SELECT log_no, log_id, origin, next_index, received_at_ns FROM logs WHERE tenant_id = ?1 AND project_id = ?2"
#: Segments of a log from a place on; no body is touched.
_SQL_SEGMENTS = "SELECT place, events, received_at_ns FROM segments WHERE place >= ? AND place < ? ORDER BY place LIMIT ?"
#: The segment that holds a place.
_SQL_SEGMENT_AT = "SELECT place, events, received_at_ns FROM segments WHERE place <= ? ORDER BY place DESC LIMIT 1"
#: Slices of an open block, from the one that holds a place on.
_SQL_SLICES = (
    "SELECT place, columns FROM tail WHERE place < ?2"
    " AND place >= coalesce((SELECT max(place) FROM tail WHERE place <= ?1), ?1) ORDER BY place"
)
_SQL_SESSION = "SELECT session_no FROM sessions WHERE log_no = ? AND session_id = ?"
_INDEX_MASK: Final = (1 << INDEX_BITS) - 1
#: Rows of segments that one statement reads ahead.
_SEGMENTS_AHEAD: Final = 64
#: Segments that one call looks at before it lets others have the thread: a few milliseconds when nothing matches.
_SEGMENTS_PER_CALL: Final = 2_048
#: Bodies that one call reads for a filter that columns cannot decide.
_BODIES_PER_CALL: Final = 2_048
_CACHE_BYTES: Final = 2 * 1024 * 1024


class _Head(NamedTuple):
    """A row of `logs`; a tuple, because a poll makes one for each log in scope."""

    log_no: int
    log_id: int
    origin: str
    next_index: int
    received_at_ns: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Events of one segment that were not looked at: the indices `start` to `end`, received at one time."""

    received_at_ns: int
    start: int
    end: int


#: Index and client timestamp (microseconds, remaining nanoseconds) of an event whose columns match.
_Match = tuple[int, int, int]


class ArrivalQueries:
    """One thread's reader of arrivals."""

    def __init__(self, database: apsw.Connection) -> None:
        self._database = database
        self._blocks = BlockReader(_CACHE_BYTES)
        self._segments = SegmentReader(_CACHE_BYTES)
        self._decompressor = zstandard.ZstdDecompressor()

    def arrivals(self, wanted: EventFilter, after: Mapping[int, int] | None, limit: int, bytes_max: int) -> Arrivals:
        """See `ArrivalReader.arrivals`."""
        self._database.execute("BEGIN")
        try:
            heads = self._heads(wanted.tenant_id, wanted.project_id)
            if after is None:
                return _end_of(heads)
            grown = _grown(heads, after)
            if not grown:
                return Arrivals([], [], dict(after), None, more=False)
            return self._walk(grown, wanted, dict(after), limit, bytes_max)
        finally:
            self._database.execute("ROLLBACK")

    def arrivals_at(self, tenant_id: str | None, project_id: str | None, point: ArrivalPoint) -> dict[int, int]:
        """See `ArrivalReader.arrivals_at`."""
        self._database.execute("BEGIN")
        try:
            return {head.log_id: self._index_at(head, point) for head in self._heads(tenant_id, project_id)}
        finally:
            self._database.execute("ROLLBACK")

    def _heads(self, tenant_id: str | None, project_id: str | None) -> list[_Head]:
        sql = _SQL_HEAD if tenant_id is not None and project_id is not None else _SQL_HEADS
        return list(map(_Head._make, fetch(self._database, sql, (tenant_id, project_id))))

    def _walk(
        self, grown: list[tuple[_Head, int]], wanted: EventFilter, after: dict[int, int], limit: int, bytes_max: int
    ) -> Arrivals:
        """Take runs in the order of arrival until the answer is full or enough was looked at."""
        found = Arrivals([], [], after, None, more=True)
        rank, size, bodies = sum(after.values()), 0, 0
        waiting: list[tuple[int, int, int, _Run, _GrownLog]] = []
        for head, start in grown:
            _push(waiting, _GrownLog(self, head, start, wanted))
        for _ in range(_SEGMENTS_PER_CALL):
            if bodies >= _BODIES_PER_CALL:
                return found
            received_at_ns, log_id, start, run, log = heapq.heappop(waiting)
            for match in log.matches(run):
                event = self._stored_event(log.head, match)
                bodies += 1
                if wanted.text is not None and not wanted.text.matches(event.stored):
                    continue
                size += len(event.stored)
                index = event.position.index
                fits = not found.events or size <= bytes_max
                if fits:
                    found.events.append(event)
                    found.ranks.append(rank + index + 1 - start)
                    index += 1
                if not fits or len(found.events) == limit:
                    # What stands in front of `index` was looked at, the rest of the run was not.
                    if index > start:
                        after[log_id], found.point = index, ArrivalPoint(received_at_ns, log_id, index)
                    found.more = bool(index < run.end or waiting or log.next_run())
                    return found
            after[log_id], found.point = run.end, ArrivalPoint(received_at_ns, log_id, run.end)
            rank += run.end - start
            _push(waiting, log)
            if not waiting:
                found.more = False
                return found
        return found

    def runs_of(self, head: _Head, start: int) -> Iterator[_Run]:
        """The segments of a log from an index to its end, without what stands before the index."""
        first, end = head.log_no << INDEX_BITS, head.log_no << INDEX_BITS | head.next_index
        rows: Sequence[tuple[int, int, int]] = fetch(self._database, _SQL_SEGMENT_AT, (first | start,))
        at = start
        while at < head.next_index:
            for place, events, received_at_ns in rows:
                begins = place - first
                # A gap would make an event disappear without a word.
                if not begins <= at < begins + events:
                    raise StorageError(f"the record is damaged: no segment holds index {at} of {head.origin}")
                yield _Run(received_at_ns, at, begins + events)
                at = begins + events
            if at < head.next_index:
                rows = fetch(self._database, _SQL_SEGMENTS, (first | at, end, _SEGMENTS_AHEAD))
                if not rows:
                    raise StorageError(f"the record is damaged: no segment holds index {at} of {head.origin}")

    def session_no(self, log_no: int, session_id: str) -> int | None:
        """The number of a session in its log, 0 for "no session", None for one that does not exist."""
        if not session_id:
            return 0
        for (number,) in fetch(self._database, _SQL_SESSION, (log_no, session_id)):
            return int(number)
        return None

    def slices_from(self, head: _Head, index: int) -> list[tuple[int, ColumnSlice]]:
        """The columns from the one that holds `index` to the end of its block: (index of the first event, columns)."""
        block_no = index // EVENTS_PER_BLOCK
        if block_no < head.next_index // EVENTS_PER_BLOCK:
            columns = self._blocks.columns_of(self._database, head.log_no, block_no)
            return [(block_no * EVENTS_PER_BLOCK, each) for each in columns]
        first = head.log_no << INDEX_BITS
        try:
            rows = fetch(self._database, _SQL_SLICES, (first | index, first + (1 << INDEX_BITS)))
            return [(place & _INDEX_MASK, ColumnSlice(blob, self._decompressor)) for place, blob in rows]
        except (ValueError, zstandard.ZstdError) as error:
            raise StorageError(f"the index of block {block_no} is damaged") from error

    def _stored_event(self, head: _Head, match: _Match) -> StoredEvent:
        index, timestamp_us, timestamp_sub_ns = match
        segment = self._segments.segment_of(self._database, head.log_no, index)
        at = index - segment.first_index
        position = Position(timestamp_us, timestamp_sub_ns, head.log_id, index)
        return StoredEvent(position, head.origin, segment.bodies[at], segment.received_at_ns, segment.leaf_before_event(at))

    def _index_at(self, head: _Head, point: ArrivalPoint) -> int:
        """How many events of a log stand before a point: its segments are in the order of their time."""
        if head.log_id == point.log_id:
            return min(point.next_index, head.next_index)
        until_ns = point.received_at_ns if head.log_id < point.log_id else point.received_at_ns - 1
        if head.received_at_ns <= until_ns:
            return head.next_index
        first = head.log_no << INDEX_BITS
        low, high = 0, head.next_index
        # All events below `low` are early enough, and the one at `high` is not (or is the end).
        while low < high:
            ((place, events, received_at_ns),) = fetch(self._database, _SQL_SEGMENT_AT, (first | (low + high) // 2,))
            if received_at_ns <= until_ns:
                low = place - first + events
            else:
                high = place - first
        return low


class _GrownLog:
    """A log on the way through its new segments."""

    def __init__(self, queries: ArrivalQueries, head: _Head, start: int, wanted: EventFilter) -> None:
        self.head = head
        self._queries = queries
        self._runs = queries.runs_of(head, start)
        # Tenant and project are decided by the log, texts by the event itself.
        self._wanted = replace(wanted, tenant_id=None, project_id=None, text=None)
        self._session_no = queries.session_no(head.log_no, wanted.session_id) if wanted.session_id is not None else None
        self._takes_none = wanted.session_id is not None and self._session_no is None
        #: What matches in the columns that were decoded so far and was not asked for, and the index behind those columns.
        self._selected: deque[_Match] = deque()
        self._decided_until = 0

    def next_run(self) -> _Run | None:
        """The next segment, None at the end of the log."""
        return next(self._runs, None)

    def matches(self, run: _Run) -> Sequence[_Match]:
        """The events of a run that match by their columns, ascending; runs come in their order."""
        if self._takes_none:
            return ()
        while self._decided_until < run.end:
            self._decide(max(run.start, self._decided_until))
        matches: list[_Match] = []
        while self._selected and self._selected[0][0] < run.end:
            matches.append(self._selected.popleft())
        return matches

    def _decide(self, index: int) -> None:
        """Decode the columns from an index to the end of its block."""
        decided = index
        for first, columns in self._queries.slices_from(self.head, index):
            us, sub = columns.ints("us"), columns.ints("sub")
            selected = columns.select(self._wanted, self._session_no)
            self._selected.extend((first + at, us[at], sub[at]) for at in selected if first + at >= decided)
            decided = first + columns.events
        if decided == index:
            raise StorageError(f"the index of {self.head.origin} is damaged: no columns hold index {index}")
        self._decided_until = decided


def _push(waiting: list[tuple[int, int, int, _Run, _GrownLog]], log: _GrownLog) -> None:
    """Put a log's next run in its place in the order of arrival."""
    run = log.next_run()
    if run is not None:
        heapq.heappush(waiting, (run.received_at_ns, log.head.log_id, run.start, run, log))


def _end_of(heads: list[_Head]) -> Arrivals:
    """The position behind everything."""
    points = [ArrivalPoint(head.received_at_ns, head.log_id, head.next_index) for head in heads if head.next_index]
    return Arrivals([], [], {head.log_id: head.next_index for head in heads}, max(points, default=None), more=False)


def _grown(heads: list[_Head], after: Mapping[int, int]) -> list[tuple[_Head, int]]:
    """The logs that grew, with the index that comes next. Raises `NotFoundError`."""
    known, grown = 0, []
    for head in heads:
        start = after.get(head.log_id)
        if start is None:
            start = 0
        else:
            known += 1
        if start > head.next_index:
            raise NotFoundError(f"the log {head.origin} ends at {head.next_index}, before the position {start}")
        if start < head.next_index:
            grown.append((head, start))
    if known < len(after):
        raise NotFoundError("the position names a log that is not in this record")
    return grown
