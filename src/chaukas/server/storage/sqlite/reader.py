"""Questions about events: which blocks can hold matches, in the order of their times, until the page is full.

A filter by an id or a tag gives candidate blocks through postings; everything else through the summaries of all blocks. Blocks
are visited from the newest (or oldest) bound on; a match is final as soon as no block that is still to come can hold an
earlier place in the order. So a page costs about as many blocks as it has to touch, whatever the size of the record.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self, TypeVar

import apsw

from chaukas.server.storage.contract import EventFilter, Page, PageRequest, Position, StoredEvent
from chaukas.server.storage.sqlite.blocks import BLOCK_BITS, BlockReader
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK, mask_of
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.pending import PendingPostings, block_numbers
from chaukas.server.storage.sqlite.postings import (
    KIND_AGENT,
    KIND_EVENT_ID,
    KIND_SESSION,
    KIND_SPAN,
    KIND_TAG,
    KIND_TRACE,
    Postings,
    pack_prefix,
)
from chaukas.server.storage.sqlite.segments import SegmentReader
from chaukas.server.storage.sqlite.text_filter import TextFilter
from chaukas.server.storage.sqlite.text_index.file import TextIndexUnusable
from chaukas.server.storage.sqlite.text_index.reader import TextIndexReader
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["EventQueries", "LogRow", "logs_in_scope"]

_SQL_LOGS = (
    "SELECT log_no, log_id, origin, next_index, other_entries FROM logs"
    " WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR project_id = ?2)"
)
_SQL_LOG = "SELECT log_no, log_id, origin, next_index, other_entries FROM logs WHERE tenant_id = ?1 AND project_id = ?2"
_SQL_SESSION = "SELECT session_no FROM sessions WHERE log_no = ? AND session_id = ?"
_SQL_BLOCKS_OF_LOG = (
    "SELECT place, min_us, max_us FROM blocks WHERE place BETWEEN ?1 AND ?2 AND min_us <= ?3 AND max_us >= ?4"
    " AND (?5 = 0 OR types & ?5) AND (?6 = 0 OR statuses & ?6) AND (?7 = 0 OR severities & ?7)"
)
_SQL_BLOCKS_POSTED = (
    "SELECT b.place, b.min_us, b.max_us FROM carray(?1) c CROSS JOIN blocks b ON b.place = c.value"
    " WHERE b.min_us <= ?2 AND b.max_us >= ?3"
    " AND (?4 = 0 OR b.types & ?4) AND (?5 = 0 OR b.statuses & ?5) AND (?6 = 0 OR b.severities & ?6)"
)
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LogRow:
    """A log within the scope of a question."""

    log_no: int
    log_id: int
    origin: str
    next_index: int
    #: How many of the entries are no events.
    other_entries: int


@dataclass(frozen=True, slots=True)
class _Block:
    log: LogRow
    block_no: int
    min_us: int
    max_us: int
    session_no: int | None


def logs_in_scope(database: apsw.Connection, tenant_id: str | None, project_id: str | None) -> list[LogRow]:
    """The logs of a tenant and project; None means all."""
    sql = _SQL_LOG if tenant_id is not None and project_id is not None else _SQL_LOGS
    return [LogRow(*row) for row in fetch(database, sql, (tenant_id, project_id))]


class EventQueries:
    """One thread's reader."""

    def __init__(
        self,
        database: apsw.Connection,
        keys: IdKeys,
        pending: PendingPostings,
        texts: TextIndexReader,
        on_damaged_texts: Callable[[], None],
    ) -> None:
        self._database = database
        self._keys = keys
        self._pending = pending
        self._texts = texts
        self._on_damaged_texts = on_damaged_texts
        self._blocks = BlockReader()
        self._segments = SegmentReader()
        self._snapshot: _Snapshot | None = None

    @property
    def segments(self) -> SegmentReader:
        """This thread's cache of segments."""
        return self._segments

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[_Snapshot]:
        """One state of the record for everything that this thread reads until the end; within another one it is that one."""
        if self._snapshot is not None:
            yield self._snapshot
            return
        with _Snapshot(self._database, self._pending) as snapshot:
            self._snapshot = snapshot
            try:
                yield snapshot
            finally:
                self._snapshot = None

    def query(self, request: PageRequest) -> Page:
        """One page; see `EventReader.query`."""
        with self.snapshot() as snapshot:
            return self._with_texts(request.filter, lambda texts: self._page(snapshot, request, texts))

    def count(self, wanted: EventFilter) -> int:
        """The exact number of matches; see `EventReader.count`."""
        with self.snapshot() as snapshot:
            if wanted == EventFilter(wanted.tenant_id, wanted.project_id):
                logs = logs_in_scope(self._database, wanted.tenant_id, wanted.project_id)
                return sum(log.next_index - log.other_entries for log in logs)
            return self._with_texts(wanted, lambda texts: self._count(snapshot, wanted, texts))

    def places(self, wanted: EventFilter) -> dict[int, array[int]]:
        """The indices of all matches by `log_id`, ascending; eight bytes of memory for each."""

        def gather(snapshot: _Snapshot, texts: TextFilter | None) -> dict[int, array[int]]:
            found: dict[int, array[int]] = {}
            for log, indexes in self._matching(snapshot, wanted, texts):
                found.setdefault(log.log_id, array("q")).extend(indexes)
            return {log_id: array("q", sorted(indexes)) for log_id, indexes in found.items() if indexes}

        with self.snapshot() as snapshot:
            return self._with_texts(wanted, lambda texts: gather(snapshot, texts))

    def find(self, tenant_id: str | None, project_id: str | None, event_id: str) -> list[tuple[int, int]]:
        """Where an event id stands: log_id and index, at most one per log."""
        key = self._keys.key(event_id)
        found: list[tuple[int, int]] = []
        with self.snapshot() as snapshot:
            for log in logs_in_scope(self._database, tenant_id, project_id):
                blocks = snapshot.blocks_of(pack_prefix(log.log_no, KIND_EVENT_ID, key))
                found += [(log.log_id, index) for block_no in blocks for index in self._with_id(log, block_no, key, event_id)]
        return found

    def _with_id(self, log: LogRow, block_no: int, key: int, event_id: str) -> Iterator[int]:
        index = block_no * EVENTS_PER_BLOCK
        for columns in self._blocks.columns_of(self._database, log.log_no, block_no):
            for position in columns.positions_of_id(key):
                at = index + position
                segment = self._segments.segment_of(self._database, log.log_no, at)
                if Event.FromString(segment.bodies[at - segment.first_index]).event_id == event_id:
                    yield at
            index += columns.events

    def _with_texts(self, wanted: EventFilter, answer: Callable[[TextFilter | None], _T]) -> _T:
        """Answer with the text index; without it when it fails, at its first question or in the middle of the answer."""
        query = wanted.text
        if query is None:
            return answer(None)
        log_nos = [log.log_no for log in logs_in_scope(self._database, wanted.tenant_id, wanted.project_id)]
        try:
            with self._texts.snapshot() as index:
                return answer(TextFilter(self._database, self._segments, query, log_nos, index))
        except TextIndexUnusable as error:
            if error.damaged:
                self._on_damaged_texts()
        return answer(TextFilter(self._database, self._segments, query, log_nos, None))

    def _page(self, snapshot: _Snapshot, request: PageRequest, texts: TextFilter | None) -> Page:
        blocks = self._candidates(snapshot, request.filter, _bounds(request), texts)
        events: list[StoredEvent] = []
        size = 0
        for position, log in self._in_order(blocks, request, texts):
            if len(events) == request.limit:
                return Page(events, more=True)
            event = self._stored_event(log, position)
            size += len(event.stored)
            if events and size > request.bytes_max:
                return Page(events, more=True)
            events.append(event)
        return Page(events, more=False)

    def _count(self, snapshot: _Snapshot, wanted: EventFilter, texts: TextFilter | None) -> int:
        return sum(len(indexes) for _, indexes in self._matching(snapshot, wanted, texts))

    def _matching(self, snapshot: _Snapshot, wanted: EventFilter, texts: TextFilter | None) -> Iterator[tuple[LogRow, list[int]]]:
        """Every match, block by block in no order: its log, and the indexes."""
        for block in self._candidates(snapshot, wanted, _time_bounds(wanted), texts):
            log_no, block_no = block.log.log_no, block.block_no
            first = block_no * EVENTS_PER_BLOCK
            indexes: list[int] = []
            for columns in self._blocks.columns_of(self._database, log_no, block_no):
                indexes += [first + at for at in columns.select(wanted, block.session_no)]
                first += columns.events
            yield block.log, indexes if texts is None else list(texts.matching(log_no, block_no, indexes))

    def _candidates(
        self, snapshot: _Snapshot, wanted: EventFilter, bounds: tuple[int, int], texts: TextFilter | None
    ) -> list[_Block]:
        """The blocks that may hold matches, in no order."""
        blocks: list[_Block] = []
        masks = (mask_of(wanted.types), mask_of(wanted.statuses), mask_of(wanted.severities))
        earliest, latest = bounds
        for log in logs_in_scope(self._database, wanted.tenant_id, wanted.project_id):
            session_no: int | None = None
            if wanted.session_id is not None:
                session_no = self._session_no(log.log_no, wanted.session_id)
                if session_no is None:
                    continue
            numbers = self._posted(snapshot, log.log_no, wanted, session_no)
            if texts is not None:
                numbers = texts.narrow(log.log_no, log.next_index, numbers)
            first = log.log_no << BLOCK_BITS
            if numbers is None:
                last = first | ((1 << BLOCK_BITS) - 1)
                rows = fetch(self._database, _SQL_BLOCKS_OF_LOG, (first, last, latest, earliest, *masks))
            elif numbers:
                places = array("q", sorted(first | number for number in numbers))
                rows = fetch(self._database, _SQL_BLOCKS_POSTED, (apsw.carray(places), latest, earliest, *masks))
            else:
                rows = []
            blocks += [_Block(log, place - first, min_us, max_us, session_no) for place, min_us, max_us in rows]
        return blocks

    def _session_no(self, log_no: int, session_id: str) -> int | None:
        if not session_id:
            return 0
        for (number,) in fetch(self._database, _SQL_SESSION, (log_no, session_id)):
            return int(number)
        return None

    def _posted(self, snapshot: _Snapshot, log_no: int, wanted: EventFilter, session_no: int | None) -> set[int] | None:
        """Blocks that all ids and tags of the filter have postings for; None when it names none."""
        prefixes: list[bytes] = []
        # An absent id ("") has no postings: every block may hold it.
        if session_no:
            prefixes.append(pack_prefix(log_no, KIND_SESSION, session_no))
        for kind, value in ((KIND_TRACE, wanted.trace_id), (KIND_SPAN, wanted.span_id), (KIND_AGENT, wanted.agent_id)):
            if value:
                prefixes.append(pack_prefix(log_no, kind, self._keys.key(value)))
        prefixes += [pack_prefix(log_no, KIND_TAG, self._keys.key(tag)) for tag in wanted.tags]
        common: set[int] | None = None
        for prefix in prefixes:
            numbers = snapshot.blocks_of(prefix)
            common = numbers if common is None else common & numbers
            if not common:
                break
        return common

    def _in_order(
        self, blocks: list[_Block], request: PageRequest, texts: TextFilter | None
    ) -> Iterator[tuple[Position, LogRow]]:
        """All matches in the order of the request, lazily; from each block at most one more than the page can take."""
        descending = request.descending
        blocks.sort(key=(lambda block: -block.max_us) if descending else (lambda block: block.min_us))
        logs = {block.log.log_id: block.log for block in blocks}
        waiting: list[tuple[int, int, int, int]] = []
        at = 0
        while at < len(blocks) or waiting:
            if at < len(blocks):
                bound = blocks[at].max_us if descending else blocks[at].min_us
                ready = [place for place in waiting if (place[0] > bound if descending else place[0] < bound)]
                if not ready:
                    waiting += self._matches(blocks[at], request, texts)
                    waiting.sort(reverse=descending)
                    at += 1
                    continue
                del waiting[: len(ready)]
            else:
                ready, waiting = waiting, []
            for place in ready:
                yield Position(*place), logs[place[2]]

    def _matches(self, block: _Block, request: PageRequest, texts: TextFilter | None) -> list[tuple[int, int, int, int]]:
        found: list[tuple[int, int, int, int]] = []
        index = block.block_no * EVENTS_PER_BLOCK
        log_id = block.log.log_id
        for columns in self._blocks.columns_of(self._database, block.log.log_no, block.block_no):
            us, sub = columns.ints("us"), columns.ints("sub")
            found += [(us[at], sub[at], log_id, index + at) for at in columns.select(request.filter, block.session_no)]
            index += columns.events
        after = request.after
        if after is not None:
            limit = (after.timestamp_us, after.timestamp_sub_ns, after.log_id, after.index)
            found = [place for place in found if (place < limit if request.descending else place > limit)]
        found.sort(reverse=request.descending)
        if texts is None:
            return found[: request.limit + 1]
        places = {place[3]: place for place in found}
        matching = texts.matching(block.log.log_no, block.block_no, list(places))
        return [places[index] for index in islice(matching, request.limit + 1)]

    def _stored_event(self, log: LogRow, position: Position) -> StoredEvent:
        segment = self._segments.segment_of(self._database, log.log_no, position.index)
        at = position.index - segment.first_index
        return StoredEvent(position, log.origin, segment.bodies[at], segment.received_at_ns, segment.leaf_before_event(at))


def _time_bounds(wanted: EventFilter) -> tuple[int, int]:
    """Earliest and latest microsecond that a match can have."""
    earliest = _INT64_MIN if wanted.start_ns is None else wanted.start_ns // 1000
    latest = _INT64_MAX if wanted.end_ns is None else (wanted.end_ns - 1) // 1000
    return _as_int64(earliest), _as_int64(latest)


def _as_int64(number: int) -> int:
    """The nearest number that a column can hold; no event lies beyond it."""
    return max(_INT64_MIN, min(_INT64_MAX, number))


def _bounds(request: PageRequest) -> tuple[int, int]:
    earliest, latest = _time_bounds(request.filter)
    if request.after is not None:
        if request.descending:
            latest = min(latest, request.after.timestamp_us)
        else:
            earliest = max(earliest, request.after.timestamp_us)
    return earliest, latest


class _Snapshot:
    """A read transaction, and the postings that are not in the table yet."""

    def __init__(self, database: apsw.Connection, pending: PendingPostings) -> None:
        self._database = database
        self._pending = pending
        # Taken before the snapshot begins, see `PendingPostings`.
        self._generations = pending.generations
        self._followed = False

    def __enter__(self) -> Self:
        self._database.execute("BEGIN")
        # BEGIN is deferred: the snapshot starts with the first read.
        fetch(self._database, "SELECT 1 FROM meta LIMIT 1")
        return self

    def __exit__(self, *_: object) -> None:
        self._database.execute("ROLLBACK")

    def blocks_of(self, prefix: bytes) -> set[int]:
        """All blocks that hold events with this id, perhaps some more."""
        if not self._followed:
            self._pending.follow(self._database)
            self._generations += tuple(each for each in self._pending.generations if each not in self._generations)
            self._followed = True
        return set(Postings.blocks_of(self._database, prefix, block_numbers(self._generations, prefix)))
