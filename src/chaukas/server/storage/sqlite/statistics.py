"""Statistics, exact over any range: sums over rollups for whole hours, columns of blocks for the ragged edges.

Events and sessions of the whole hours inside a range come from `hours`, `session_hours` and `session_spans`; for the part of
an hour at either end the blocks that overlap it are read. Sessions are counted once: those of one hour only (`session_hours`)
cannot meet any other hour, all others are gathered by number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import apsw
from apsw import carray

from chaukas.server.storage.contract import EventFilter, EventStats
from chaukas.server.storage.sqlite.blocks import BLOCK_BITS, BlockReader
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.reader import logs_in_scope
from chaukas.server.storage.sqlite.sessions import HOUR_US

__all__ = ["Statistics"]

_SQL_TOTALS = "SELECT type, events FROM totals WHERE log_no = ?"
_SQL_ALL_SESSIONS = "SELECT sessions, session_duration_s, session_duration_us FROM logs WHERE log_no = ?"
_SQL_HOURS = "SELECT type, sum(events) FROM hours WHERE log_no = ? AND hour >= ? AND hour < ? GROUP BY type"
_SQL_SESSION_HOURS = (
    "SELECT coalesce(sum(sessions), 0), coalesce(sum(duration_us), 0) FROM session_hours"
    " WHERE log_no = ? AND hour >= ? AND hour < ?"
)
_SQL_SPANS = "SELECT DISTINCT session_no FROM session_spans WHERE log_no = ? AND hour >= ? AND hour < ?"
_SQL_DURATIONS = (
    "SELECT coalesce(sum((last_us - first_us) / 1000000), 0), coalesce(sum((last_us - first_us) % 1000000), 0)"
    " FROM sessions WHERE session_no IN carray(?)"
)
_SQL_BLOCKS = "SELECT place, min_us, max_us FROM blocks WHERE place BETWEEN ? AND ? AND max_us >= ? AND min_us <= ?"
_SQL_HOUR_RANGE = "SELECT min(hour), max(hour) + 1 FROM hours WHERE log_no = ?"
_HOUR_NS = HOUR_US * 1000


class Statistics:
    """One thread's reader of statistics."""

    def __init__(self, database: apsw.Connection) -> None:
        self._database = database
        self._blocks = BlockReader()

    def stats(self, tenant_id: str | None, project_id: str | None, start_ns: int | None, end_ns: int | None) -> EventStats:
        """See `StatsReader.stats`."""
        self._database.execute("BEGIN")
        try:
            result = EventStats()
            by_type: Counter[int] = Counter()
            for log in logs_in_scope(self._database, tenant_id, project_id):
                if start_ns is None and end_ns is None:
                    self._whole_log(log.log_no, result, by_type)
                else:
                    self._range_of_log(log.log_no, start_ns, end_ns, result, by_type)
            result.events_by_type = {type_: events for type_, events in sorted(by_type.items()) if events}
            result.total_events = sum(by_type.values())
            return result
        finally:
            self._database.execute("ROLLBACK")

    def _whole_log(self, log_no: int, result: EventStats, by_type: Counter[int]) -> None:
        for type_, events in fetch(self._database, _SQL_TOTALS, (log_no,)):
            by_type[type_] += events
        for sessions, duration_s, duration_us in fetch(self._database, _SQL_ALL_SESSIONS, (log_no,)):
            result.total_sessions += sessions
            result.session_duration_us_sum += duration_s * 1_000_000 + duration_us

    def _range_of_log(
        self, log_no: int, start_ns: int | None, end_ns: int | None, result: EventStats, by_type: Counter[int]
    ) -> None:
        ((first_hour, end_hour),) = fetch(self._database, _SQL_HOUR_RANGE, (log_no,))
        if first_hour is None:
            return
        start = max(first_hour * _HOUR_NS, start_ns) if start_ns is not None else first_hour * _HOUR_NS
        end = min(end_hour * _HOUR_NS, end_ns) if end_ns is not None else end_hour * _HOUR_NS
        if start >= end:
            return
        whole_from, whole_until = -(-start // _HOUR_NS), end // _HOUR_NS
        sessions: set[int] = set()
        if whole_from < whole_until:
            self._whole_hours(log_no, whole_from, whole_until, result, by_type, sessions)
            edges = [(start, whole_from * _HOUR_NS), (whole_until * _HOUR_NS, end)]
        else:
            edges = [(start, end)]
        for edge_start, edge_end in edges:
            if edge_start < edge_end:
                self._edge(log_no, edge_start, edge_end, by_type, sessions)
        result.total_sessions += len(sessions)
        result.session_duration_us_sum += self._durations(sessions)

    def _whole_hours(
        self, log_no: int, first: int, end: int, result: EventStats, by_type: Counter[int], sessions: set[int]
    ) -> None:
        for type_, events in fetch(self._database, _SQL_HOURS, (log_no, first, end)):
            by_type[type_] += events
        for single, duration_us in fetch(self._database, _SQL_SESSION_HOURS, (log_no, first, end)):
            result.total_sessions += single
            result.session_duration_us_sum += duration_us
        sessions.update(number for (number,) in fetch(self._database, _SQL_SPANS, (log_no, first, end)))

    def _edge(self, log_no: int, start_ns: int, end_ns: int, by_type: Counter[int], sessions: set[int]) -> None:
        """A part of one hour, from the columns. Its single-hour sessions are not among the whole hours' ones."""
        first_place = log_no << BLOCK_BITS
        earliest, latest = start_ns // 1000, (end_ns - 1) // 1000
        wanted = EventFilter(start_ns=start_ns, end_ns=end_ns)
        last_place = first_place | ((1 << BLOCK_BITS) - 1)
        for place, min_us, max_us in fetch(self._database, _SQL_BLOCKS, (first_place, last_place, earliest, latest)):
            for columns in self._blocks.columns_of(self._database, log_no, place - first_place):
                if min_us > earliest and max_us < latest:
                    by_type.update(columns.ints("type"))
                    sessions.update(columns.session_numbers())
                    continue
                positions = columns.select(wanted, None)
                types, session, numbers = columns.ints("type"), columns.ints("session"), columns.session_numbers()
                by_type.update(types[at] for at in positions)
                sessions.update(numbers[session[at]] for at in positions)
        sessions.discard(0)

    def _durations(self, sessions: Iterable[int]) -> int:
        numbers = b"".join(number.to_bytes(8, "little") for number in sessions)
        if not numbers:
            return 0
        ((duration_s, duration_us),) = fetch(self._database, _SQL_DURATIONS, (carray(memoryview(numbers).cast("q")),))
        return int(duration_s * 1_000_000 + duration_us)
