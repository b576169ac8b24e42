"""Postings that are not in the table yet: what a generation of them is, and how readers learn of them.

The writer keeps its own in memory (`postings.Postings`). Readers, which may live in another process, read the rows of
`pending_postings`: commit numbers never come twice, so a reader asks for what is newer than the newest it has seen.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator

import apsw

from chaukas.server.storage.sqlite.connection import fetch

__all__ = ["BLOCK", "Generation", "PendingPostings", "block_numbers"]

#: A posting's prefix (list and key, 12 bytes) and its block.
_POSTING = struct.Struct(">12s4s")
BLOCK = struct.Struct(">I")
#: Postings of one generation of a reader; it lets go of a generation when all of it is in the table.
_GENERATION_POSTINGS = 16_384

_SQL_NEWER = "SELECT commit_no, entries FROM pending_postings WHERE commit_no > ? ORDER BY commit_no"
_SQL_OLDEST = "SELECT min(commit_no) FROM pending_postings"


class Generation:
    """Postings in memory: prefix -> the block's 4 bytes, or several blocks' bytes joined."""

    __slots__ = ("blocks", "last_commit", "postings")

    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self.postings = 0
        self.last_commit = 0

    def add(self, prefixes: Iterable[bytes], block: bytes) -> bytes:
        """Add a posting for each prefix; returns those that were not known, joined. Nearly all prefixes are new ones."""
        blocks = self.blocks
        new = dict.fromkeys(prefixes, block)
        for prefix in [prefix for prefix in new if prefix in blocks]:
            earlier = blocks[prefix]
            if earlier[-4:] == block:
                del new[prefix]
            else:
                new[prefix] = earlier + block
        blocks.update(new)
        self.postings += len(new)
        return block.join(new) + block if new else b""

    def add_row(self, commit_no: int, entries: bytes) -> None:
        """Add the postings of one commit, as `pending_postings` has them."""
        blocks = self.blocks
        new = dict(_POSTING.iter_unpack(entries))
        if len(new) * _POSTING.size == len(entries) and new.keys().isdisjoint(blocks):
            blocks.update(new)
        else:
            for prefix, block in _POSTING.iter_unpack(entries):
                earlier = blocks.get(prefix, b"")
                if earlier[-4:] != block:
                    blocks[prefix] = earlier + block
        self.postings += len(entries) // _POSTING.size
        self.last_commit = commit_no

    def entries(self) -> Iterator[bytes]:
        """All postings, 16 bytes each, in no order."""
        for prefix, blocks in self.blocks.items():
            if len(blocks) == BLOCK.size:
                yield prefix + blocks
                continue
            for at in range(0, len(blocks), BLOCK.size):
                yield prefix + blocks[at : at + BLOCK.size]


class PendingPostings:
    """What the readers of one process know of `pending_postings`; they share it.

    A row goes from there when its postings are in the table. A reader therefore takes `generations` before its snapshot begins
    and calls `follow` within it: every posting of its snapshot is then in the table, in what it took, or in what it read. Some
    of them may be newer than its snapshot.
    """

    def __init__(self) -> None:
        #: Oldest first; replaced as a whole, but the last one grows.
        self.generations: tuple[Generation, ...] = ()
        self._seen = 0
        self._lock = threading.Lock()

    def follow(self, database: apsw.Connection) -> None:
        """Within a snapshot: read the rows that are new, and let go of generations that are wholly in the table."""
        with self._lock:
            ((oldest,),) = fetch(database, _SQL_OLDEST)
            if oldest is None:
                return
            if self.generations and self.generations[0].last_commit < oldest:
                self.generations = tuple(each for each in self.generations if each.last_commit >= oldest)
            for commit_no, entries in fetch(database, _SQL_NEWER, (self._seen,)):
                if not self.generations or self.generations[-1].postings >= _GENERATION_POSTINGS:
                    self.generations = (*self.generations, Generation())
                self.generations[-1].add_row(commit_no, entries)
                self._seen = commit_no


def block_numbers(generations: Iterable[Generation | None], prefix: bytes) -> set[int]:
    """The blocks that these generations know for a prefix."""
    numbers: set[int] = set()
    for generation in generations:
        if generation is not None:
            numbers.update(number for (number,) in BLOCK.iter_unpack(generation.blocks.get(prefix, b"")))
    return numbers
