"""The suite's part on sessions fails drivers that break what it checks: a test that cannot fail is a defect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaukas.server.errors import ChaukasError
from chaukas.server.testing import MemoryStore
from chaukas.server.testing.conformance import StoreConformance


class PagesFromTheSamePlace(MemoryStore):
    """Begins the next page with the last session of this one."""

    async def sessions(self, tenant_id, project_id, limit, after=None, session_id=None):
        if after is not None:
            after = replace(after, session_id=after.session_id + "\0")
        return await super().sessions(tenant_id, project_id, limit, after, session_id)


class OrdersByTimeAlone(MemoryStore):
    """Leaves sessions that end at one moment in the order of their first event."""

    async def sessions(self, tenant_id, project_id, limit, after=None, session_id=None):
        rows = await super().sessions(tenant_id, project_id, 10_000, after, session_id)
        rows.reverse()
        return sorted(rows, key=lambda row: -row.place.last_us)[:limit]


class ForgetsTheScope(MemoryStore):
    async def sessions(self, tenant_id, project_id, limit, after=None, session_id=None):  # noqa: ARG002 - that is the fault
        return await super().sessions(tenant_id, None, limit, after, session_id)

    async def events_with_id(self, tenant_id, project_id, event_id):  # noqa: ARG002 - that is the fault
        return await super().events_with_id(None, project_id, event_id)


class ForgetsTheCase(MemoryStore):
    async def sessions(self, tenant_id, project_id, limit, after=None, session_id=None):
        rows = await super().sessions(tenant_id, project_id, 10_000, after)
        wanted = None if session_id is None else session_id.lower()
        return [row for row in rows if wanted in (None, row.place.session_id.lower())][:limit]


class CountsFromTheFirstCommit(MemoryStore):
    """Keeps what it knew of a session when it was listed first."""

    async def append(self, items):
        self.known = {row.place.session_id: row for row in await super().sessions(None, None, 10_000)}
        return await super().append(items)

    async def sessions(self, tenant_id, project_id, limit, after=None, session_id=None):
        rows = await super().sessions(tenant_id, project_id, limit, after, session_id)
        return [self.known.get(row.place.session_id, row) if self._serving and hasattr(self, "known") else row for row in rows]


FAULTS = [
    (PagesFromTheSamePlace, "a_walk_meets_every_session_once"),
    (OrdersByTimeAlone, "sessions_come_newest_first_with_exact_figures"),
    (ForgetsTheScope, "sessions_come_newest_first_with_exact_figures"),
    (ForgetsTheScope, "an_event_is_found_by_its_id_in_every_log"),
    (ForgetsTheCase, "a_session_is_found_by_its_id_in_every_log"),
    (CountsFromTheFirstCommit, "later_events_move_a_session_to_the_front"),
]


@pytest.mark.parametrize(("faulty", "name"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_the_suite_finds(tmp_path, faulty, name):
    """A driver with this fault fails the test of the suite that is named beside it."""

    def make(*, quarantine_items_max=1_000, quarantine_bytes_max=1 << 26):
        return faulty(tmp_path, "chaukas.localhost", quarantine_items_max, quarantine_bytes_max)

    test = getattr(StoreConformance(), f"test_{name}")
    with pytest.raises((AssertionError, ChaukasError, ExceptionGroup, pytest.fail.Exception)):
        # A walk that never ends is a failure as well.
        test(make)
