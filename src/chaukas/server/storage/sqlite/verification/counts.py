"""Counts of events by hour and type, added up again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import apsw

from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.verification.entries import Block
from chaukas.server.storage.sqlite.verification.findings import Findings

__all__ = ["EventCounts"]

_SQL_HOURS = "SELECT hour, type, events FROM hours WHERE log_no = ?"
_SQL_TOTALS = "SELECT type, events FROM totals WHERE log_no = ?"


class EventCounts:
    """Events of one log by hour and type."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int]] = Counter()

    def copy(self) -> EventCounts:
        """An independent copy."""
        other = EventCounts()
        other._counts = self._counts.copy()
        return other

    def add(self, block: Block, hours: list[int]) -> None:
        """Take a block's events."""
        if block.all_events:
            self._counts.update(zip(hours, [event.type for event in block.events if event], strict=True))
        else:
            self._counts.update((hour, event.type) for hour, event in zip(hours, block.events, strict=True) if event)

    def settle(self, database: apsw.Connection, log_no: int, origin: str, findings: Findings) -> None:
        """Compare with the rows of the log."""
        kept = {(hour, type_): events for hour, type_, events in fetch(database, _SQL_HOURS, (log_no,))}
        for hour, type_ in sorted(key for key in kept.keys() | self._counts.keys() if kept.get(key) != self._counts.get(key)):
            findings.add("hours", f"the count of type {type_} in hour {hour} is not that of the events", origin)
        totals: Counter[int] = Counter()
        for (_, type_), events in self._counts.items():
            totals[type_] += events
        kept_totals = dict(fetch(database, _SQL_TOTALS, (log_no,)))
        for type_ in sorted(key for key in kept_totals.keys() | totals.keys() if kept_totals.get(key) != totals.get(key)):
            findings.add("totals", f"the count of type {type_} is not that of the events", origin)

    def as_json(self) -> list[list[int]]:
        """For the position of a verification that goes on later."""
        return [[*key, count] for key, count in self._counts.items()]

    @classmethod
    def from_json(cls, value: list[Any]) -> EventCounts:
        """What `as_json` wrote."""
        counts = cls()
        counts._counts = Counter({(hour, type_): count for hour, type_, count in value})
        return counts
