"""A question's words: the text index says where they may stand, and what it does not hold yet is read.

The index is never what an answer depends on. Events behind its position are compared with the query itself, block by block; when
the index is missing or cannot be read, that is done for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apsw

from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK
from chaukas.server.storage.sqlite.segments import Segment, SegmentReader
from chaukas.server.storage.sqlite.text_index.reader import TextIndexSnapshot
from chaukas.server.storage.sqlite.text_index.search import TextSearch
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.scan import TextScanner

__all__ = ["TextFilter"]

#: Of so many unread events of a block all of their segments are looked through; of fewer each by itself.
_MANY = EVENTS_PER_BLOCK // 3


class _SegmentsSeen:
    """What is known of the unread events of a block whose segments have been looked through."""

    def __init__(self) -> None:
        self.indexes: set[int] = set()
        #: Those of `indexes` that may match.
        self.candidates: set[int] = set()


class TextFilter:
    """One question's query, within one snapshot of the record and, if there is one, of the index."""

    def __init__(
        self,
        database: apsw.Connection,
        segments: SegmentReader,
        query: TextQuery,
        log_nos: Sequence[int],
        index: TextIndexSnapshot | None,
    ) -> None:
        self._database = database
        self._segments = segments
        self._scanner = TextScanner(query)
        #: The segment of the event that was compared last: its neighbours mostly come next.
        self._segment: Segment | None = None
        self._segment_log = 0
        self._index = index
        self._search: TextSearch | None = index.search(query, log_nos) if index is not None and log_nos else None

    def narrow(self, log_no: int, next_index: int, blocks: set[int] | None) -> set[int] | None:
        """Those of the blocks that may hold matches (None: all of the log)."""
        found = self._search.blocks(log_no) if self._search is not None else None
        if found is None:
            return blocks
        unread = range(self._indexed(log_no) // EVENTS_PER_BLOCK, next_index // EVENTS_PER_BLOCK + 1)
        return {*found, *unread} if blocks is None else {block for block in blocks if block in found or block in unread}

    def matching(self, log_no: int, block_no: int, indexes: Sequence[int]) -> Iterator[int]:
        """Those of a block's indexes whose events match, lazily, in the order given."""
        indexed = self._indexed(log_no)
        candidates: frozenset[int] = frozenset()
        exact = False
        if self._search is not None and block_no * EVENTS_PER_BLOCK < indexed:
            candidates, exact = frozenset(self._search.in_block(log_no, block_no)), self._search.exact
        seen = _SegmentsSeen() if sum(index >= indexed for index in indexes) >= _MANY else None
        for index in indexes:
            if index < indexed:
                if index in candidates and (exact or self._scanner.matches(self._body(log_no, index))):
                    yield index
            elif seen is None:
                if self._scanner.matches(self._body(log_no, index)):
                    yield index
            else:
                if index not in seen.indexes:
                    self._look_through(log_no, index, seen)
                if index in seen.candidates and self._scanner.confirms(self._body(log_no, index)):
                    yield index

    def _look_through(self, log_no: int, index: int, seen: _SegmentsSeen) -> None:
        """Tell those of the events of an index's segment that cannot match by their raw bytes."""
        segment = self._segment_of(log_no, index)
        first = segment.first_index
        seen.indexes.update(range(first, first + segment.events))
        found = self._scanner.candidates(*segment.bodies.joined())
        seen.candidates.update(first + at for at in found)

    def _body(self, log_no: int, index: int) -> bytes:
        """The stored bytes of an event."""
        segment = self._segment_of(log_no, index)
        return segment.bodies[index - segment.first_index]

    def _segment_of(self, log_no: int, index: int) -> Segment:
        segment = self._segment
        if segment is None or log_no != self._segment_log or not 0 <= index - segment.first_index < segment.events:
            segment = self._segment = self._segments.segment_of(self._database, log_no, index)
            self._segment_log = log_no
        return segment

    def _indexed(self, log_no: int) -> int:
        return self._index.indexed(log_no) if self._search is not None and self._index is not None else 0
