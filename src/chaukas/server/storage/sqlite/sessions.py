"""Session rows and the rollups that statistics read, kept in the transaction of the events.

A session all of whose events lie in one hour is counted in `session_hours` of that hour; one that touches several hours has a
row in `session_spans` for each of them. So a range of whole hours is answered by a sum over `session_hours` and a distinct
count over the (usually few) spans, exactly. Hours are numbered from 1970 by the client's timestamp (floor).
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

import apsw

from chaukas.server.storage.entry import SALT_BYTES, commitment
from chaukas.server.storage.sqlite.connection import execute_rows, fetch

__all__ = ["HOUR_US", "Rollup", "SessionState", "Sessions"]

HOUR_US = 3_600_000_000
#: Sessions remembered between commits; a session that was forgotten is read again.
_REMEMBERED_MAX = 20_000

#: Ids are text with any code point, NUL included: they travel as UTF-8 bytes, not as C strings.
_SQL_FIND = (
    "SELECT session_id, session_no, salt, events, first_us, last_us, hour FROM sessions"
    " WHERE log_no = ? AND session_id IN (SELECT CAST(value AS TEXT) FROM carray(?))"
)
_SQL_NEXT = "SELECT coalesce(max(session_no), 0) + 1 FROM sessions"
_SQL_INSERT = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SQL_UPDATE = (
    "UPDATE sessions SET events = j.value ->> 1, first_us = j.value ->> 2, last_us = j.value ->> 3, hour = j.value ->> 4"
    " FROM json_each(?) j WHERE session_no = j.value ->> 0"
)
_SQL_SPAN = "INSERT OR IGNORE INTO session_spans SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)"
_SQL_SESSION_HOUR = (
    "INSERT INTO session_hours SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true"
    " ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions, duration_us = duration_us + excluded.duration_us"
)
_SQL_HOUR = (
    "INSERT INTO hours SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true"
    " ON CONFLICT DO UPDATE SET events = events + excluded.events"
)
_SQL_TOTAL = (
    "INSERT INTO totals SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true"
    " ON CONFLICT DO UPDATE SET events = events + excluded.events"
)


@dataclass(slots=True)
class SessionState:
    """A session as the writer knows it, and what the running transaction adds to it."""

    session_no: int
    log_no: int
    session_id: str
    salt: bytes
    commitment: bytes
    events: int
    first_us: int
    last_us: int
    #: The only hour of the session so far; None when it has several.
    hour: int | None
    is_new: bool
    #: Hours touched by the running transaction; empty when it does not touch the session.
    touched: set[int] = field(default_factory=set)
    #: First and last timestamp before the running transaction.
    before: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Rollup:
    """What a transaction adds to one log's counts."""

    log_no: int
    by_hour_and_type: Counter[tuple[int, int]] = field(default_factory=Counter)
    new_sessions: int = 0
    added_duration_us: int = 0


class Sessions:
    """The writer's view of all sessions."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], SessionState] = {}
        self._touched: list[SessionState] = []
        self._next_no = 1

    def recover(self, database: apsw.Connection) -> None:
        """Forget everything that memory holds and read the next free number."""
        self._known.clear()
        self._touched.clear()
        ((self._next_no,),) = fetch(database, _SQL_NEXT)

    def load(self, database: apsw.Connection, log_no: int, session_ids: set[str]) -> None:
        """Read those sessions that memory does not know, in one statement; before they are touched."""
        known = self._known
        unknown = tuple(session_id.encode() for session_id in session_ids if session_id and (log_no, session_id) not in known)
        if not unknown:
            return
        for row in fetch(database, _SQL_FIND, (log_no, apsw.carray(unknown))):
            session_id, number, salt, events, first_us, last_us, hour = row
            hashed = commitment(salt, session_id.encode())
            known[log_no, session_id] = SessionState(
                number, log_no, session_id, salt, hashed, events, first_us, last_us, hour, is_new=False
            )

    def touch(self, log_no: int, session_id: str, timestamps_us: list[int], hours: list[int]) -> SessionState:
        """The session of events that are being appended, a new one if `load` found none.

        The caller takes sequences from `events` and adds their number.
        """
        state = self._known.get((log_no, session_id))
        if state is None:
            state = self._known[log_no, session_id] = self._create(log_no, session_id, timestamps_us[0])
        if not state.touched:
            state.before = (state.first_us, state.last_us)
            self._touched.append(state)
        state.touched.update(hours)
        state.first_us = min(state.first_us, *timestamps_us)
        state.last_us = max(state.last_us, *timestamps_us)
        return state

    def _create(self, log_no: int, session_id: str, timestamp_us: int) -> SessionState:
        salt = os.urandom(SALT_BYTES)
        number = self._next_no
        self._next_no += 1
        hashed = commitment(salt, session_id.encode())
        return SessionState(number, log_no, session_id, salt, hashed, 0, timestamp_us, timestamp_us, None, is_new=True)

    def write(self, database: apsw.Connection, rollups: dict[int, Rollup]) -> None:
        """Write the touched sessions and all rollups of the transaction."""
        inserts: list[tuple[object, ...]] = []
        updates: list[tuple[int | None, ...]] = []
        spans: list[tuple[int, int, int]] = []
        session_hours: Counter[tuple[int, int]] = Counter()
        durations: Counter[tuple[int, int]] = Counter()
        for state in self._touched:
            self._roll(state, rollups[state.log_no], session_hours, durations, spans)
            if state.is_new:
                inserts.append((
                    state.session_no, state.log_no, state.session_id, state.salt, state.events, state.first_us, state.last_us,
                    state.hour,
                ))  # fmt: skip
            else:
                updates.append((state.session_no, state.events, state.first_us, state.last_us, state.hour))
            state.is_new = False
            state.touched = set()
        self._touched.clear()
        if len(self._known) > _REMEMBERED_MAX:
            self._known.clear()
        # Ids are text with any code point, NUL included: they are bound, not written as JSON.
        database.executemany(_SQL_INSERT, inserts)
        execute_rows(database, _SQL_UPDATE, updates)
        execute_rows(database, _SQL_SPAN, spans)
        changed = session_hours.keys() | durations.keys()
        execute_rows(database, _SQL_SESSION_HOUR, [(*key, session_hours[key], durations[key]) for key in sorted(changed)])
        self._write_counts(database, rollups)

    @staticmethod
    def _roll(
        state: SessionState,
        rollup: Rollup,
        session_hours: Counter[tuple[int, int]],
        durations: Counter[tuple[int, int]],
        spans: list[tuple[int, int, int]],
    ) -> None:
        duration_before = 0 if state.is_new else state.before[1] - state.before[0]
        duration = state.last_us - state.first_us
        rollup.added_duration_us += duration - duration_before
        rollup.new_sessions += state.is_new
        hours_before = set() if state.is_new or state.hour is None else {state.hour}
        was_single = bool(hours_before)
        hours = state.touched | hours_before
        if (state.is_new or was_single) and len(hours) == 1:
            key = (state.log_no, next(iter(hours)))
            session_hours[key] += state.is_new
            durations[key] += duration - duration_before
            state.hour = key[1]
            return
        if was_single and state.hour is not None:
            key = (state.log_no, state.hour)
            session_hours[key] -= 1
            durations[key] -= duration_before
        state.hour = None
        spans.extend((state.log_no, hour, state.session_no) for hour in hours)

    @staticmethod
    def _write_counts(database: apsw.Connection, rollups: dict[int, Rollup]) -> None:
        hours: list[tuple[int, int, int, int]] = []
        totals: Counter[tuple[int, int]] = Counter()
        for log_no, rollup in rollups.items():
            for (hour, type_), events in rollup.by_hour_and_type.items():
                hours.append((log_no, hour, type_, events))
                totals[log_no, type_] += events
        execute_rows(database, _SQL_HOUR, sorted(hours))
        execute_rows(database, _SQL_TOTAL, [(*key, totals[key]) for key in sorted(totals)])
