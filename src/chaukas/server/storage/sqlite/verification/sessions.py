"""Sessions: sequences dense in the order of the log, one salt each, and everything that is counted of them.

What is known of a session stands in arrays by its number, 40 bytes for each, so that millions of them fit into memory.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections import Counter
from itertools import groupby
from typing import Any

import apsw

from chaukas.server.storage.entry import SALT_BYTES, commitment
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.sessions import HOUR_US
from chaukas.server.storage.sqlite.verification.entries import Block
from chaukas.server.storage.sqlite.verification.findings import Findings

__all__ = ["SessionLedger"]

_REMEMBERED_MAX = 20_000
#: In place of an hour: several of them; they stand in a set of their own.
_SEVERAL = 1 << 62
_COLUMNS = ("logs", "events", "first_us", "last_us", "hours")

_SQL_FIND = (
    "SELECT session_id, session_no, salt FROM sessions"
    " WHERE log_no = ? AND session_id IN (SELECT CAST(value AS TEXT) FROM carray(?))"
)
_SQL_COUNT = "SELECT count(*) FROM sessions"
_SQL_ALL = "SELECT session_no, log_no, session_id, salt, events, first_us, last_us, hour FROM sessions ORDER BY session_no"
_SQL_SESSION_HOURS = "SELECT log_no, hour, sessions, duration_us FROM session_hours WHERE sessions <> 0 OR duration_us <> 0"
_SQL_SPANS = "SELECT log_no, hour, session_no FROM session_spans"
_SQL_LOG_SUMS = "SELECT log_no, sessions, session_duration_s, session_duration_us FROM logs"


class SessionLedger:
    """All sessions of the record, as the entries and events that were read say."""

    def __init__(self) -> None:
        self._logs, self._events, self._first_us, self._last_us, self._hours = (array("q", [0]) for _ in _COLUMNS)
        self._spans: set[tuple[int, int]] = set()
        #: (log_no, session_id) -> number and commitment, of sessions seen lately.
        self._known: dict[tuple[int, str], tuple[int, bytes]] = {}

    def copy(self) -> SessionLedger:
        """An independent copy."""
        other = SessionLedger()
        for name in _COLUMNS:
            setattr(other, f"_{name}", array("q", getattr(self, f"_{name}")))
        other._spans = set(self._spans)
        return other

    def add(
        self, database: apsw.Connection, log_no: int, origin: str, block: Block, hours: list[int], findings: Findings
    ) -> list[int]:
        """Take a block's events; returns the number of each entry's session, 0 for none."""
        ids = [event.session_id if event else "" for event in block.events]
        self._load(database, log_no, set(ids))
        numbers: list[int] = []
        start = 0
        for session_id, run in groupby(ids):
            end = start + sum(1 for _ in run)
            numbers += [self._add_run(log_no, origin, session_id, block, hours, start, end, findings)] * (end - start)
            start = end
        return numbers

    def _load(self, database: apsw.Connection, log_no: int, session_ids: set[str]) -> None:
        if len(self._known) > _REMEMBERED_MAX:
            self._known.clear()
        unknown = tuple(each.encode() for each in session_ids if each and (log_no, each) not in self._known)
        if not unknown:
            return
        ((count,),) = fetch(database, _SQL_COUNT)
        for session_id, number, salt in fetch(database, _SQL_FIND, (log_no, apsw.carray(unknown))):
            # Numbers are dense; another one would only make the arrays large.
            if 0 < number <= count:
                self._known[log_no, session_id] = number, commitment(salt, session_id.encode())
                missing = number + 1 - len(self._events)
                if missing > 0:
                    for name in _COLUMNS:
                        getattr(self, f"_{name}").frombytes(bytes(8 * missing))

    def _add_run(
        self, log_no: int, origin: str, session_id: str, block: Block, hours: list[int], start: int, end: int, findings: Findings
    ) -> int:
        """Neighbouring entries of one session."""
        commitments, sequences = block.session_commitments[start:end], block.session_sequences[start:end]
        index, length = block.first_index + start, end - start
        if not session_id:
            if commitments != [None] * length:
                findings.add("segments", "the entry names a session, and the event does not", origin, index)
            return 0
        known = self._known.get((log_no, session_id))
        if known is None:
            findings.add("sessions", "the session of an event is missing", origin, index)
            return 0
        number, hashed = known
        held = self._events[number]
        if commitments != [hashed] * length:
            findings.add("sessions", "the entry does not commit to the session's id with its salt", origin, index)
        if sequences != list(range(held, held + length)):
            findings.add("segments", "the sequence in the session is not dense", origin, index)
        times = [event.us for event in block.events[start:end] if event]
        first, last = min(times), max(times)
        touched = set(hours[start:end])
        if not held:
            self._logs[number] = log_no
            self._first_us[number], self._last_us[number] = first, last
            self._hours[number] = next(iter(touched))
        else:
            self._first_us[number] = min(first, self._first_us[number])
            self._last_us[number] = max(last, self._last_us[number])
        self._events[number] = held + length
        hour = self._hours[number]
        if touched != {hour}:
            if hour != _SEVERAL:
                self._spans.add((number, hour))
                self._hours[number] = _SEVERAL
            self._spans.update((number, each) for each in touched)
        return number

    def settle(self, database: apsw.Connection, origins: dict[int, str], unread: set[int], findings: Findings) -> None:
        """Compare with the rows. `origins` are the logs that were read whole; `unread` could not be, and are left out."""
        rows = 0
        for number, log_no, session_id, salt, *counts, hour in database.execute(_SQL_ALL):
            if log_no in unread:
                continue
            rows += 1
            origin = origins.get(log_no, "")
            made = [0, 0, 0, 0]
            if 0 < number < len(self._events):
                made = [self._logs[number], self._events[number], self._first_us[number], self._last_us[number]]
            if not made[1] or made[0] != log_no:
                findings.add("sessions", f"session {number} has no events", origin)
            elif made[1:] != counts or (_SEVERAL if hour is None else hour) != self._hours[number]:
                findings.add("sessions", f"events or times of session {number} are not those of its events", origin)
            elif len(salt) != SALT_BYTES or not session_id:
                findings.add("sessions", f"session {number} has no id or no salt of {SALT_BYTES} bytes", origin)
        held = sum(1 for number, log_no in enumerate(self._logs) if self._events[number] and log_no in origins)
        if rows < held:
            findings.add("sessions", f"{held - rows} sessions are missing", count=held - rows)
        self._settle_hours(database, origins, unread, findings)

    def _settle_hours(self, database: apsw.Connection, origins: dict[int, str], unread: set[int], findings: Findings) -> None:
        sessions: Counter[tuple[int, int]] = Counter()
        durations: Counter[tuple[int, int]] = Counter()
        of_log: Counter[int] = Counter()
        duration_of_log: Counter[int] = Counter()
        for number, log_no in enumerate(self._logs):
            if not self._events[number]:
                continue
            duration = self._last_us[number] - self._first_us[number]
            of_log[log_no] += 1
            duration_of_log[log_no] += duration
            if self._hours[number] != _SEVERAL:
                sessions[log_no, self._hours[number]] += 1
                durations[log_no, self._hours[number]] += duration
        made = {(*key, count, durations[key]) for key, count in sessions.items() if key[0] in origins}
        kept = {row for row in fetch(database, _SQL_SESSION_HOURS) if row[0] not in unread}
        _report(findings, "session_hours", made, kept, origins)
        spans = {(self._logs[number], hour, number) for number, hour in self._spans if self._logs[number] in origins}
        kept = {row for row in fetch(database, _SQL_SPANS) if row[0] not in unread}
        _report(findings, "session_spans", spans, kept, origins)
        for log_no, count, seconds, micros in fetch(database, _SQL_LOG_SUMS):
            if log_no in origins and (count, seconds * 1_000_000 + micros) != (of_log[log_no], duration_of_log[log_no]):
                findings.add("logs", "number or durations of the sessions are not those of the sessions", origins[log_no])

    def as_json(self) -> dict[str, Any]:
        """For the position of a verification that goes on later."""
        return {
            **{name: b64encode(getattr(self, f"_{name}").tobytes()).decode() for name in _COLUMNS},
            "spans": sorted(self._spans),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SessionLedger:
        """What `as_json` wrote on the same machine."""
        ledger = cls()
        for name in _COLUMNS:
            setattr(ledger, f"_{name}", array("q", b64decode(value[name])))
        ledger._spans = {(number, hour) for number, hour in value["spans"]}
        return ledger


def _report(findings: Findings, table: str, made: set[Any], kept: set[Any], origins: dict[int, str]) -> None:
    """Rows that are missing or wrong, and rows that should not be there."""
    for row in sorted(made ^ kept):
        hour = row[1] * HOUR_US // 1_000_000
        what = "is missing or wrong" if row in made else "is not what the events say"
        findings.add(table, f"the row of the hour that begins at {hour} s after 1970 {what}", origins.get(row[0], ""))
