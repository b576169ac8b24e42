"""Sessions, newest first, and events by their id.

The rows of `sessions` are kept by the writer (`sessions.py`); listing them reads all rows of the logs in scope and keeps the best
of them: an index over `last_us` would cost the writer a change of a random page per session and commit. SQLite's sorter holds no
more than a page of them.
"""

from __future__ import annotations

import apsw

from chaukas.server.storage.contract import Position, SessionPlace, SessionRow, StoredEvent
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.reader import EventQueries
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["SessionList"]

_COLUMNS = "l.log_id, l.tenant_id, l.project_id, s.session_id, s.events, s.first_us, s.last_us"
_SCOPE = "(?1 IS NULL OR l.tenant_id = ?1) AND (?2 IS NULL OR l.project_id = ?2)"
#: A page of the newest sessions. The condition on `last_us` alone spares the comparison of the rest for nearly every row.
_SQL_LIST = (
    f"SELECT {_COLUMNS} FROM logs l CROSS JOIN sessions s ON s.log_no = l.log_no WHERE {_SCOPE}"  # noqa: S608  constants
    " AND s.last_us <= ?3 AND (s.last_us, l.log_id, s.session_id) < (?3, ?4, ?5)"
    " ORDER BY s.last_us DESC, l.log_id DESC, s.session_id DESC LIMIT ?6"
)
#: The sessions of one id, one per log at most, by the unique index.
_SQL_NAMED = (
    f"SELECT {_COLUMNS} FROM logs l CROSS JOIN sessions s ON s.log_no = l.log_no AND s.session_id = ?7 WHERE {_SCOPE}"  # noqa: S608
    " AND s.last_us <= ?3 AND (s.last_us, l.log_id, s.session_id) < (?3, ?4, ?5)"
    " ORDER BY s.last_us DESC, l.log_id DESC LIMIT ?6"
)
_SQL_LOG = "SELECT log_no, origin FROM logs WHERE log_id = ?"
#: Behind every session: `last_us` of any event is smaller.
_FIRST = ((1 << 63) - 1, (1 << 63) - 1, "")


class SessionList:
    """One thread's reader."""

    def __init__(self, database: apsw.Connection, queries: EventQueries) -> None:
        self._database = database
        self._queries = queries
        self._segments = queries.segments

    def sessions(
        self, tenant_id: str | None, project_id: str | None, limit: int, after: SessionPlace | None, session_id: str | None
    ) -> list[SessionRow]:
        """See `SessionReader.sessions`."""
        place = _FIRST if after is None else (after.last_us, after.log_id, after.session_id)
        given = (tenant_id, project_id, *place, limit)
        rows = (
            fetch(self._database, _SQL_LIST, given)
            if session_id is None
            else fetch(self._database, _SQL_NAMED, (*given, session_id))
        )
        return [
            SessionRow(SessionPlace(last_us, log_id, named), tenant, project, events, first_us)
            for log_id, tenant, project, named, events, first_us, last_us in rows
        ]

    def events_with_id(self, tenant_id: str | None, project_id: str | None, event_id: str) -> list[StoredEvent]:
        """See `SessionReader.events_with_id`."""
        return [self._event(log_id, index) for log_id, index in self._queries.find(tenant_id, project_id, event_id)]

    def _event(self, log_id: int, index: int) -> StoredEvent:
        ((log_no, origin),) = fetch(self._database, _SQL_LOG, (log_id,))
        segment = self._segments.segment_of(self._database, log_no, index)
        at = index - segment.first_index
        stored = segment.bodies[at]
        time = Event.FromString(stored).timestamp
        micros, rest = divmod(time.nanos, 1000)
        position = Position(time.seconds * 1_000_000 + micros, rest, log_id, index)
        return StoredEvent(position, origin, stored, segment.received_at_ns, segment.leaf_before_event(at))
