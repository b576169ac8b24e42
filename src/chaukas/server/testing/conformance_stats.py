"""Conformance of statistics: exact for every scope and range."""
# ruff: noqa: S101, S311 - a suite asserts, and its random events are no secrets

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from random import Random

from chaukas.server.storage.contract import EventRecord, EventStats, Store
from chaukas.server.testing.conformance_case import BASE_NS, HOUR_NS, StoreCase, StoreFactory, on_store, opened
from chaukas.server.testing.records import make_record

__all__ = ["StatsConformance"]

_SECOND_US = 1_000_000


def _expected(
    records: Iterable[EventRecord], tenant_id: str | None, project_id: str | None, start_ns: int | None, end_ns: int | None
) -> EventStats:
    """The contract's words on `EventStats`, over records with different ids."""
    whole_sessions: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    sessions: set[tuple[str, str, str]] = set()
    types: Counter[int] = Counter()
    for record in records:
        at_ns = record.timestamp_us * 1_000 + record.timestamp_sub_ns
        session = (record.tenant_id, record.project_id, record.session_id)
        whole_sessions[session].append(record.timestamp_us)
        if (
            tenant_id in (None, record.tenant_id)
            and project_id in (None, record.project_id)
            and (start_ns is None or start_ns <= at_ns)
            and (end_ns is None or at_ns < end_ns)
        ):
            types[record.type] += 1
            if record.session_id:
                sessions.add(session)
    duration_us = sum(max(whole_sessions[session]) - min(whole_sessions[session]) for session in sessions)
    return EventStats(types.total(), len(sessions), dict(types), duration_us)


def _offset_ns(random: Random, hours: int) -> int:
    """A time within so many hours; two thirds of them on the very edge of an hour, where a rollup is wrong first."""
    edge_ns = random.randrange(1, hours) * HOUR_NS
    return random.choice([random.randrange(hours * HOUR_NS), edge_ns, edge_ns - 1])


def _ranges(random: Random, hours: int) -> list[tuple[int | None, int | None]]:
    """No range, whole hours, odd ones, single instants, open sides, and such as hold nothing."""
    whole = [BASE_NS + hour * HOUR_NS for hour in range(-1, hours + 2)]
    odd = [random.randrange(BASE_NS - HOUR_NS, BASE_NS + (hours + 1) * HOUR_NS) for _ in range(12)]
    edges = [at_ns + offset for at_ns in whole[1:4] for offset in (-1, 1, -1_000, 1_000)]
    ranges: list[tuple[int | None, int | None]] = [(None, None)]
    for side in (*whole, *odd, *edges):
        ranges += [(side, None), (None, side)]
    ranges += [(random.choice(whole), random.choice(whole)) for _ in range(20)]
    ranges += [(random.choice(odd + edges), random.choice(odd + edges)) for _ in range(20)]
    ranges += [(random.choice(whole), random.choice(odd)) for _ in range(10)]
    ranges += [(random.choice(odd), random.choice(whole)) for _ in range(10)]
    ranges += [(BASE_NS, BASE_NS), (BASE_NS + HOUR_NS, BASE_NS), (BASE_NS, BASE_NS + 1)]
    return ranges


class StatsConformance(StoreCase):
    """Every "must" of `StatsReader.stats`."""

    @on_store
    async def test_an_empty_store_has_empty_statistics(self, store: Store) -> None:
        """Without events every figure is zero and no type is named, for every scope and range."""
        for start_ns, end_ns in ((None, None), (BASE_NS, BASE_NS + HOUR_NS), (BASE_NS + 1, None)):
            assert await store.stats(None, None, start_ns, end_ns) == EventStats()
        await store.append([make_record("e", at_ns=BASE_NS)])
        assert await store.stats("nobody", None, None, None) == EventStats()
        assert await store.stats(None, "nowhere", None, None) == EventStats()
        assert await store.stats("acme", "shop", BASE_NS + HOUR_NS, None) == EventStats()

    @on_store
    async def test_statistics_are_exact_for_every_scope_and_range(self, store: Store) -> None:
        """Events, sessions, types and durations are exact without a range, over whole hours and over odd ranges, per scope."""
        random = Random(1)
        hours = 6
        records = [
            make_record(
                f"e{number}",
                tenant_id=random.choice(["acme", "acme", "other"]),
                project_id=random.choice(["", "shop", "web"]),
                session_id=random.choice(["", "", *(f"s{session}" for session in range(12))]),
                type=random.choice([1, 2, 22, 23, 63, 1_000, -7]),
                at_ns=BASE_NS + _offset_ns(random, hours),
            )
            for number in range(400)
        ]
        for first in range(0, len(records), 40):
            await store.append(records[first : first + 40])
        for start_ns, end_ns in _ranges(random, hours):
            scope = (random.choice([None, "acme", "other"]), random.choice([None, None, "", "shop", "web"]))
            for tenant_id, project_id in {scope, (None, None)}:
                asked = (tenant_id, project_id, start_ns, end_ns)
                assert await store.stats(*asked) == _expected(records, *asked), asked

    @on_store
    async def test_statistics_before_1970(self, store: Store) -> None:
        """Hours are counted downwards too: an event a nanosecond before an hour belongs to the hour before."""
        times = [offset + hour * HOUR_NS for hour in (-3, -2, -1, 0, 1) for offset in (-1_000, -1, 0, 1, 999, 1_000)]
        records = [make_record(f"e{number}", session_id=f"s{number % 4}", at_ns=at_ns) for number, at_ns in enumerate(times)]
        await store.append(records)
        sides = [None, *(offset + hour * HOUR_NS for hour in (-3, -2, -1, 0, 1, 2) for offset in (-1, 0, 1))]
        for start_ns in sides:
            for end_ns in sides:
                asked = (None, None, start_ns, end_ns)
                assert await store.stats(*asked) == _expected(records, *asked), asked

    @on_store
    async def test_events_without_a_session(self, store: Store) -> None:
        """Events without a session are events, but no session."""
        await store.append([make_record(f"e{number}", session_id="", at_ns=BASE_NS + number * HOUR_NS) for number in range(5)])
        assert await store.stats("acme", None, None, None) == EventStats(5, 0, {1: 5}, 0)
        assert await store.stats("acme", None, BASE_NS, BASE_NS + 2 * HOUR_NS) == EventStats(2, 0, {1: 2}, 0)

    @on_store
    async def test_a_session_counts_where_it_has_an_event(self, store: Store) -> None:
        """A session with a gap counts in the hours in which it has an event, and not in between; its duration is the whole."""
        hours = (0, 1, 9, 30)
        await store.append([make_record(f"e{hour}", at_ns=BASE_NS + hour * HOUR_NS + 7_000) for hour in hours])
        duration_us = 30 * 3_600 * _SECOND_US
        for hour in range(-1, 33):
            stats = await store.stats(None, None, BASE_NS + hour * HOUR_NS, BASE_NS + (hour + 1) * HOUR_NS)
            assert stats == (EventStats(1, 1, {1: 1}, duration_us) if hour in hours else EventStats())
        assert await store.stats(None, None, BASE_NS + 2 * HOUR_NS, BASE_NS + 9 * HOUR_NS) == EventStats()
        # Odd ranges inside an hour of the session, before, at and behind its event.
        assert await store.stats(None, None, BASE_NS + 1, BASE_NS + 7_000) == EventStats()
        assert await store.stats(None, None, BASE_NS + 1, BASE_NS + 7_001) == EventStats(1, 1, {1: 1}, duration_us)
        assert await store.stats(None, None, BASE_NS + 7_001, BASE_NS + HOUR_NS - 1) == EventStats()

    def test_sessions_grow_at_both_ends(self, store_factory: StoreFactory) -> None:
        """Late events extend a session to earlier and to later times, across hours, calls and lives; duplicates do not."""
        offsets = [0, 5, -3, 40_000, -7_200, 3, 90_000, -90_000, 89_999]
        records = [make_record(f"e{number}", at_ns=BASE_NS + offset * 1_000_000_000) for number, offset in enumerate(offsets)]

        async def grow(number: int) -> None:
            async with opened(store_factory()) as store:
                known = offsets[: number + 1]
                await store.append([records[number], *records[:number]])
                stats = await store.stats(None, None, None, None)
                assert stats.session_duration_us_sum == (max(known) - min(known)) * _SECOND_US
                assert (stats.total_events, stats.total_sessions) == (number + 1, 1)
                # Seen from the hour of the first event too.
                stats = await store.stats(None, None, BASE_NS, BASE_NS + HOUR_NS)
                assert stats.session_duration_us_sum == (max(known) - min(known)) * _SECOND_US

        for number in range(len(offsets)):
            asyncio.run(grow(number))

    @on_store
    async def test_durations_are_those_of_whole_sessions(self, store: Store) -> None:
        """Durations add up over the sessions with an event in the range, each from its first to its last event ever."""
        await store.append(
            [
                make_record("a1", session_id="a", at_ns=BASE_NS),
                make_record("a2", session_id="a", at_ns=BASE_NS + 10 * HOUR_NS),
                make_record("b1", session_id="b", at_ns=BASE_NS + 5 * HOUR_NS),
                make_record("b2", session_id="b", at_ns=BASE_NS + 5 * HOUR_NS + 2_000),
                make_record("c1", session_id="c", at_ns=BASE_NS + 10 * HOUR_NS),
            ]
        )
        a_us, b_us = 10 * 3_600 * _SECOND_US, 2
        assert (await store.stats(None, None, None, None)).session_duration_us_sum == a_us + b_us
        assert (await store.stats(None, None, BASE_NS, BASE_NS + HOUR_NS)).session_duration_us_sum == a_us
        assert (await store.stats(None, None, BASE_NS + 5 * HOUR_NS + 1, None)).session_duration_us_sum == a_us + b_us
        assert (await store.stats(None, None, BASE_NS + HOUR_NS, BASE_NS + 6 * HOUR_NS)).session_duration_us_sum == b_us

    @on_store
    async def test_durations_beyond_64_bits(self, store: Store) -> None:
        """Sessions from the year 1 to the year 9999, many of them, neither fail an append nor make a sum wrong."""
        first_ns, last_ns = -62_135_596_800 * 10**9, 253_402_300_799 * 10**9
        for number in range(40):
            outcomes = await store.append(
                [
                    make_record(f"first-{number}", session_id=f"s{number}", at_ns=first_ns),
                    make_record(f"last-{number}", session_id=f"s{number}", at_ns=last_ns),
                ]
            )
            assert {outcome.status.value for outcome in outcomes} == {"accepted"}
        duration_us = 40 * (last_ns - first_ns) // 1_000
        assert duration_us > 1 << 63
        expected = EventStats(80, 40, {1: 80}, duration_us)
        assert await store.stats(None, None, None, None) == expected
        assert await store.stats(None, None, first_ns, last_ns + 1) == expected
        assert await store.stats("acme", "shop", None, first_ns + 1) == EventStats(40, 40, {1: 40}, duration_us)

    @on_store
    async def test_a_session_id_in_two_logs_is_two_sessions(self, store: Store) -> None:
        """Sessions belong to their tenant and project: the same id elsewhere neither joins nor extends them."""
        for number, (tenant, project) in enumerate([("acme", "shop"), ("acme", ""), ("other", "shop")]):
            at_ns = BASE_NS + number * HOUR_NS
            await store.append(
                [
                    make_record("e1", tenant_id=tenant, project_id=project, at_ns=at_ns),
                    make_record("e2", tenant_id=tenant, project_id=project, at_ns=at_ns + 1_000),
                ]
            )
        assert await store.stats(None, None, None, None) == EventStats(6, 3, {1: 6}, 3)
        assert await store.stats("acme", None, None, None) == EventStats(4, 2, {1: 4}, 2)
        assert await store.stats("acme", "shop", None, None) == EventStats(2, 1, {1: 2}, 1)
        assert await store.stats(None, "shop", None, None) == EventStats(4, 2, {1: 4}, 2)
        assert (await store.info()).sessions == 3

    @on_store
    async def test_refused_events_do_not_count(self, store: Store) -> None:
        """Duplicates and rejected events change no figure."""
        await store.append([make_record("e", at_ns=BASE_NS), make_record("e", at_ns=BASE_NS)])
        await store.append(
            [make_record("e", at_ns=BASE_NS), make_record("e", at_ns=BASE_NS + HOUR_NS, type=2, session_id="session-2")]
        )
        assert await store.stats(None, None, None, None) == EventStats(1, 1, {1: 1}, 0)
        assert await store.stats(None, None, BASE_NS + HOUR_NS, None) == EventStats()
