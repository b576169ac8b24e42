"""Wide rows: one row per event with its bytes, and secondary indexes over the ids as they are. What one writes first."""

from __future__ import annotations

import apsw

from bench.layouts.row_layout import PAGE, Identity, RowLayout, seal
from chaukas.server.storage.contract import EventRecord, Position, StoredEvent
from chaukas.server.storage.entry import leaf_hash
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.logs import LogHead
from chaukas.server.storage.sqlite.segments import INDEX_BITS

__all__ = ["WideRows"]

_SQL_STORED = "SELECT event_id, place, salts, digest FROM wide WHERE log_no = ? AND event_id IN (SELECT value FROM carray(?))"
_SQL_INSERT = "INSERT INTO wide VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ROWS = (
    "SELECT e.place, e.us, e.sub, e.received_at_ns, e.body, b.entry FROM wide e LEFT JOIN wide b ON b.place = e.place - 1"
    " WHERE e.log_no = ?1 AND "
)
_BY_TIME = " ORDER BY e.us DESC, e.sub DESC, e.place DESC LIMIT ?3"
#: The plus signs keep the planner from walking the whole record by time in search of a few events.
_FEW_BY_TIME = " ORDER BY +e.us DESC, +e.sub DESC, +e.place DESC LIMIT ?3"
_SQL_ASK = {
    "session": _ROWS + "e.session_id = ?2" + _FEW_BY_TIME,
    "trace": _ROWS + "e.trace_id = ?2" + _FEW_BY_TIME,
    "span": _ROWS + "e.span_id = ?2" + _FEW_BY_TIME,
    "agent": _ROWS + "e.agent_id = ?2" + _BY_TIME,
    "type": _ROWS + "e.type = ?2" + _BY_TIME,
    "newest": _ROWS + "?2 = 0" + _BY_TIME,
}


class WideRows(RowLayout):
    """One row per event."""

    # The index by time carries the small columns, so that a filter by type does not visit the rows.
    schema = """
    CREATE TABLE wide (
        place INTEGER PRIMARY KEY, log_no INTEGER NOT NULL, event_id TEXT NOT NULL, session_id TEXT NOT NULL,
        trace_id TEXT NOT NULL, span_id TEXT NOT NULL, agent_id TEXT NOT NULL, type INTEGER NOT NULL, status INTEGER NOT NULL,
        severity INTEGER NOT NULL, us INTEGER NOT NULL, sub INTEGER NOT NULL, received_at_ns INTEGER NOT NULL,
        tags TEXT NOT NULL, envelope_bytes INTEGER NOT NULL, salts BLOB NOT NULL, digest BLOB NOT NULL, entry BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX wide_event ON wide (log_no, event_id);
    CREATE INDEX wide_session ON wide (log_no, session_id);
    CREATE INDEX wide_trace ON wide (log_no, trace_id);
    CREATE INDEX wide_span ON wide (log_no, span_id);
    CREATE INDEX wide_agent ON wide (log_no, agent_id, us, sub);
    CREATE INDEX wide_time ON wide (log_no, us, sub, type, status, severity);
    """

    def identities(self, log_no: int, records: list[EventRecord]) -> dict[str, Identity]:
        """See `RowLayout.identities`."""
        ids = apsw.carray(tuple(record.event_id for record in records))
        mask = (1 << INDEX_BITS) - 1
        rows = fetch(self.database, _SQL_STORED, (log_no, ids))
        return {found: (place & mask, salts, digest) for found, place, salts, digest in rows}

    def write(
        self, head: LogHead, records: list[EventRecord], commitments: list[tuple[bytes, int]], session_numbers: list[int]
    ) -> None:
        """See `RowLayout.write`. The rows bear the sessions' own ids."""
        del session_numbers
        first = head.log_no << INDEX_BITS | head.next_index
        sealed = seal(head, records, commitments)
        rows = [
            (
                first + at, head.log_no, r.event_id, r.session_id, r.trace_id, r.span_id, r.agent_id, r.type, r.status,
                r.severity, r.timestamp_us, r.timestamp_sub_ns, head.received_at_ns, "\n".join(r.tags), r.envelope_bytes, salts,
                digest, entry, r.stored,
            )
            for at, (r, salts, digest, entry) in enumerate(
                zip(records, sealed.salts, sealed.digests, sealed.entries, strict=True)
            )
        ]  # fmt: skip
        self.database.executemany(_SQL_INSERT, rows)

    def ask(self, question: str, tenant_id: str, project_id: str, value: str | int) -> list[StoredEvent]:
        """See `Layout.ask`."""
        head = self.logs.head(self.reader, tenant_id, project_id, create=False)
        if head is None:
            return []
        mask = (1 << INDEX_BITS) - 1
        rows = fetch(self.reader, _SQL_ASK[question], (head.log_no, value, PAGE + 1))
        events: list[StoredEvent] = []
        for place, us, sub, received_at_ns, body, before in rows[:PAGE]:
            position = Position(us, sub, head.log_id, place & mask)
            events.append(StoredEvent(position, head.origin, body, received_at_ns, leaf_hash(before) if before else b""))
        return events
