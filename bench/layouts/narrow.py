"""Narrow rows: bodies in compressed segments, a row of integers per event, dictionaries for ids, event ids in a table apart."""

from __future__ import annotations

from pathlib import Path

import apsw
import zstandard

from bench.layouts.row_layout import PAGE, Identity, RowLayout, seal
from chaukas.server.storage.contract import EventRecord, Position, StoredEvent
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.logs import LogHead
from chaukas.server.storage.sqlite.segments import INDEX_BITS, SEGMENT_EVENTS_MAX, SegmentReader, encode_bodies

__all__ = ["NarrowRows"]

_REMEMBERED_MAX = 20_000
_INDEX_MASK = (1 << INDEX_BITS) - 1
_TRACE, _AGENT = 1, 2

_SQL_STORED = "SELECT e.id, e.place FROM carray(?2) c CROSS JOIN event_ids e ON e.log_no = ?1 AND e.id = c.value"
_SQL_ID = "INSERT INTO event_ids VALUES (?, ?, ?)"
_SQL_SPAN = "INSERT INTO span_places VALUES (?, ?, ?)"
_SQL_NUMBER = "SELECT number FROM names WHERE log_no = ? AND kind = ? AND name = ?"
_SQL_NEXT = "SELECT coalesce(max(number), 0) + 1 FROM names"
_SQL_NAME = "INSERT INTO names VALUES (?, ?, ?, ?)"
_SQL_ROW = "INSERT INTO narrow VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SQL_SEGMENT = "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SQL_SESSION = "SELECT session_no FROM sessions WHERE log_no = ? AND session_id = ?"
_ROWS = "SELECT place, us, sub FROM narrow WHERE "
_ORDER = " ORDER BY us DESC, sub DESC, place DESC LIMIT ?3"
_OF_SPAN = "place IN (SELECT place FROM span_places WHERE log_no = ?2 AND span = ?1)"
_SQL_ASK = {
    "session": _ROWS + "session_no = ?1" + _ORDER,
    "trace": _ROWS + "trace_no = ?1" + _ORDER,
    "agent": _ROWS + "agent_no = ?1" + _ORDER,
    "span": _ROWS + _OF_SPAN + _ORDER,
    "type": _ROWS + "log_no = ?2 AND type = ?1" + _ORDER,
    "newest": _ROWS + "log_no = ?2" + _ORDER,
}


def _packed(text: str) -> bytes:
    """16 bytes for a UUID in its usual form; at least 17 for anything else."""
    if len(text) == 36:
        digits = text.replace("-", "")
        if f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}" == text and digits.islower():
            try:
                return bytes.fromhex(digits)
            except ValueError:
                pass
    return bytes(17) + text.encode()


class NarrowRows(RowLayout):
    """A row of integers per event beside compressed bodies."""

    schema = """
    CREATE TABLE event_ids (log_no INTEGER, id BLOB, place INTEGER NOT NULL, PRIMARY KEY (log_no, id)) STRICT, WITHOUT ROWID;
    CREATE TABLE span_places (log_no INTEGER, span BLOB, place INTEGER, PRIMARY KEY (log_no, span, place)) STRICT, WITHOUT ROWID;
    CREATE TABLE names (
        log_no INTEGER, kind INTEGER, name BLOB, number INTEGER NOT NULL, PRIMARY KEY (log_no, kind, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE narrow (
        place INTEGER PRIMARY KEY, log_no INTEGER NOT NULL, session_no INTEGER NOT NULL, trace_no INTEGER NOT NULL,
        agent_no INTEGER NOT NULL, type INTEGER NOT NULL, status INTEGER NOT NULL, severity INTEGER NOT NULL,
        us INTEGER NOT NULL, sub INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX narrow_session ON narrow (session_no);
    CREATE INDEX narrow_trace ON narrow (trace_no);
    CREATE INDEX narrow_agent ON narrow (agent_no, us, sub);
    CREATE INDEX narrow_time ON narrow (log_no, us, sub, type, status, severity);
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        self._names: dict[tuple[int, int, str], int] = {}
        self._next_number: int = fetch(self.database, _SQL_NEXT)[0][0]
        self._of_writer, self._of_reader = SegmentReader(), SegmentReader()

    def identities(self, log_no: int, records: list[EventRecord]) -> dict[str, Identity]:
        """See `RowLayout.identities`."""
        by_id = {_packed(record.event_id): record.event_id for record in records}
        found: dict[str, Identity] = {}
        for packed, place in fetch(self.database, _SQL_STORED, (log_no, apsw.carray(tuple(by_id)))):
            index = place & _INDEX_MASK
            segment = self._of_writer.segment_of(self.database, log_no, index)
            at = index - segment.first_index
            found[by_id[packed]] = (index, segment.salts_of(at), segment.digest_of(at))
        return found

    def write(
        self, head: LogHead, records: list[EventRecord], commitments: list[tuple[bytes, int]], session_numbers: list[int]
    ) -> None:
        """See `RowLayout.write`."""
        first, log_no = head.log_no << INDEX_BITS | head.next_index, head.log_no
        for start in range(0, len(records), SEGMENT_EVENTS_MAX):
            self._write_segment(
                head, records[start : start + SEGMENT_EVENTS_MAX], commitments[start : start + SEGMENT_EVENTS_MAX]
            )
        rows = [
            (
                first + at, log_no, session_no, self._number(log_no, _TRACE, r.trace_id),
                self._number(log_no, _AGENT, r.agent_id), r.type, r.status, r.severity, r.timestamp_us, r.timestamp_sub_ns,
            )
            for at, (r, session_no) in enumerate(zip(records, session_numbers, strict=True))
        ]  # fmt: skip
        self.database.executemany(_SQL_ROW, rows)
        self.database.executemany(_SQL_ID, [(log_no, _packed(r.event_id), first + at) for at, r in enumerate(records)])
        self.database.executemany(_SQL_SPAN, [(log_no, _packed(r.span_id), first + at) for at, r in enumerate(records)])

    def _write_segment(self, head: LogHead, records: list[EventRecord], commitments: list[tuple[bytes, int]]) -> None:
        place, leaf_before = head.log_no << INDEX_BITS | head.next_index, head.last_leaf
        sealed = seal(head, records, commitments)
        entries = b"".join(len(entry).to_bytes(1, "big") + entry for entry in sealed.entries)
        bodies = encode_bodies(self._compressor, [r.stored for r in records], [r.envelope_bytes for r in records])
        row = (
            place, len(records), head.received_at_ns, leaf_before, b"".join(sealed.salts), b"".join(sealed.digests),
            entries, bodies,
        )  # fmt: skip
        self.database.execute(_SQL_SEGMENT, row)

    def _number(self, log_no: int, kind: int, name: str) -> int:
        """The number of a trace or an agent; 0 when the event has none."""
        if not name:
            return 0
        number = self._names.get((log_no, kind, name))
        if number is None:
            packed = _packed(name)
            known = fetch(self.database, _SQL_NUMBER, (log_no, kind, packed))
            if known:
                number = int(known[0][0])
            else:
                number, self._next_number = self._next_number, self._next_number + 1
                self.database.execute(_SQL_NAME, (log_no, kind, packed, number))
            if len(self._names) >= _REMEMBERED_MAX:
                self._names.clear()
            self._names[log_no, kind, name] = number
        return number

    def ask(self, question: str, tenant_id: str, project_id: str, value: str | int) -> list[StoredEvent]:
        """See `Layout.ask`."""
        head = self.logs.head(self.reader, tenant_id, project_id, create=False)
        if head is None:
            return []
        key: object = value
        if question == "session":
            key = fetch(self.reader, _SQL_SESSION, (head.log_no, value))[0][0]
        elif question in {"trace", "agent"}:
            kind = _TRACE if question == "trace" else _AGENT
            key = fetch(self.reader, _SQL_NUMBER, (head.log_no, kind, _packed(str(value))))[0][0]
        elif question == "span":
            key = _packed(str(value))
        events: list[StoredEvent] = []
        for place, us, sub in fetch(self.reader, _SQL_ASK[question], (key, head.log_no, PAGE + 1))[:PAGE]:
            index = place & _INDEX_MASK
            segment = self._of_reader.segment_of(self.reader, head.log_no, index)
            at = index - segment.first_index
            position = Position(us, sub, head.log_id, index)
            events.append(
                StoredEvent(position, head.origin, segment.bodies[at], segment.received_at_ns, segment.leaf_before_event(at))
            )
        return events
