"""The suite's part on arrivals fails drivers that break what it checks: a test that cannot fail is a defect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaukas.server.errors import ChaukasError, NotFoundError
from chaukas.server.storage.contract import EventFilter
from chaukas.server.testing import MemoryStore
from chaukas.server.testing.conformance import StoreConformance


class BeginsNewLogsAtTheirEnd(MemoryStore):
    """Takes a log that appeared meanwhile for one that was read."""

    async def arrivals(self, filter, after, limit, bytes_max):
        if after is not None:
            after = {**(await super().arrivals(filter, None, 1, 1)).after, **after}
        return await super().arrivals(filter, after, limit, bytes_max)


class PassesWhatIsCutOff(MemoryStore):
    """Moves behind everything, though the answer was full before."""

    async def arrivals(self, filter, after, limit, bytes_max):
        found = await super().arrivals(filter, after, limit, bytes_max)
        end = await super().arrivals(filter, None, 1, 1)
        return replace(found, after=end.after) if after is not None else found


class LooksAgain(MemoryStore):
    """Moves behind matches only."""

    async def arrivals(self, filter, after, limit, bytes_max):
        found = await super().arrivals(filter, after, limit, bytes_max)
        if after is None:
            return found
        passed = {event.position.log_id: event.position.index + 1 for event in found.events}
        return replace(found, after={**after, **passed})


class ForgetsTheFilter(MemoryStore):
    async def arrivals(self, filter, after, limit, bytes_max):
        return await super().arrivals(EventFilter(filter.tenant_id, filter.project_id), after, limit, bytes_max)


class ChangesItsArgument(MemoryStore):
    async def arrivals(self, filter, after, limit, bytes_max):
        found = await super().arrivals(filter, after, limit, bytes_max)
        if after is not None:
            after.update(found.after)
        return found


class OrdersByTheClientsTime(MemoryStore):
    async def arrivals(self, filter, after, limit, bytes_max):
        found = await super().arrivals(filter, after, limit, bytes_max)
        return replace(found, events=sorted(found.events, key=lambda event: event.position))


class TrustsEveryPosition(MemoryStore):
    async def arrivals(self, filter, after, limit, bytes_max):
        try:
            return await super().arrivals(filter, after, limit, bytes_max)
        except NotFoundError:
            return await super().arrivals(filter, None, limit, bytes_max)


class LeavesOutThePoint(MemoryStore):
    async def arrivals_at(self, tenant_id, project_id, point):
        return await super().arrivals_at(tenant_id, project_id, replace(point, next_index=point.next_index - 1))


class CountsFromOne(MemoryStore):
    async def arrivals(self, filter, after, limit, bytes_max):
        found = await super().arrivals(filter, after, limit, bytes_max)
        return replace(found, ranks=[rank + 1 for rank in found.ranks])


FAULTS = [
    (BeginsNewLogsAtTheirEnd, "the_end_has_nothing_behind_it"),
    (BeginsNewLogsAtTheirEnd, "positions_outlive_the_process"),
    (PassesWhatIsCutOff, "a_walk_brings_everything_once_in_order"),
    (PassesWhatIsCutOff, "a_follower_beside_writers_misses_nothing"),
    (LooksAgain, "a_filter_skips_but_passes"),
    (ForgetsTheFilter, "a_filter_skips_but_passes"),
    (ChangesItsArgument, "the_end_has_nothing_behind_it"),
    (OrdersByTheClientsTime, "a_walk_brings_everything_once_in_order"),
    (TrustsEveryPosition, "a_foreign_position_is_refused"),
    (LeavesOutThePoint, "a_point_is_a_position"),
    (CountsFromOne, "a_point_is_a_position"),
]


@pytest.mark.parametrize(("faulty", "name"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_the_suite_finds(tmp_path, faulty, name):
    """A driver with this fault fails the test of the suite that is named beside it."""

    def make(*, quarantine_items_max=1_000, quarantine_bytes_max=1 << 26):
        return faulty(tmp_path, "chaukas.localhost", quarantine_items_max, quarantine_bytes_max)

    test = getattr(StoreConformance(), f"test_{name}")
    with pytest.raises((AssertionError, ChaukasError, ExceptionGroup, pytest.fail.Exception)):
        test(make)
