"""The memory store's answers about sessions: everything gathered anew for each question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from chaukas.server.storage.contract import SessionPlace, SessionRow
from chaukas.server.testing.memory_journal import KeptEvent

__all__ = ["sessions_of"]


def sessions_of(events: Iterable[KeptEvent], limit: int, after: SessionPlace | None, session_id: str | None) -> list[SessionRow]:
    """The sessions of some events, newest first, behind a place."""
    by_session: defaultdict[tuple[int, str], list[KeptEvent]] = defaultdict(list)
    for event in events:
        if event.record.session_id and session_id in (None, event.record.session_id):
            by_session[event.log_id, event.record.session_id].append(event)
    rows = [_row(members) for members in by_session.values()]
    rows.sort(key=lambda row: row.place, reverse=True)
    return [row for row in rows if after is None or row.place < after][:limit]


def _row(members: list[KeptEvent]) -> SessionRow:
    first = members[0]
    times = [event.record.timestamp_us for event in members]
    place = SessionPlace(max(times), first.log_id, first.record.session_id)
    return SessionRow(place, first.record.tenant_id, first.record.project_id, len(members), min(times))
