"""Segments: up to 128 events of one commit in one row, compressed together; the record itself.

Row: place, events, received_at_ns, leaf_before, salts (32 bytes per event: envelope, content), digests (32 bytes per event:
SHA-256(salts ‖ bytes as received), which decides "same content"; empty when all of them were stored as received), entries (each
with one length byte), bodies (zstd with checksum: for each event two 32-bit lengths, body and envelope; then the bodies).
Nothing in a segment is ever changed.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, pairwise

import apsw
import zstandard

from chaukas.server.errors import StorageError
from chaukas.server.storage.entry import leaf_hash
from chaukas.server.storage.sqlite.connection import fetch

__all__ = [
    "INDEX_BITS",
    "SEGMENT_BYTES_MAX",
    "SEGMENT_EVENTS_MAX",
    "Bodies",
    "Segment",
    "SegmentReader",
    "decode_bodies",
    "encode_bodies",
    "join_entries",
    "split_entries",
]

#: `place` of a segment is log_no << INDEX_BITS | index of its first event.
INDEX_BITS = 40
_INDEX_MASK = (1 << INDEX_BITS) - 1
SEGMENT_EVENTS_MAX = 128
SEGMENT_BYTES_MAX = 256 * 1024
_SALTS_BYTES = 32
_DIGEST_BYTES = 32

#: Which segment holds a place; touches no body.
_SQL_FIND = "SELECT place, events FROM segments WHERE place <= ? ORDER BY place DESC LIMIT 1"
_SQL_READ = "SELECT received_at_ns, leaf_before, salts, digests, entries, bodies FROM segments WHERE place = ?"


def encode_bodies(compressor: zstandard.ZstdCompressor, bodies: list[bytes], envelopes: list[int]) -> bytes:
    """The `bodies` column."""
    lengths = [0] * (2 * len(bodies))
    lengths[::2], lengths[1::2] = map(len, bodies), envelopes
    return compressor.compress(b"".join((struct.pack(f"<{len(lengths)}I", *lengths), *bodies)))


def join_entries(entries: list[bytes]) -> bytes:
    """The `entries` column."""
    lengths = bytes(map(len, entries))
    return b"".join([lengths[at : at + 1] + entry for at, entry in enumerate(entries)])


class Bodies:
    """The stored bytes of a segment's events, each cut out when it is asked for: mostly only one of them is."""

    __slots__ = ("_plain", "_starts", "envelopes")

    def __init__(self, plain: bytes, lengths: Sequence[int], envelopes: Sequence[int]) -> None:
        """`plain` is the `bodies` column decompressed. Raises `ValueError` when it does not end with the last body."""
        self._plain = plain
        self._starts = list(accumulate(lengths, initial=8 * len(lengths)))
        #: Length in bytes of the envelope at the beginning of each body.
        self.envelopes = envelopes
        if self._starts[-1] != len(plain):
            raise ValueError("the lengths of the bodies do not fit what they were packed with")

    def __len__(self) -> int:
        return len(self.envelopes)

    def __getitem__(self, at: int) -> bytes:
        if not 0 <= at < len(self.envelopes):
            raise IndexError(at)
        return self._plain[self._starts[at] : self._starts[at + 1]]

    def __iter__(self) -> Iterator[bytes]:
        return (self._plain[start:end] for start, end in pairwise(self._starts))

    @property
    def size_bytes(self) -> int:
        """Of all bodies together."""
        return self._starts[-1] - self._starts[0]

    def joined(self) -> tuple[bytes, list[int]]:
        """All bodies one after another, and where each of them ends."""
        first = self._starts[0]
        return self._plain[first:], [end - first for end in self._starts[1:]]


def decode_bodies(decompressor: zstandard.ZstdDecompressor, place: int, events: int, zipped: bytes) -> Bodies:
    """The stored bytes of a segment's events, from its `bodies` column. Raises `StorageError` when it is damaged."""
    try:
        plain = decompressor.decompress(zipped)
        lengths = struct.unpack_from(f"<{2 * events}I", plain)
    except (zstandard.ZstdError, struct.error) as error:
        raise StorageError(f"the record is damaged: segment {place} does not decompress") from error
    try:
        return Bodies(plain, lengths[::2], lengths[1::2])
    except ValueError as error:
        raise StorageError(f"the record is damaged: segment {place} does not hold what its row says") from error


def split_entries(packed: bytes) -> list[bytes]:
    """The entries of a segment, from its `entries` column. Raises `StorageError` when that ends within one."""
    entries: list[bytes] = []
    start = 0
    while start < len(packed):
        end = start + 1 + packed[start]
        entries.append(packed[start + 1 : end])
        start = end
    if start != len(packed):
        raise StorageError("the record is damaged: the entries of a segment are cut off")
    return entries


@dataclass(slots=True)
class Segment:
    """A decoded segment."""

    first_index: int
    events: int
    received_at_ns: int
    leaf_before: bytes
    salts: bytes
    digests: bytes
    entries: list[bytes]
    bodies: Bodies
    size_bytes: int

    @property
    def kind(self) -> int:
        """What all entries of this segment are (`LogEntryKind`): the fourth byte of an entry, see `entry.entry_head`."""
        return self.entries[0][3]

    def leaf_before_event(self, at: int) -> bytes:
        """Leaf hash of the entry before the event at position `at` of this segment."""
        return self.leaf_before if at == 0 else leaf_hash(self.entries[at - 1])

    def salts_of(self, at: int) -> bytes:
        """Envelope and content salt, 32 bytes."""
        return self.salts[at * _SALTS_BYTES : (at + 1) * _SALTS_BYTES]

    def digest_of(self, at: int) -> bytes:
        """The salted digest of the event as received."""
        if self.digests:
            return self.digests[at * _DIGEST_BYTES : (at + 1) * _DIGEST_BYTES]
        return sha256(self.salts_of(at) + self.bodies[at]).digest()


class SegmentReader:
    """Reads segments through a small cache (segments never change); one per thread."""

    def __init__(self, cache_bytes_max: int = 8 * 1024 * 1024) -> None:
        self._decompressor = zstandard.ZstdDecompressor()
        self._cache: OrderedDict[int, Segment] = OrderedDict()
        self._cache_bytes_max = cache_bytes_max
        self._cache_bytes = 0

    def forget(self) -> None:
        """Drop the cache; the writer does so after a failed transaction."""
        self._cache.clear()
        self._cache_bytes = 0

    def segment_of(self, database: apsw.Connection, log_no: int, index: int) -> Segment:
        """The segment that holds an index. Raises `StorageError` when it is missing or damaged."""
        found = fetch(database, _SQL_FIND, (log_no << INDEX_BITS | index,))
        place, events = found[0] if found else (-1, 0)
        if place >> INDEX_BITS != log_no or (place & _INDEX_MASK) + events <= index:
            raise StorageError(f"the record is damaged: no segment holds index {index}")
        cached = self._cache.get(place)
        if cached is not None:
            self._cache.move_to_end(place)
            return cached
        ((received_at_ns, leaf, salts, digests, packed, zipped),) = fetch(database, _SQL_READ, (place,))
        segment = self._decode(place, events, received_at_ns, leaf, salts, digests, packed, zipped)
        self._cache[place] = segment
        self._cache_bytes += segment.size_bytes
        while self._cache_bytes > self._cache_bytes_max and len(self._cache) > 1:
            self._cache_bytes -= self._cache.popitem(last=False)[1].size_bytes
        return segment

    def _decode(
        self,
        place: int,
        events: int,
        received_at_ns: int,
        leaf: bytes,
        salts: bytes,
        digests: bytes,
        packed: bytes,
        zipped: bytes,
    ) -> Segment:
        bodies = decode_bodies(self._decompressor, place, events, zipped)
        entries = split_entries(packed)
        whole = (
            sum(map(len, entries)) + len(entries) == len(packed)
            and len(entries) == events
            and len(salts) == _SALTS_BYTES * events
        )
        if not whole or len(digests) not in (0, _DIGEST_BYTES * events):
            raise StorageError(f"the record is damaged: segment {place} does not hold what its row says")
        size = bodies.size_bytes + len(packed)
        return Segment(place & _INDEX_MASK, events, received_at_ns, leaf, salts, digests, entries, bodies, size)
