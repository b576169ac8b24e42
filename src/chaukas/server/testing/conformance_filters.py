"""Conformance of filters: each alone, together, and over events that were acknowledged a moment ago."""
# ruff: noqa: S101, S311 - a suite asserts, and its random events are no secrets

from __future__ import annotations

from dataclasses import replace
from random import Random

from chaukas.server.storage.contract import EventFilter, EventRecord, Store
from chaukas.server.testing.conformance_case import BASE_NS, HOUR_NS, StoreCase, event_ids, every, on_store
from chaukas.server.testing.records import make_record

__all__ = ["FilterConformance"]

_TYPES = (1, 2, 10, 23, 63, 64, 99, 2_147_483_647, -1, -2_147_483_648)
_STATUSES = (0, 1, 3, 5, 77, -4)
_SEVERITIES = (0, 2, 4, 31, 32, 1_000_000)
_TAGS = ("", "red", "green", "red,green", "re", "Red")


def _corpus(seed: int, number_of_events: int) -> list[EventRecord]:
    """Events over small domains of values, so that every filter has hits and misses and times fall together."""
    random = Random(seed)
    return [
        make_record(
            f"e{number}",
            tenant_id=random.choice(["acme", "other"]),
            project_id=random.choice(["", "shop", "web"]),
            session_id=random.choice(["", "s1", "s2", "s3"]),
            trace_id=random.choice(["", "t1", "t2"]),
            span_id=random.choice(["", "p1", "p2", "p3"]),
            agent_id=random.choice(["", "Ada", "ada", "Grace Hopper"]),
            tags=random.choices(_TAGS, k=random.randrange(4)),
            type=random.choice(_TYPES),
            status=random.choice(_STATUSES),
            severity=random.choice(_SEVERITIES),
            at_ns=BASE_NS + random.randrange(20) * 500,
        )
        for number in range(number_of_events)
    ]


def _wanted(record: EventRecord, wanted: EventFilter) -> bool:
    """The contract's words on `EventFilter`, one line each."""
    ids = ("tenant_id", "project_id", "session_id", "agent_id", "span_id", "trace_id")
    for name in ids:
        if getattr(wanted, name) is not None and getattr(wanted, name) != getattr(record, name):
            return False
    sets = ((wanted.types, record.type), (wanted.statuses, record.status), (wanted.severities, record.severity))
    if any(numbers and number not in numbers for numbers, number in sets):
        return False
    if not wanted.tags.issubset(record.tags):
        return False
    at_ns = record.timestamp_us * 1_000 + record.timestamp_sub_ns
    return (wanted.start_ns is None or at_ns >= wanted.start_ns) and (wanted.end_ns is None or at_ns < wanted.end_ns)


async def _check(store: Store, corpus: list[EventRecord], wanted: EventFilter, limit: int = 1_000) -> int:
    """The store finds and counts exactly the matches; their number."""
    expected = sorted(record.event_id for record in corpus if _wanted(record, wanted))
    assert sorted(event_ids(await every(store, wanted, limit=limit))) == expected
    assert sorted(event_ids(await every(store, wanted, limit=limit, descending=True))) == expected
    assert await store.count(wanted) == len(expected)
    return len(expected)


def _single_filters() -> list[EventFilter]:
    return [
        *(EventFilter(tenant_id=value) for value in ("acme", "other", "nobody", "")),
        *(EventFilter(project_id=value) for value in ("shop", "web", "", "nowhere")),
        *(EventFilter(session_id=value) for value in ("s1", "s2", "", "s", "S1")),
        *(EventFilter(trace_id=value) for value in ("t1", "", "t3")),
        *(EventFilter(span_id=value) for value in ("p1", "", "p")),
        *(EventFilter(agent_id=value) for value in ("Ada", "ada", "Grace Hopper", "", "grace hopper")),
        *(EventFilter(types=frozenset({value})) for value in (*_TYPES, 3, 0)),
        *(EventFilter(statuses=frozenset({value})) for value in (*_STATUSES, 2)),
        *(EventFilter(severities=frozenset({value})) for value in (*_SEVERITIES, 3)),
        *(EventFilter(tags=frozenset({value})) for value in (*_TAGS, "blue", "green,red")),
        *(EventFilter(start_ns=BASE_NS + offset) for offset in (-1, 0, 1, 4_500, 4_501, 9_500, 9_501)),
        *(EventFilter(end_ns=BASE_NS + offset) for offset in (-1, 0, 1, 4_500, 4_501, 9_500, 9_501)),
    ]


class FilterConformance(StoreCase):
    """Every "must" about which events a question finds."""

    @on_store
    async def test_each_filter_alone(self, store: Store) -> None:
        """Each filter, with values that many, one and no event has, finds and counts exactly its matches."""
        corpus = _corpus(1, 300)
        await store.append(corpus)
        found = [await _check(store, corpus, wanted) for wanted in _single_filters()]
        assert 0 in found
        assert max(found) > 100

    @on_store
    async def test_filters_together(self, store: Store) -> None:
        """Filters form a conjunction, whichever come together and on pages of whatever length."""
        corpus = _corpus(2, 300)
        await store.append(corpus)
        random = Random(3)
        singles = _single_filters()
        found = []
        for _ in range(150):
            chosen = random.sample(singles, k=random.choice([2, 2, 3, 4]))
            changes = {
                name: getattr(single, name)
                for single in chosen
                for name in EventFilter.__slots__
                if getattr(single, name) != getattr(EventFilter(), name)
            }
            found.append(await _check(store, corpus, replace(EventFilter(), **changes), limit=random.choice([1, 7, 1_000])))
        assert sum(number > 0 for number in found) > 30

    @on_store
    async def test_any_of_several_numbers(self, store: Store) -> None:
        """Types, statuses and severities match when any of the given numbers does; an empty set asks for nothing."""
        corpus = _corpus(4, 200)
        await store.append(corpus)
        assert await _check(store, corpus, EventFilter(types=frozenset({1, -1, 2_147_483_647, 12_345}))) > 0
        assert await _check(store, corpus, EventFilter(types=frozenset(range(-100, 200)))) > 0
        assert await _check(store, corpus, EventFilter(statuses=frozenset({0, 77}), severities=frozenset({0, 32}))) > 0
        assert await _check(store, corpus, EventFilter(types=frozenset(), statuses=frozenset())) == 200

    @on_store
    async def test_all_tags_must_match(self, store: Store) -> None:
        """An event must have every tag that is asked for, in whatever order and however often it has it."""
        many = [f"tag-{number}" for number in range(64)]
        corpus = [
            make_record("none"),
            make_record("a", tags=["a"]),
            make_record("b-a-b", tags=["b", "a", "b"]),
            make_record("abc", tags=["a", "b", "c"]),
            make_record("empty", tags=[""]),
            make_record("empty-a", tags=["", "a"]),
            make_record("many", tags=many),
        ]
        await store.append(corpus)
        for tags in (["a"], ["a", "b"], ["a", "b", "c"], ["c", "d"], [""], ["", "a"], many, [*many, "more"], ["tag-1", "tag-63"]):
            await _check(store, corpus, EventFilter(tags=frozenset(tags)))

    @on_store
    async def test_time_ranges_are_half_open(self, store: Store) -> None:
        """`start_ns` belongs to the range, `end_ns` does not, to the nanosecond and before 1970 too; upside down is empty."""
        times = [-HOUR_NS - 1, -HOUR_NS, -1_001, -1_000, -999, -1, 0, 1, 999, 1_000, 1_001, BASE_NS, BASE_NS + 1]
        corpus = [make_record(f"e{number}", at_ns=at_ns) for number, at_ns in enumerate(times)]
        await store.append(corpus)
        for start in (None, *times):
            for end in (None, *times):
                await _check(store, corpus, EventFilter(start_ns=start, end_ns=end))

    @on_store
    async def test_an_acknowledged_event_is_found_at_once(self, store: Store) -> None:
        """Every event whose append returned is found by each of its fields, counted, and in the statistics, at once."""
        for number in range(40):
            name = f"new-{number}"
            record = make_record(
                name,
                tenant_id=f"tenant-{name}",
                project_id=f"project-{name}",
                session_id=f"session-{name}",
                trace_id=f"trace-{name}",
                span_id=f"span-{name}",
                agent_id=f"agent-{name}",
                tags=[f"tag-{name}"],
                type=1_000 + number,
                status=2_000 + number,
                severity=3_000 + number,
                at_ns=BASE_NS + number,
            )
            await store.append([record])
            for wanted in (
                EventFilter(tenant_id=record.tenant_id),
                EventFilter(project_id=record.project_id),
                EventFilter(session_id=record.session_id),
                EventFilter(trace_id=record.trace_id),
                EventFilter(span_id=record.span_id),
                EventFilter(agent_id=record.agent_id),
                EventFilter(tags=frozenset(record.tags)),
                EventFilter(types=frozenset({record.type})),
                EventFilter(statuses=frozenset({record.status})),
                EventFilter(severities=frozenset({record.severity})),
                EventFilter(start_ns=BASE_NS + number),
            ):
                assert event_ids(await every(store, wanted)) == [name]
                assert await store.count(wanted) == 1
            assert await store.count(EventFilter()) == number + 1
            stats = await store.stats(record.tenant_id, None, None, None)
            assert (stats.total_events, stats.total_sessions, stats.events_by_type) == (1, 1, {record.type: 1})

    @on_store
    async def test_few_matches_among_many(self, store: Store) -> None:
        """A rare value is found among thousands of events, wherever it stands, and `more` knows about the last one."""
        corpus = [
            make_record(
                f"e{number}",
                type=2 if number in (0, 1_500, 2_999) else 1,
                status=4 if number == 0 else 3,
                severity=4 if number == 2_999 else 2,
                tags=["rare"] if number in (1, 2_998) else ["common"],
                at_ns=BASE_NS + number * 1_000_000,
            )
            for number in range(3_000)
        ]
        for first in range(0, 3_000, 500):
            await store.append(corpus[first : first + 500])
        for wanted in (
            EventFilter(types=frozenset({2})),
            EventFilter(statuses=frozenset({4})),
            EventFilter(severities=frozenset({4})),
            EventFilter(tags=frozenset({"rare"})),
            EventFilter(tags=frozenset({"rare", "common"})),
            EventFilter(types=frozenset({2}), severities=frozenset({4})),
        ):
            await _check(store, corpus, wanted, limit=1)
