"""Which blocks hold events with a given id: postings, gathered in memory and merged into the B-tree in key order.

A posting is 16 bytes, big-endian so that byte order is numeric order: list (log_no << 3 | kind, 4 bytes), key (8 bytes), block
number (4 bytes). Inserting random keys straight into a B-tree dirties a page per posting and halves the ingest rate at a
million events. So new postings first stand in `pending_postings` (one row per commit, in arrival order) and in memory; when a
generation is full it is sorted and merged into the table a little with every commit, neighbours together. After a crash the
pending rows rebuild the memory: recovery and start are the same code. Merging twice is harmless (INSERT OR IGNORE).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat

import apsw

from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.pending import BLOCK, Generation, block_numbers

__all__ = [
    "KIND_AGENT",
    "KIND_EVENT_ID",
    "KIND_SESSION",
    "KIND_SPAN",
    "KIND_TAG",
    "KIND_TRACE",
    "Postings",
    "pack_prefix",
    "pack_prefixes",
]

KIND_EVENT_ID, KIND_SESSION, KIND_TRACE, KIND_SPAN, KIND_AGENT, KIND_TAG = range(6)

_PREFIX = struct.Struct(">IQ")
_PREFIX_BYTES = _PREFIX.size
_POSTING_BYTES = _PREFIX.size + BLOCK.size
_FIRST_BLOCK, _LAST_BLOCK = b"\x00" * 4, b"\xff" * 4

_SQL_INSERT = "INSERT OR IGNORE INTO postings SELECT value FROM carray(?)"
#: Those prefixes (12 bytes) that have a posting: the smallest one at or behind a prefix belongs to it if it starts with it. Every
#: row that is given back costs the writer the interpreter lock, so it is compared here: a commit of new ids has no row at all.
_SQL_EXISTING = (
    "SELECT value FROM carray(?) c WHERE"
    " substr((SELECT entry FROM postings WHERE entry >= c.value ORDER BY entry LIMIT 1), 1, 12) = c.value"
)
_SQL_RANGE = "SELECT entry FROM postings WHERE entry BETWEEN ? AND ?"
_SQL_PENDING_ADD = "INSERT INTO pending_postings VALUES (?, ?)"
_SQL_PENDING_ALL = "SELECT commit_no, entries FROM pending_postings ORDER BY commit_no"
_SQL_ENTRIES = "SELECT coalesce(sum(next_index), 0) FROM logs"
_SQL_PENDING_DONE = "DELETE FROM pending_postings WHERE commit_no <= ?"


def pack_prefix(log_no: int, kind: int, key: int) -> bytes:
    """List and key of a posting, 12 bytes."""
    return _PREFIX.pack(log_no << 3 | kind, key)


def pack_prefixes(log_no: int, kind: int, keys: Iterable[int]) -> list[bytes]:
    """The prefixes of many keys of one list, in order."""
    return list(map(_PREFIX.pack, repeat(log_no << 3 | kind), keys))


class Postings:
    """The writer's side; readers see what it has committed, in the table and through `pending.PendingPostings`."""

    def __init__(self, generation_postings: int = 65_536, *, run_postings: int = 8_192, merge_postings_min: int = 512) -> None:
        self._generation_postings = generation_postings
        self._run_postings = run_postings
        self._merge_postings_min = merge_postings_min
        #: (being filled, being merged or None)
        self._generations: tuple[Generation, Generation | None] = (Generation(), None)
        #: The postings of the generation that is being merged: not sorted yet, sorted in runs, and sorted as a whole.
        self._unsorted: Iterator[bytes] | None = None
        self._runs: list[list[bytes]] = []
        self._merged: list[bytes] | None = None
        self._merged_until = 0
        self._commit_no = 0

    def recover(self, database: apsw.Connection) -> None:
        """Rebuild the memory from the pending rows."""
        generation = Generation()
        for number, entries in fetch(database, _SQL_PENDING_ALL):
            generation.add_row(number, entries)
        # No number may come twice, because readers ask for what is newer than what they have. Every commit that had one had an
        # entry too: there are at least as many of these.
        ((entries_of_all_logs,),) = fetch(database, _SQL_ENTRIES)
        self._commit_no = max(self._commit_no, generation.last_commit, entries_of_all_logs)
        self._generations = (generation, None)
        self._unsorted, self._runs, self._merged = None, [], None

    def add(self, database: apsw.Connection, postings: Iterable[tuple[list[bytes], int]]) -> None:
        """Take a commit's postings (prefixes, their block number) and merge a part of the older ones; within the transaction."""
        active, _ = self._generations
        fresh = b"".join([active.add(prefixes, BLOCK.pack(block_no)) for prefixes, block_no in postings])
        if not fresh:
            return
        self._commit_no += 1
        active.last_commit = self._commit_no
        database.execute(_SQL_PENDING_ADD, (self._commit_no, fresh))
        self._merge_some(database, max(self._merge_postings_min, 2 * len(fresh) // _POSTING_BYTES))
        if self._generations[1] is None and active.postings >= self._generation_postings:
            self._freeze(active)

    def _freeze(self, full: Generation) -> None:
        """Begin to merge the full generation."""
        self._unsorted = full.entries()
        self._generations = (Generation(), full)

    def _merge_some(self, database: apsw.Connection, count: int) -> None:
        """Go on a little, so that no commit waits long: sort one more run, or insert some of what is sorted."""
        merging = self._generations[1]
        if merging is None:
            return
        if self._unsorted is not None:
            self._sort_some(self._unsorted)
            return
        if self._merged is None:
            return
        part = tuple(self._merged[self._merged_until : self._merged_until + count])
        self._merged_until += count
        if part:
            database.execute(_SQL_INSERT, (apsw.carray(part),))
        if self._merged_until >= len(self._merged):
            # Everything of this generation is in the table; visible to others only when this transaction commits.
            database.execute(_SQL_PENDING_DONE, (merging.last_commit,))
            self._merged = None

    def _sort_some(self, unsorted: Iterator[bytes]) -> None:
        """Sort one run, and join it with its neighbours of the same size, as a binary counter carries.

        Python's sort finds the two sorted halves of a joined run and merges them in C.
        """
        run = list(islice(unsorted, self._run_postings))
        last = len(run) < self._run_postings
        run.sort()
        while self._runs and (last or len(self._runs[-1]) <= len(run)):
            run = self._runs.pop() + run
            run.sort()
        self._runs.append(run)
        if last:
            self._merged, self._merged_until = run, 0
            self._unsorted, self._runs = None, []

    def committed(self) -> None:
        """After the commit: forget a generation that is wholly in the table."""
        active, merging = self._generations
        if merging is not None and self._unsorted is None and self._merged is None:
            self._generations = (active, None)

    def existing(self, database: apsw.Connection, prefixes: Sequence[bytes]) -> dict[bytes, list[int]]:
        """The blocks of those prefixes that have any; one statement tells for all of them together."""
        if not prefixes:
            return {}
        known = {prefix for (prefix,) in fetch(database, _SQL_EXISTING, (apsw.carray(tuple(prefixes)),))}
        for generation in self._generations:
            if generation is not None:
                blocks = generation.blocks
                known.update([prefix for prefix in prefixes if prefix in blocks])
        return {prefix: self.blocks_of(database, prefix, self.remembered(prefix)) for prefix in known}

    def remembered(self, prefix: bytes) -> set[int]:
        """The blocks that memory knows for a prefix."""
        return block_numbers(self._generations, prefix)

    @staticmethod
    def blocks_of(database: apsw.Connection, prefix: bytes, remembered: Iterable[int] = ()) -> list[int]:
        """All blocks of a prefix in the table and in `remembered`, ascending, each once."""
        numbers = set(remembered)
        for (entry,) in fetch(database, _SQL_RANGE, (prefix + _FIRST_BLOCK, prefix + _LAST_BLOCK)):
            numbers.add(BLOCK.unpack_from(entry, _PREFIX_BYTES)[0])
        return sorted(numbers)
