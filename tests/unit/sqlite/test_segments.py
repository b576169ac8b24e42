"""Segments: what is read is what was written, or an error that says the record is damaged."""

from __future__ import annotations

import os
from hashlib import sha256

import apsw
import pytest
import zstandard

from chaukas.server.errors import StorageError
from chaukas.server.storage.entry import encode_entry, entry_head, leaf_hash
from chaukas.server.storage.sqlite.segments import INDEX_BITS, SegmentReader, encode_bodies

from .record import empty_record, unguarded

_COMPRESSOR = zstandard.ZstdCompressor(level=1, write_checksum=True)


def _entry(number: int) -> bytes:
    return encode_entry(entry_head(1, 1_000 + number), bytes([number]) * 32, bytes(32))


def _insert(database: apsw.Connection, log_no: int, first_index: int, bodies: list[bytes], leaf_before: bytes = b"") -> None:
    count = len(bodies)
    entries = b"".join(len(entry).to_bytes(1, "big") + entry for entry in map(_entry, range(count)))
    row = (
        log_no << INDEX_BITS | first_index, count, 77, leaf_before, os.urandom(32 * count), os.urandom(32 * count), entries,
        encode_bodies(_COMPRESSOR, bodies, [len(body) // 2 for body in bodies]),
    )  # fmt: skip
    database.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def test_every_event_is_read_back():
    """An index leads to its own segment and its own bytes, whatever the sizes, from the first to the last of each segment."""
    database = empty_record()
    bodies = [[b"", b"a", b"\x00" * 5_000], [b"b" * 300_000], [os.urandom(7) for _ in range(128)]]
    first = 0
    for part in bodies:
        _insert(database, 3, first, part, leaf_before=bytes([first % 256]) * 32)
        first += len(part)
    _insert(database, 4, 0, [b"of another log"])
    reader = SegmentReader(cache_bytes_max=1)
    for index, body in enumerate(body for part in bodies for body in part):
        segment = reader.segment_of(database, 3, index)
        at = index - segment.first_index
        assert segment.bodies[at] == body
        assert len(segment.salts_of(at)) == len(segment.digest_of(at)) == 32
        expected = bytes([segment.first_index % 256]) * 32 if at == 0 else leaf_hash(_entry(at - 1))
        assert segment.leaf_before_event(at) == expected
    assert reader.segment_of(database, 4, 0).bodies[0] == b"of another log"


@pytest.mark.parametrize(("log_no", "index"), [(3, 5), (3, 4), (4, 0), (2, 0), (3, (1 << INDEX_BITS) - 1)])
def test_an_index_without_a_segment_is_damage(log_no: int, index: int):
    """A place that no segment holds is reported as damage; a neighbour's event is never given instead."""
    database = empty_record()
    _insert(database, 3, 0, [b"a", b"b"])
    _insert(database, 3, 2, [b"c", b"d"])
    _insert(database, 5, 0, [b"e"])
    with pytest.raises(StorageError, match="damaged"):
        SegmentReader().segment_of(database, log_no, index)


@pytest.mark.parametrize("column", ["bodies", "entries", "digests", "salts"])
@pytest.mark.parametrize("damage", ["truncated", "lengthened", "flipped"])
def test_a_damaged_segment_is_reported(column: str, damage: str):
    """Whatever is changed in a segment's row, the answer is an error and never other bytes than were stored."""
    database = empty_record()
    bodies = [b"first" * 20, b"second" * 30]
    _insert(database, 1, 0, bodies)
    whole = database.execute(f"SELECT {column} FROM segments").get  # noqa: S608  a name of this test
    flipped = whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:]
    changed = {"truncated": whole[:-1], "lengthened": whole + b"\x00", "flipped": flipped}[damage]
    unguarded(database).execute(f"UPDATE segments SET {column} = ?", (changed,))  # noqa: S608  a name of this test
    # Other bits of salts, digests and entries are found by comparing hashes; what follows the compressed bodies is not read.
    harmless = damage == ("lengthened" if column == "bodies" else "flipped")
    if harmless:
        assert list(SegmentReader().segment_of(database, 1, 0).bodies) == bodies
    else:
        with pytest.raises(StorageError, match="damaged"):
            SegmentReader().segment_of(database, 1, 0)


def test_events_stored_as_received_need_no_digests():
    """A segment may leave out the digests of events that were stored as they came; they are then those of the bodies."""
    database = empty_record()
    bodies = [b"first", b"second"]
    _insert(database, 1, 0, bodies)
    unguarded(database).execute("UPDATE segments SET digests = x''")
    segment = SegmentReader().segment_of(database, 1, 0)
    for at, body in enumerate(bodies):
        assert segment.digest_of(at) == sha256(segment.salts_of(at) + body).digest()


def test_the_cache_forgets_and_is_bounded():
    """The cache serves what it has, never more bytes than allowed plus one segment, and nothing after `forget`."""
    database = empty_record()
    for number in range(20):
        _insert(database, 1, number, [bytes([number]) * 10_000])
    reader = SegmentReader(cache_bytes_max=50_000)
    for _ in range(2):
        for number in range(20):
            assert list(reader.segment_of(database, 1, number).bodies) == [bytes([number]) * 10_000]
            assert reader._cache_bytes <= 50_000 + 11_000
            assert reader._cache_bytes == sum(segment.size_bytes for segment in reader._cache.values())
    kept = reader.segment_of(database, 1, 19)
    assert reader.segment_of(database, 1, 19) is kept
    reader.forget()
    assert reader.segment_of(database, 1, 19) is not kept
