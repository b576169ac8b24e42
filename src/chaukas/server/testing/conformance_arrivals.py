"""Conformance of `arrivals` and `arrivals_at`: who follows the record gets everything once, in the order in which it came."""
# ruff: noqa: S101 - a suite asserts

from __future__ import annotations

import asyncio

import pytest

from chaukas.server.errors import NotFoundError
from chaukas.server.storage.contract import ArrivalPoint, Arrivals, EventFilter, Store, StoredEvent
from chaukas.server.testing.conformance_case import (
    ANY,
    BASE_NS,
    BYTES_MAX,
    StoreCase,
    StoreFactory,
    event_ids,
    every,
    on_store,
    opened,
)
from chaukas.server.testing.records import make_record
from chaukas.server.text.expression import TextQuery

__all__ = ["ArrivalConformance"]


class ArrivalConformance(StoreCase):
    """What the contract says of `ArrivalReader`."""

    @on_store
    async def test_the_end_has_nothing_behind_it(self, store: Store) -> None:
        """A position asked for now passes over what is stored, and the next call brings exactly what came since."""
        empty = await store.arrivals(ANY, None, 10, BYTES_MAX)
        assert (empty.events, empty.after, empty.point, empty.more) == ([], {}, None, False)
        await store.append([make_record("old"), make_record("old", tenant_id="other")])
        end = await store.arrivals(ANY, None, 10, BYTES_MAX)
        assert (end.events, sorted(end.after.values()), end.more) == ([], [1, 1], False)
        assert end.point is not None
        quiet = await store.arrivals(ANY, end.after, 10, BYTES_MAX)
        assert (quiet.events, quiet.after, quiet.point, quiet.more) == ([], end.after, None, False)
        await store.append([make_record("new"), make_record("new", tenant_id="third")])
        found = await store.arrivals(ANY, end.after, 10, BYTES_MAX)
        assert event_ids(found.events) == ["new", "new"]
        assert sorted(found.after.values()) == [1, 1, 2]
        # The position that was handed in stays as it was.
        assert sorted(end.after.values()) == [1, 1]

    @on_store
    async def test_a_walk_brings_everything_once_in_order(self, store: Store) -> None:
        """Any limit in events and bytes: in each log by index, over the logs by time; ranks count what stands in front."""
        for call in range(12):
            records = [
                make_record(f"e{call}-{n}", project_id=f"p{(call + n) % 5}", text="x" * n, at_ns=BASE_NS - call * 1_000)
                for n in range(7)
            ]
            await store.append(records)
        whole = await walk(store, ANY, {}, limit=1_000)
        assert len(whole) == 84
        order = [(event.received_at_ns, event.position.log_id, event.position.index) for event in whole]
        assert order == sorted(order)
        for limit, bytes_max in ((1, BYTES_MAX), (5, BYTES_MAX), (100, 1), (100, 700)):
            assert await walk(store, ANY, {}, limit=limit, bytes_max=bytes_max) == whole
        every = {event.position.log_id: event.position.index + 1 for event in whole}
        assert (await store.arrivals(ANY, None, 1, 1)).after == every

    @on_store
    async def test_a_filter_skips_but_passes(self, store: Store) -> None:
        """Only matches are answered, in scope and by every field; what does not match is passed and not looked at again."""
        await store.append(
            [
                make_record(
                    f"e{n}",
                    tenant_id=f"t{n % 2}",
                    session_id=f"s{n % 3}",
                    agent_id=f"a{n % 2}",
                    tags=["red"] if n % 5 == 0 else [],
                    text=f"word{n % 7}",
                    type=n % 4,
                    at_ns=BASE_NS - n,
                )
                for n in range(60)
            ]
        )
        for wanted, chosen in (
            (EventFilter(session_id="s1"), range(1, 60, 3)),
            (EventFilter(tenant_id="t1", tags=frozenset({"red"})), range(5, 60, 10)),
            (EventFilter(types=frozenset({3}), agent_id="a1"), range(3, 60, 4)),
            (EventFilter(tenant_id="t0", project_id="shop", start_ns=BASE_NS - 9), range(0, 10, 2)),
            (EventFilter(session_id="s0", text=TextQuery.parse("WORD3")), range(3, 60, 21)),
            (EventFilter(session_id="none"), ()),
            (EventFilter(tenant_id="none"), ()),
        ):
            found = await walk(store, wanted, {}, limit=4)
            assert sorted(event_ids(found)) == sorted(f"e{n}" for n in chosen), wanted
            logs = await store.arrivals(EventFilter(wanted.tenant_id, wanted.project_id), None, 1, 1)
            last = await store.arrivals(wanted, dict.fromkeys(logs.after, 0), 1_000, BYTES_MAX)
            while last.more:
                last = await store.arrivals(wanted, last.after, 1_000, BYTES_MAX)
            assert last.after == logs.after

    @on_store
    async def test_answers_are_those_of_a_query(self, store: Store) -> None:
        """Position, bytes, origin, time and leaf hash of an event are the same whoever asks for it."""
        await store.append([make_record(f"e{n}", project_id=f"p{n % 2}", at_ns=BASE_NS + n * 1_001) for n in range(10)])
        arrived = await walk(store, ANY, {}, limit=3)
        assert sorted(arrived, key=lambda event: event.position) == await every(store)

    @on_store
    async def test_a_point_is_a_position(self, store: Store) -> None:
        """Behind each event of a walk, its point leads back to the same position, and ranks are the sums of positions."""
        for call in range(10):
            await store.append([make_record(f"e{call}-{n}", project_id=f"p{n % 4}") for n in range(call % 3 + 2)])
            # Two commits may share a time only if the clock stands still; a point tells logs apart then, not commits.
            await asyncio.sleep(0.001)
        position = dict.fromkeys((await store.arrivals(ANY, None, 1, 1)).after, 0)
        more, steps = True, 0
        while more:
            found = await store.arrivals(ANY, position, 1, BYTES_MAX)
            ((event,), (rank,)) = found.events, found.ranks
            point = ArrivalPoint(event.received_at_ns, event.position.log_id, event.position.index + 1)
            assert point == found.point
            assert await store.arrivals_at(None, None, point) == found.after
            assert rank == sum(found.after.values()) == steps + 1
            position, more, steps = found.after, found.more, steps + 1
        assert steps == await store.count(ANY)
        assert set((await store.arrivals_at(None, None, ArrivalPoint(0, 0, 0))).values()) == {0}
        assert await store.arrivals_at("none", None, ArrivalPoint(0, 0, 0)) == {}

    @on_store
    async def test_a_foreign_position_is_refused(self, store: Store) -> None:
        """A position of another record (a log that is not there, an index behind the end) is an error, never a silent gap."""
        await store.append([make_record("e")])
        (log_id,) = (await store.arrivals(ANY, None, 1, 1)).after
        for after in ({log_id: 2}, {log_id: 1, 1: 0}):
            with pytest.raises(NotFoundError):
                await store.arrivals(ANY, after, 1, BYTES_MAX)

    @on_store
    async def test_a_follower_beside_writers_misses_nothing(self, store: Store) -> None:
        """Who follows while many write sees each event once, in the order of its log, and soon after its acknowledgement."""
        acknowledged: list[str] = []

        async def write(task: int) -> None:
            for call in range(12):
                records = [make_record(f"{task}-{call}-{n}", project_id=f"p{n}") for n in range(3)]
                await store.append(records)
                acknowledged.extend(record.event_id for record in records)

        writing = asyncio.gather(*map(write, range(6)))
        seen: list[StoredEvent] = []
        found = Arrivals([], [], {}, None, more=False)
        while True:
            known, done = set(acknowledged), writing.done()
            found = await store.arrivals(ANY, found.after, 7, BYTES_MAX)
            seen += found.events
            # A store that never waits would leave no turn to the writers.
            await asyncio.sleep(0)
            if not found.more:
                assert known <= set(event_ids(seen))
                if done:
                    break
        await writing
        assert sorted(event_ids(seen)) == sorted(acknowledged)
        for log_id in found.after:
            indices = [event.position.index for event in seen if event.position.log_id == log_id]
            assert indices == list(range(72))

    def test_positions_outlive_the_process(self, store_factory: StoreFactory) -> None:
        """A position taken in one life brings what came in the next ones."""

        async def live(name: str, after: dict[int, int] | None) -> tuple[list[str], dict[int, int]]:
            async with opened(store_factory()) as store:
                found = await store.arrivals(ANY, after, 100, BYTES_MAX)
                await store.append([make_record(name), make_record(name, tenant_id=name)])
                return event_ids(found.events), found.after

        _, after = asyncio.run(live("a", None))
        names, after = asyncio.run(live("b", after))
        assert names == ["a", "a"]
        names, _ = asyncio.run(live("c", after))
        assert names == ["b", "b"]


async def walk(
    store: Store, wanted: EventFilter, after: dict[int, int], *, limit: int, bytes_max: int = BYTES_MAX
) -> list[StoredEvent]:
    """All matches behind a position; on the way it holds the store to what the contract says of each answer."""
    events: list[StoredEvent] = []
    while True:
        found = await store.arrivals(wanted, after, limit, bytes_max)
        sizes = [len(event.stored) for event in found.events]
        assert len(sizes) == len(found.ranks) <= limit
        assert sum(sizes) <= bytes_max or len(sizes) == 1, "an answer passed bytes_max with more than one event"
        assert found.ranks == sorted(set(found.ranks)), "ranks do not rise"
        assert not found.more or found.after != after, "a call promised more and did not move"
        assert all(found.after[log_id] >= index for log_id, index in after.items()), "a position went back"
        events += found.events
        if not found.more:
            return events
        after = found.after
