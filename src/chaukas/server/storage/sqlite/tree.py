"""Tiles and signed heads of the transparency log, and the entries below them, as rows.

`storage.log_contract` says what must hold; what the tree is, `tlog` knows. A tile is replaced only by one that begins with it, a
head only gets signatures, and both are refused again by the triggers of the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw

from chaukas.server.errors import StorageError
from chaukas.server.storage.entry import KIND_EVENT
from chaukas.server.storage.log_contract import EntryRecord, LogInfo, LogSnapshot, SignedHead, TileName, TreeGrowth
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.reader import EventQueries
from chaukas.server.storage.sqlite.segments import INDEX_BITS, split_entries
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["TreeReader", "cosign_head", "grow_tree"]

_INDEX_MASK = (1 << INDEX_BITS) - 1
_LEVEL_BITS = 36
_HASH_BYTES = 32
#: Newest heads of a log that are kept. Those that two keys of the log signed, as while a key is replaced, are kept for ever: they
#: are what leads from the old key to the new one.
_HEADS_KEPT = 64

_LOG_COLUMNS = "log_id, origin, tenant_id, project_id, next_index"
_SQL_LOGS = (
    f"SELECT {_LOG_COLUMNS} FROM logs WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR project_id = ?2)"  # noqa: S608
    " ORDER BY origin"
)
_SQL_LOG = f"SELECT {_LOG_COLUMNS} FROM logs WHERE log_id = ?"  # noqa: S608  constants
_SQL_GROWN = f"SELECT {_LOG_COLUMNS} FROM logs WHERE next_index <> head_size ORDER BY log_no"  # noqa: S608  constants
_SQL_LOG_NO = "SELECT log_no, next_index, head_size FROM logs WHERE log_id = ?"
#: Entries of the segments from the one that holds a place on.
_SQL_FIRST_SEGMENT = "SELECT place FROM segments WHERE place <= ? ORDER BY place DESC LIMIT 1"
_SQL_ENTRIES = "SELECT place, entries FROM segments WHERE place >= ? AND place < ? ORDER BY place"
_SQL_TILE = "SELECT hashes FROM tiles WHERE place = ?"
_SQL_TILE_GROW = "UPDATE tiles SET hashes = ? WHERE place = ?"
_SQL_TILE_ADD = "INSERT INTO tiles VALUES (?, ?)"
_SQL_HEAD_NEWEST = (
    "SELECT place, signed_at_ns, root, note FROM heads WHERE place BETWEEN ?1 << 40 AND (?1 << 40) + ((1 << 40) - 1)"
    " ORDER BY place DESC LIMIT 1"
)
_SQL_HEAD = "SELECT place, signed_at_ns, root, note FROM heads WHERE place = ?"
_SQL_HEAD_ADD = "INSERT INTO heads VALUES (?, ?, ?, ?)"
_SQL_HEAD_NOTE = "UPDATE heads SET note = ? WHERE place = ?"
_SQL_HEAD_SIZE = "UPDATE logs SET head_size = ? WHERE log_no = ?"
#: The smallest head behind a place: the first that covers the entry there.
_SQL_HEAD_COVERING = (
    "SELECT place, signed_at_ns, root, note FROM heads WHERE place > ?1 AND place <= ?1 | ((1 << 40) - 1) ORDER BY place LIMIT 1"
)
#: Heads behind the newest ones, except those in which a second signature line begins as `?3` says.
_SQL_HEADS_OLD = (
    "DELETE FROM heads WHERE place IN (SELECT place FROM heads WHERE place BETWEEN ?1 << 40 AND (?1 << 40) + ((1 << 40) - 1)"
    " ORDER BY place DESC LIMIT -1 OFFSET ?2) AND instr(substr(note, instr(note, ?3) + 1), ?3) = 0"
)
_SQL_SALT = "SELECT salt FROM sessions WHERE log_no = ? AND session_id = ?"

_T = TypeVar("_T")


class TreeReader:
    """One reader thread's view of logs, entries, tiles and heads: a `LogSnapshot` as long as `read` runs."""

    def __init__(self, database: apsw.Connection, queries: EventQueries) -> None:
        self._database = database
        self._queries = queries
        # What finds an event by its id has its segment in memory already.
        self._segments = queries.segments

    def read(self, work: Callable[[LogSnapshot], _T]) -> _T:
        """Run `work` over the state of the record that one read transaction sees."""
        with self._queries.snapshot():
            return work(self)

    def logs(self, tenant_id: str | None, project_id: str | None) -> list[LogInfo]:
        """See `LogSnapshot.logs`."""
        return [LogInfo(*row) for row in fetch(self._database, _SQL_LOGS, (tenant_id, project_id))]

    def log(self, log_id: int) -> LogInfo | None:
        """See `LogSnapshot.log`."""
        for row in fetch(self._database, _SQL_LOG, (log_id,)):
            return LogInfo(*row)
        return None

    def grown_logs(self) -> list[LogInfo]:
        """See `LogSnapshot.grown_logs`."""
        return [LogInfo(*row) for row in fetch(self._database, _SQL_GROWN)]

    def entries(self, log_id: int, start: int, end: int) -> list[bytes]:
        """See `LogSnapshot.entries`."""
        log_no, size, _ = _log(self._database, log_id)
        end = min(end, size)
        if start >= end:
            return []
        first = log_no << INDEX_BITS | start
        for (place,) in fetch(self._database, _SQL_FIRST_SEGMENT, (first,)):
            first = max(place, log_no << INDEX_BITS)
        entries: list[bytes] = []
        for place, packed in fetch(self._database, _SQL_ENTRIES, (first, log_no << INDEX_BITS | end)):
            if (place & _INDEX_MASK) - (first & _INDEX_MASK) != len(entries):
                break
            entries += split_entries(packed)
        skipped = start - (first & _INDEX_MASK)
        wanted = entries[skipped : skipped + end - start]
        if len(wanted) != end - start:
            raise StorageError(f"the record is damaged: entries between {start} and {end} of log {log_no} are missing")
        return wanted

    def find_event(self, tenant_id: str | None, project_id: str | None, event_id: str) -> list[tuple[LogInfo, int]]:
        """See `LogSnapshot.find_event`."""
        found = self._queries.find(tenant_id, project_id, event_id)
        logs = {log_id: self.log(log_id) for log_id, _ in found}
        return [(log, index) for log_id, index in found if (log := logs[log_id]) is not None]

    def tiles(self, log_id: int, names: Sequence[TileName]) -> list[bytes]:
        """See `LogSnapshot.tiles`."""
        log_no, _, _ = _log(self._database, log_id)
        return [_tile(self._database, log_no, *name) for name in names]

    def head(self, log_id: int, size: int | None = None) -> SignedHead | None:
        """See `LogSnapshot.head`."""
        log_no, _, _ = _log(self._database, log_id)
        rows = (
            fetch(self._database, _SQL_HEAD_NEWEST, (log_no,))
            if size is None
            else fetch(self._database, _SQL_HEAD, (log_no << INDEX_BITS | size,))
        )
        for place, signed_at_ns, root, note in rows:
            return SignedHead(place & _INDEX_MASK, root, signed_at_ns, note)
        return None

    def covering_head(self, log_id: int, index: int) -> SignedHead | None:
        """See `LogSnapshot.covering_head`."""
        log_no, _, _ = _log(self._database, log_id)
        for place, signed_at_ns, root, note in fetch(self._database, _SQL_HEAD_COVERING, (log_no << INDEX_BITS | index,)):
            return SignedHead(place & _INDEX_MASK, root, signed_at_ns, note)
        return None

    def entry_record(self, log_id: int, index: int) -> EntryRecord | None:
        """See `LogSnapshot.entry_record`."""
        log_no, size, _ = _log(self._database, log_id)
        if not 0 <= index < size:
            return None
        segment = self._segments.segment_of(self._database, log_no, index)
        at = index - segment.first_index
        entry, stored, salts = segment.entries[at], segment.bodies[at], segment.salts_of(at)
        session_id, session_salt = "", b""
        if segment.kind == KIND_EVENT:
            session_id = Event.FromString(stored).session_id
            for (salt,) in fetch(self._database, _SQL_SALT, (log_no, session_id)) if session_id else ():
                session_salt = salt
        middle = len(salts) // 2
        return EntryRecord(
            index, entry, stored, segment.bodies.envelopes[at], salts[:middle], salts[middle:], session_id, session_salt
        )


def grow_tree(database: apsw.Connection, growth: TreeGrowth) -> None:
    """See `LogWriter.grow_trees`; inside the caller's transaction."""
    tiles, head = growth.tiles, growth.head
    log_no, size, head_size = _log(database, growth.log_id)
    if not head_size <= head.size <= size:
        raise StorageError(f"a head of size {head.size} does not fit a log of {size} entries whose last head has {head_size}")
    for tile in tiles:
        place = _tile_place(log_no, tile.level, tile.number)
        known = _tile(database, log_no, tile.level, tile.number)
        if not tile.hashes.startswith(known) or not 0 < len(tile.hashes) <= 256 * _HASH_BYTES or len(tile.hashes) % _HASH_BYTES:
            raise StorageError(f"tile {tile.level}/{tile.number} of log {log_no} does not continue the one that is kept")
        if not known:
            database.execute(_SQL_TILE_ADD, (place, tile.hashes))
        elif len(tile.hashes) > len(known):
            database.execute(_SQL_TILE_GROW, (tile.hashes, place))
    place = log_no << INDEX_BITS | head.size
    if head.size == head_size and fetch(database, _SQL_HEAD, (place,)):
        return
    database.execute(_SQL_HEAD_ADD, (place, head.signed_at_ns, head.root, head.note))
    database.execute(_SQL_HEAD_SIZE, (head.size, log_no))
    # A line of the log's own begins with its name, which the note's first line is (C2SP tlog-checkpoint).
    own_line = b"\n\xe2\x80\x94 " + head.note.partition(b"\n")[0] + b" "
    database.execute(_SQL_HEADS_OLD, (log_no, _HEADS_KEPT, own_line))


def cosign_head(database: apsw.Connection, log_id: int, size: int, note: bytes) -> None:
    """See `LogWriter.cosign_head`; inside the caller's transaction."""
    log_no, _, _ = _log(database, log_id)
    place = log_no << INDEX_BITS | size
    for _, _, _, known in fetch(database, _SQL_HEAD, (place,)):
        if not note.startswith(known):
            raise StorageError(f"the head of size {size} of log {log_no} can only get further signatures")
        database.execute(_SQL_HEAD_NOTE, (note, place))


def _log(database: apsw.Connection, log_id: int) -> tuple[int, int, int]:
    for log_no, size, head_size in fetch(database, _SQL_LOG_NO, (log_id,)):
        return log_no, size, head_size
    raise StorageError(f"there is no log with the number {log_id}")


def _tile_place(log_no: int, level: int, number: int) -> int:
    return log_no << INDEX_BITS | level << _LEVEL_BITS | number


def _tile(database: apsw.Connection, log_no: int, level: int, number: int) -> bytes:
    for (hashes,) in fetch(database, _SQL_TILE, (_tile_place(log_no, level, number),)):
        return bytes(hashes)
    return b""
