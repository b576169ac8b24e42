"""Conformance of the order of answers and of paging through them."""
# ruff: noqa: S101, S311 - a suite asserts, and its random events are no secrets

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from chaukas.server.storage.contract import EventFilter, EventRecord, Position, Store
from chaukas.server.storage.entry import log_id_of, origin_of
from chaukas.server.testing.conformance_case import ANY, BASE_NS, HOUR_NS, StoreCase, event_ids, every, on_store, page
from chaukas.server.testing.records import make_record

__all__ = ["OrderConformance"]

#: First and last nanosecond of the years 1 and 9999: the range of a protobuf Timestamp.
_YEAR_1_NS = -62_135_596_800 * 1_000_000_000
_YEAR_9999_NS = 253_402_300_799 * 1_000_000_000 + 999_999_999


class OrderConformance(StoreCase):
    """Every "must" about which event stands where, and about pages."""

    def _places(self, records: Sequence[EventRecord]) -> dict[str, Position]:
        """Where events with different ids stand when they are appended in this order to an empty store."""
        next_index: dict[int, int] = {}
        places: dict[str, Position] = {}
        for record in records:
            log_id = log_id_of(origin_of(self.server_name, record.tenant_id, record.project_id))
            index = next_index.setdefault(log_id, 0)
            next_index[log_id] += 1
            places[record.event_id] = Position(record.timestamp_us, record.timestamp_sub_ns, log_id, index)
        return places

    async def _fill(self, store: Store, records: Sequence[EventRecord], size: int = 50) -> list[str]:
        """Append in calls of `size`; the ids in ascending order of position."""
        for first in range(0, len(records), size):
            await store.append(records[first : first + size])
        places = self._places(records)
        return sorted(places, key=places.__getitem__)

    @on_store
    async def test_answers_are_ordered_by_timestamp_log_and_index(self, store: Store) -> None:
        """The order is (timestamp, log_id, index) whatever the order of arrival, with many equal timestamps, both ways."""
        random = Random(1)
        records = [
            make_record(f"e{number}", project_id=f"p{random.randrange(5)}", at_ns=BASE_NS + random.randrange(12) * 250)
            for number in range(400)
        ]
        ascending = await self._fill(store, records)
        assert event_ids(await every(store)) == ascending
        assert event_ids(await every(store, descending=True)) == ascending[::-1]
        places = self._places(records)
        assert [event.position for event in await every(store)] == [places[name] for name in ascending]

    @on_store
    async def test_extreme_timestamps(self, store: Store) -> None:
        """The years 1 and 9999, both sides of 1970 and single nanoseconds stand in order, and ranges cut between them."""
        times = [
            *(_YEAR_1_NS + offset for offset in (0, 1, 999, 1_000, 1_001)),
            *(-HOUR_NS - 1, -HOUR_NS, -1_000_001, -1_001, -1_000, -999, -1, 0, 1, 999, 1_000, 1_001),
            *(BASE_NS - 1, BASE_NS, BASE_NS + 1, 1 << 63, (1 << 63) - 1, -(1 << 63), -(1 << 63) - 1),
            *(_YEAR_9999_NS - offset for offset in (1_001, 1_000, 999, 1, 0)),
        ]
        shuffled = Random(2).sample(times, k=len(times))
        await self._fill(store, [make_record(str(at_ns), at_ns=at_ns) for at_ns in shuffled], size=7)
        times.sort()
        names = [str(at_ns) for at_ns in times]
        assert event_ids(await every(store)) == names
        assert event_ids(await every(store, limit=3, descending=True)) == names[::-1]
        for cut, at_ns in enumerate(times):
            assert event_ids(await every(store, EventFilter(start_ns=at_ns))) == names[cut:]
            assert event_ids(await every(store, EventFilter(end_ns=at_ns))) == names[:cut]
            assert await store.count(EventFilter(start_ns=at_ns, end_ns=at_ns + 1)) == 1
            assert (await store.stats(None, None, at_ns, None)).total_events == len(times) - cut
        # A range may begin or end beyond any timestamp, by however much.
        for far in (10**20, 10**30):
            assert event_ids(await every(store, EventFilter(start_ns=-far, end_ns=far + _YEAR_9999_NS))) == names
            for nothing in (EventFilter(start_ns=far + _YEAR_9999_NS), EventFilter(end_ns=-far)):
                assert await every(store, nothing) == []
                assert await store.count(nothing) == 0
                assert (await store.stats(None, None, nothing.start_ns, nothing.end_ns)).total_events == 0

    @pytest.mark.parametrize("descending", [False, True])
    @on_store
    async def test_pages_of_any_length_make_the_whole(self, store: Store, descending: bool) -> None:
        """Pages of any length joined are all matches in order; `more` is false exactly on the last one."""
        random = Random(3)
        records = [
            make_record(f"e{number}", project_id=f"p{random.randrange(3)}", at_ns=BASE_NS + random.randrange(9))
            for number in range(60)
        ]
        names = await self._fill(store, records)
        expected = names[::-1] if descending else names
        for limit in (1, 2, 7, 20, 30, 59, 60, 61, 1_000):
            seen: list[str] = []
            after: Position | None = None
            while len(seen) < len(expected):
                answer = await store.query(page(limit=limit, descending=descending, after=after))
                assert event_ids(answer.events) == expected[len(seen) : len(seen) + limit]
                seen += event_ids(answer.events)
                assert answer.more == (len(seen) < len(expected))
                after = answer.events[-1].position
            answer = await store.query(page(limit=limit, descending=descending, after=after))
            assert (answer.events, answer.more) == ([], False)

    @on_store
    async def test_more_is_exact_under_a_filter(self, store: Store) -> None:
        """`more` speaks of matches, not of events: it is false when only events that do not match stand behind."""
        records = [
            make_record(f"e{number}", type=2 if number in (3, 4, 9) else 1, at_ns=BASE_NS + number) for number in range(20)
        ]
        await store.append(records)
        wanted = EventFilter(types=frozenset({2}))
        for limit, expected, more in ((1, ["e3"], True), (2, ["e3", "e4"], True), (3, ["e3", "e4", "e9"], False)):
            answer = await store.query(page(wanted, limit=limit))
            assert (event_ids(answer.events), answer.more) == (expected, more)
        answer = await store.query(page(wanted, limit=2, descending=True))
        assert (event_ids(answer.events), answer.more) == (["e9", "e4"], True)
        answer = await store.query(page(wanted, limit=1, descending=True, after=answer.events[-1].position))
        assert (event_ids(answer.events), answer.more) == (["e3"], False)

    @on_store
    async def test_a_page_starts_behind_any_position(self, store: Store) -> None:
        """`after` needs no event at its place: answers go on strictly behind it in the direction of the order."""
        random = Random(4)
        records = [
            make_record(f"e{number}", project_id=f"p{random.randrange(3)}", at_ns=BASE_NS + random.randrange(6) * 600)
            for number in range(40)
        ]
        names = await self._fill(store, records)
        places = self._places(records)
        probes = [
            probe
            for place in places.values()
            for probe in (
                place,
                replace(place, index=place.index + 1),
                replace(place, log_id=place.log_id - 1),
                replace(place, log_id=place.log_id + 1, index=0),
                replace(place, timestamp_sub_ns=place.timestamp_sub_ns + 1),
                replace(place, timestamp_us=place.timestamp_us - 1, timestamp_sub_ns=999),
            )
        ]
        probes += [Position(-(10**17), 0, 0, 0), Position(10**18, 999, (1 << 63) - 1, (1 << 62))]
        for probe in probes:
            behind = [name for name in names if places[name] > probe]
            before = [name for name in names if places[name] < probe]
            assert event_ids((await store.query(page(after=probe))).events) == behind
            assert event_ids((await store.query(page(after=probe, descending=True))).events) == before[::-1]
            answer = await store.query(page(EventFilter(project_id="p1"), after=probe, limit=1))
            rest = [name for name in behind if name in {r.event_id for r in records if r.project_id == "p1"}]
            assert (event_ids(answer.events), answer.more) == (rest[:1], len(rest) > 1)

    @on_store
    async def test_bytes_end_a_page_early_but_never_empty(self, store: Store) -> None:
        """A page ends before the event that would pass `bytes_max`, and only there; one event is always on it."""
        random = Random(5)
        records = [
            make_record(f"e{number}", text="x" * random.choice([1, 100, 5_000]), at_ns=BASE_NS + number) for number in range(60)
        ]
        await self._fill(store, records)
        sizes = [len(record.stored) for record in records]
        for bytes_max in (1, 150, sizes[0], sizes[0] + sizes[1], 7_000, 20_000, sum(sizes) - 1, sum(sizes)):
            after: Position | None = None
            first = 0
            while first < len(records):
                answer = await store.query(page(bytes_max=bytes_max, after=after))
                end = first + 1
                while end < len(records) and sum(sizes[first : end + 1]) <= bytes_max:
                    end += 1
                assert event_ids(answer.events) == [record.event_id for record in records[first:end]]
                assert answer.more == (end < len(records))
                after, first = answer.events[-1].position, end

    @on_store
    async def test_bytes_count_only_what_is_answered(self, store: Store) -> None:
        """Large events that do not match take no room on a page."""
        records = [
            make_record(f"e{number}", type=1 + number % 2, text="x" * (50_000 if number % 2 else 10), at_ns=BASE_NS + number)
            for number in range(40)
        ]
        await self._fill(store, records)
        answer = await store.query(page(EventFilter(types=frozenset({1})), bytes_max=40_000))
        assert event_ids(answer.events) == [record.event_id for record in records[::2]]
        assert not answer.more

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("wanted", [ANY, EventFilter(session_id="session-1")], ids=["any", "session"])
    @on_store
    async def test_pages_are_stable_while_events_arrive(self, store: Store, descending: bool, wanted: EventFilter) -> None:
        """Every event acknowledged before the first page is answered exactly once, whatever arrives between the pages."""
        random = Random(6)
        spread = 50

        def at_ns() -> int:
            return BASE_NS + random.randrange(spread) * 400

        old = [make_record(f"old-{number}", project_id=f"p{random.randrange(3)}", at_ns=at_ns()) for number in range(120)]
        ascending = await self._fill(store, old)
        seen: list[str] = []
        after: Position | None = None
        for call in range(1_000):
            answer = await store.query(page(wanted, limit=5, descending=descending, after=after))
            seen += event_ids(answer.events)
            if not answer.more:
                break
            after = answer.events[-1].position
            if call < 60:
                # Before, at and behind the place where the reader stands, and at its very timestamp.
                here_ns = after.timestamp_us * 1_000 + after.timestamp_sub_ns
                times = [at_ns(), at_ns(), here_ns, here_ns - 1, here_ns + 1]
                await store.append(
                    [
                        make_record(f"new-{call}-{number}", project_id=f"p{random.randrange(4)}", at_ns=time_ns)
                        for number, time_ns in enumerate(times)
                    ]
                )
        assert len(set(seen)) == len(seen)
        assert [name for name in seen if name.startswith("old-")] == (ascending[::-1] if descending else ascending)

    @on_store
    async def test_no_matches(self, store: Store) -> None:
        """A question without matches is answered with an empty last page, in an empty store and in a full one."""
        for _ in range(2):
            for wanted in (
                EventFilter(session_id="nobody"),
                EventFilter(start_ns=_YEAR_9999_NS),
                EventFilter(types=frozenset({9})),
            ):
                for descending in (False, True):
                    answer = await store.query(page(wanted, limit=1, descending=descending))
                    assert (answer.events, answer.more) == ([], False)
                assert await store.count(wanted) == 0
            await store.append([make_record(f"e{number}") for number in range(10)])
