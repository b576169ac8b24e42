"""Reading a record for an export: whole logs in a stream, or the places of what matches a filter. Nothing is ever written.

Works on the directory of a server that is stopped, and beside one that runs: what stands below a signed head never changes, so
that each statement may have a snapshot of its own, and none holds the writer up for longer than a few segments.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apsw
import zstandard
from google.protobuf.message import DecodeError

from chaukas.server.errors import CannotServeError, StorageError
from chaukas.server.storage.contract import EventFilter
from chaukas.server.storage.entry import KIND_EVENT, SALT_BYTES, entry_kind, leaf_hash
from chaukas.server.storage.log_contract import EntryRecord, LogInfo, SignedHead
from chaukas.server.storage.sqlite.connection import DATABASE_NAME, connect, fetch
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.pending import PendingPostings
from chaukas.server.storage.sqlite.reader import EventQueries, logs_in_scope
from chaukas.server.storage.sqlite.schema import APPLICATION_ID, FORMAT_VERSION, key_secret
from chaukas.server.storage.sqlite.segments import INDEX_BITS, decode_bodies, split_entries
from chaukas.server.storage.sqlite.text_index.reader import TextIndexReader
from chaukas.server.storage.sqlite.tree import TreeReader
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["ExportReader"]

_CACHE_KIB = 16 * 1024
#: Segments, each of at most 128 entries, that one statement reads.
_SEGMENTS_AT_ONCE = 16
#: Salts of sessions that are remembered.
_SALTS_MAX = 100_000
_HASH_BYTES = 32
_TILE_HASHES = 256
_INDEX_MASK = (1 << INDEX_BITS) - 1

_SQL_LOG_NO = "SELECT log_no FROM logs WHERE log_id = ?"
#: The segment that holds a place, or the last one before it.
_SQL_FIRST = "SELECT place FROM segments WHERE place <= ? ORDER BY place DESC LIMIT 1"
_SQL_SEGMENTS = "SELECT place, events, salts, entries, bodies FROM segments WHERE place >= ? AND place < ? ORDER BY place LIMIT ?"
_SQL_SALT = "SELECT salt FROM sessions WHERE log_no = ? AND session_id = ?"


class ExportReader:
    """One thread's view of `<data_dir>/record.db`."""

    def __init__(self, directory: Path) -> None:
        """Open it. Raises `CannotServeError` when there is no record of a format that is known."""
        if not (directory / DATABASE_NAME).exists():
            raise CannotServeError(f"there is no event store in {directory}")
        try:
            self._database = connect(directory, writer=False, cache_kib=_CACHE_KIB)
            self._open(directory)
        except (apsw.Error, TypeError, ValueError) as error:
            raise CannotServeError(f"the data directory {directory} cannot be read: {error}") from error
        self._texts = TextIndexReader(directory)
        self._queries = EventQueries(self._database, self._keys, PendingPostings(), self._texts, lambda: None)
        self._tree = TreeReader(self._database, self._queries)
        self._decompressor = zstandard.ZstdDecompressor()
        self._salt = functools.lru_cache(_SALTS_MAX)(self._read_salt)

    def _open(self, directory: Path) -> None:
        database = self._database
        version = int(database.pragma("user_version"))
        if database.pragma("application_id") != APPLICATION_ID or version != FORMAT_VERSION:
            database.close()
            raise CannotServeError(
                f"the data directory {directory} has format {version}, not {FORMAT_VERSION}: let this release's server start once"
            )
        self._keys = IdKeys(key_secret(database))

    def close(self) -> None:
        """Close the files."""
        self._texts.close()
        self._database.close()

    def logs(self, tenant_id: str | None, project_id: str | None) -> list[tuple[LogInfo, bool]]:
        """The logs of a tenant and project (None: any) by origin, each with whether it may have entries that are no events."""
        others = {row.log_id for row in logs_in_scope(self._database, tenant_id, project_id) if row.other_entries}
        return [(log, log.log_id in others) for log in self._tree.logs(tenant_id, project_id)]

    def head(self, log: LogInfo) -> SignedHead | None:
        """The newest signed head."""
        return self._tree.head(log.log_id, None)

    def covering_head(self, log: LogInfo, index: int) -> SignedHead | None:
        """The first kept head that covers an index."""
        return self._tree.covering_head(log.log_id, index)

    def entries(self, log: LogInfo, start: int, end: int) -> list[bytes]:
        """Entries as they were hashed, without payloads."""
        return self._tree.entries(log.log_id, start, end)

    def read_tile(self, log: LogInfo) -> Callable[[int, int, int], bytes]:
        """Reads tiles of one log by level, number and width; raises `StorageError`."""

        def read(level: int, number: int, width: int) -> bytes:
            (kept,) = self._tree.tiles(log.log_id, [(level, number)])
            if len(kept) >= width * _HASH_BYTES:
                return kept
            if level:
                raise StorageError(f"the tree of the log {log.origin} is damaged: tile {number} of level {level} is missing")
            # The partial tile of level 0 is kept nowhere: its hashes are made from the entries.
            start = number * _TILE_HASHES
            return b"".join(map(leaf_hash, self.entries(log, start, start + width)))

        return read

    def records(self, log: LogInfo, start: int, end: int) -> Iterator[EntryRecord]:
        """The entries from `start` to `end` - 1 in their order, each with its bytes and salts.

        Raises `StorageError` where one is missing or damaged.
        """
        ((log_no,),) = fetch(self._database, _SQL_LOG_NO, (log.log_id,))
        first = log_no << INDEX_BITS
        position = start
        while position < end:
            reached = position
            places = [place for (place,) in fetch(self._database, _SQL_FIRST, (first | position,))]
            rows = fetch(self._database, _SQL_SEGMENTS, (max([*places, first]), first | end, _SEGMENTS_AT_ONCE))
            for row in rows:
                at = row[0] & _INDEX_MASK
                if at > position:
                    break
                for record in self._segment(log_no, row):
                    if position <= record.index < end:
                        yield record
                position = at + row[1]
            if position == reached:
                break
        if position < end:
            raise StorageError(f"the record is damaged: entry {position} of the log {log.origin} is missing")

    def records_at(self, log: LogInfo, indices: Sequence[int]) -> Iterator[EntryRecord]:
        """Single entries, ascending; neighbours are read together."""
        at = 0
        while at < len(indices):
            end = at + 1
            while end < len(indices) and indices[end] - indices[end - 1] < 128 and end - at < 2048:
                end += 1
            wanted = set(indices[at:end])
            for record in self.records(log, indices[at], indices[end - 1] + 1):
                if record.index in wanted:
                    yield record
            at = end

    def matches(self, wanted: EventFilter) -> dict[int, array[int]]:
        """The indices of the events that match, ascending, by log; eight bytes of memory for each."""
        return self._queries.places(wanted)

    def _segment(self, log_no: int, row: tuple[int, int, bytes, bytes, bytes]) -> Iterator[EntryRecord]:
        place, events, salts, packed, zipped = row
        entries = split_entries(packed)
        bodies = decode_bodies(self._decompressor, place, events, zipped)
        if not len(entries) == len(bodies) == events or len(salts) != 2 * SALT_BYTES * events:
            raise StorageError(f"the record is damaged: segment {place} does not hold what its row says")
        for at, (entry, body, envelope_bytes) in enumerate(zip(entries, bodies, bodies.envelopes, strict=True)):
            session_id = _session_id(place, body) if entry_kind(entry) == KIND_EVENT else ""
            middle = (2 * at + 1) * SALT_BYTES
            yield EntryRecord(
                (place & _INDEX_MASK) + at,
                entry,
                body,
                envelope_bytes,
                salts[middle - SALT_BYTES : middle],
                salts[middle : middle + SALT_BYTES],
                session_id,
                self._salt(log_no, session_id) if session_id else b"",
            )

    def _read_salt(self, log_no: int, session_id: str) -> bytes:
        for (salt,) in fetch(self._database, _SQL_SALT, (log_no, session_id)):
            return bytes(salt)
        raise StorageError(f"the record is damaged: the session {session_id!r} has no salt")


def _session_id(place: int, body: bytes) -> str:
    try:
        return Event.FromString(body).session_id
    except DecodeError as error:
        raise StorageError(f"the record is damaged: an event of segment {place} cannot be read") from error
