"""Two stores side by side, a driver and the oracle: everything is done to both, and both must say the same."""
# ruff: noqa: S101 - comparing is what it is for

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chaukas.server.errors import OverloadedError
from chaukas.server.storage.contract import (
    EventFilter,
    EventRecord,
    EventStats,
    Outcome,
    Page,
    PageRequest,
    QuarantineItem,
    QuarantineRow,
    Store,
)
from chaukas.server.testing.memory_store import MemoryStore

__all__ = ["StorePair"]


class StorePair:
    """Compares a driver with the oracle in all that does not depend on clocks, salts and the form of quarantine ids.

    Each method does the same to both, raises `AssertionError` where they differ, and returns the driver's answer. The driver
    may be replaced by another store over the same data (`subject`), as after reopening.
    """

    def __init__(self, subject: Store, oracle: MemoryStore) -> None:
        self.subject = subject
        self.oracle = oracle
        #: The driver's quarantine id for each of the oracle's, and the call that brought the row first.
        self._quarantine_ids: dict[str, str] = {}
        self._call_of_row: dict[str, int] = {}
        self._calls = 0

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome] | None:
        """The outcomes, or None when both raised `OverloadedError`."""
        expected, actual = await _outcomes(self.oracle, items), await _outcomes(self.subject, items)
        if expected is None or actual is None:
            assert expected == actual, f"only one of the two had no room in its quarantine: {expected} / {actual}"
            return None
        assert len(actual) == len(expected)
        self._calls += 1
        for ours, theirs in zip(expected, actual, strict=True):
            assert replace(theirs, reason="", quarantine_id="") == replace(ours, reason="", quarantine_id="")
            assert bool(theirs.reason) == bool(ours.reason)
            assert bool(theirs.quarantine_id) == bool(ours.quarantine_id)
            if ours.quarantine_id:
                assert self._quarantine_ids.setdefault(ours.quarantine_id, theirs.quarantine_id) == theirs.quarantine_id
                self._call_of_row.setdefault(theirs.quarantine_id, self._calls)
        return actual

    async def query(self, request: PageRequest) -> Page:
        """One page."""
        expected, actual = await self.oracle.query(request), await self.subject.query(request)
        assert [event.position for event in actual.events] == [event.position for event in expected.events], request
        assert actual.more == expected.more, request
        for ours, theirs in zip(expected.events, actual.events, strict=True):
            assert (theirs.origin, theirs.stored) == (ours.origin, ours.stored)
            assert len(theirs.leaf_hash_before) == len(ours.leaf_hash_before)
        return actual

    async def walk(self, request: PageRequest) -> int:
        """All pages from the given one on; the number of events on them."""
        total = 0
        while True:
            page = await self.query(request)
            total += len(page.events)
            if not page.more:
                return total
            request = replace(request, after=page.events[-1].position)

    async def count(self, wanted: EventFilter) -> int:
        """The number of matches."""
        expected, actual = await self.oracle.count(wanted), await self.subject.count(wanted)
        assert actual == expected, wanted
        return actual

    async def stats(self, tenant_id: str | None, project_id: str | None, start_ns: int | None, end_ns: int | None) -> EventStats:
        """The statistics."""
        asked = (tenant_id, project_id, start_ns, end_ns)
        expected, actual = await self.oracle.stats(*asked), await self.subject.stats(*asked)
        assert actual == expected, asked
        return actual

    async def quarantine(self, tenant_id: str | None = None, project_id: str | None = None) -> list[QuarantineRow]:
        """The quarantine of a scope: rows, their age, and their bytes."""
        expected = await self.oracle.quarantine_list(tenant_id, project_id, 10_000)
        actual = await self.subject.quarantine_list(tenant_id, project_id, 10_000)
        rows = {row.quarantine_id: _comparable(row) for row in actual}
        assert len(rows) == len(actual)
        assert rows == {self._quarantine_ids[row.quarantine_id]: _comparable(self._translated(row)) for row in expected}
        # Oldest first; rows of one call are equally old.
        ages = [self._call_of_row[row.quarantine_id] for row in actual]
        assert ages == sorted(ages)
        for ours in expected:
            whole = await self.oracle.quarantine_get(ours.quarantine_id)
            found = await self.subject.quarantine_get(self._quarantine_ids[ours.quarantine_id])
            assert whole is not None
            assert found is not None
            assert _comparable(found) == _comparable(self._translated(whole))
        return actual

    async def remove(self, place: int) -> bool:
        """Forget the row at this place (modulo the number of rows) of the whole quarantine; False when it is empty."""
        rows = await self.oracle.quarantine_list(None, None, 10_000)
        if not rows:
            return False
        ours = rows[place % len(rows)].quarantine_id
        theirs = self._quarantine_ids.pop(ours)
        assert await self.oracle.quarantine_remove(ours)
        assert await self.subject.quarantine_remove(theirs)
        del self._call_of_row[theirs]
        return True

    async def info(self) -> None:
        """The figures, but for the driver's name."""
        expected, actual = await self.oracle.info(), await self.subject.info()
        assert replace(actual, driver="") == replace(expected, driver="")

    def _translated(self, row: QuarantineRow) -> QuarantineRow:
        return replace(row, quarantine_id=self._quarantine_ids[row.quarantine_id])


def _comparable(row: QuarantineRow) -> QuarantineRow:
    """Without what differs by right: the clock, and the driver's own words for the reason of a rejection."""
    assert row.first_received_at_ns <= row.last_received_at_ns
    assert any(row.reasons)
    return replace(row, first_received_at_ns=0, last_received_at_ns=0, reasons=())


async def _outcomes(store: Store, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome] | None:
    try:
        return await store.append(items)
    except OverloadedError:
        return None
