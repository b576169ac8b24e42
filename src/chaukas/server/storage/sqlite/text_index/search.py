"""The answer of the index to one query: the blocks and the events that may match, all at once when they are few."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Final

import apsw

from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS
from chaukas.server.storage.sqlite.text_index.file import reading
from chaukas.server.storage.sqlite.text_index.match import Match

__all__ = ["TextSearch"]

_INDEX_MASK: Final = (1 << INDEX_BITS) - 1
#: So many places of a query are listed at once, some 3 ms; a log that has more of them is asked block by block.
_LISTED_MAX: Final = 20_000
#: Each question about a prefix costs as much as listing all its places, so that they are listed up to here.
_LISTED_MAX_OF_PREFIX: Final = 250_000
#: Logs that hold more than the listed places together are listed each for itself, until so many places were.
_LISTED_MAX_IN_SUM: Final = 200_000

_SQL_PLACES = "SELECT rowid FROM words WHERE words MATCH ? AND rowid >= ? AND rowid < ? ORDER BY rowid LIMIT ?"
_SQL_COUNT = "SELECT count(*) FROM words WHERE words MATCH ? AND rowid >= ? AND rowid < ?"


class TextSearch:
    """One query within one snapshot; its methods are for events below `TextIndexSnapshot.indexed` of their log.

    They raise `TextIndexUnusable` when the index cannot be read.
    """

    def __init__(
        self,
        database: apsw.Connection,
        match: Match,
        indexed: Callable[[int], int],
        log_nos: Collection[int],
    ) -> None:
        self._database = database
        self._match = match
        self._indexed = indexed
        self._listed_max = _LISTED_MAX_OF_PREFIX if match.prefix else _LISTED_MAX
        self._left_to_list = _LISTED_MAX_IN_SUM
        #: log_no -> its places, ascending; None when there are too many to list.
        self._listed: dict[int, array[int] | None] = {}
        self._all: array[int] | None = None
        if match.expression is not None and len(log_nos) > 1:
            self._all = self._list(min(log_nos) << INDEX_BITS, (max(log_nos) + 1) << INDEX_BITS)

    @property
    def exact(self) -> bool:
        """Whether every candidate matches. Otherwise each has to be compared with the query (`TextQuery.matches`)."""
        return self._match.exact

    def blocks(self, log_no: int) -> frozenset[int] | None:
        """The numbers of all blocks of a log that hold candidates; None when they are too many to list.

        Cheap, a few milliseconds at most, whatever the log's size.
        """
        places = self._places_of(log_no)
        return None if places is None else frozenset((place & _INDEX_MASK) // EVENTS_PER_BLOCK for place in places)

    def in_block(self, log_no: int, block_no: int) -> Sequence[int]:
        """The indexes of the candidates in one block, ascending."""
        begin = block_no * EVENTS_PER_BLOCK
        if self._match.expression is None:
            return range(begin, max(begin, min(begin + EVENTS_PER_BLOCK, self._indexed(log_no))))
        first = log_no << INDEX_BITS | begin
        places = self._places_of(log_no)
        if places is not None:
            found = places[bisect_left(places, first) : bisect_left(places, first + EVENTS_PER_BLOCK)]
        else:
            found = self._read(first, first + EVENTS_PER_BLOCK, EVENTS_PER_BLOCK)
        return array("q", (place & _INDEX_MASK for place in found))

    def count(self, log_no: int) -> int:
        """How many candidates a log has."""
        if self._match.expression is None:
            return self._indexed(log_no)
        places = self._listed.get(log_no)
        if places is not None:
            return len(places)
        first = log_no << INDEX_BITS
        with reading():
            return int(fetch(self._database, _SQL_COUNT, (self._match.expression, first, first + _INDEX_MASK + 1))[0][0])

    def _places_of(self, log_no: int) -> array[int] | None:
        if self._match.expression is None:
            return None
        if log_no not in self._listed:
            first = log_no << INDEX_BITS
            end = first + _INDEX_MASK + 1
            if self._all is not None:
                self._listed[log_no] = self._all[bisect_left(self._all, first) : bisect_left(self._all, end)]
            else:
                self._listed[log_no] = self._list(first, end)
        return self._listed[log_no]

    def _list(self, first: int, end: int) -> array[int] | None:
        limit = self._listed_max if self._match.prefix else min(self._listed_max, self._left_to_list)
        if limit <= 0:
            return None
        places = self._read(first, end, limit + 1)
        self._left_to_list -= len(places)
        return places if len(places) <= limit else None

    def _read(self, first: int, end: int, limit: int) -> array[int]:
        with reading():
            rows = self._database.execute(_SQL_PLACES, (self._match.expression, first, end, limit))
            return array("q", chain.from_iterable(rows))
