"""Is a store what the naive one is, after both took the same items?"""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.server.storage.contract import (
    EventFilter,
    EventRecord,
    EventStats,
    IngestStatus,
    Outcome,
    QuarantineRow,
    Store,
    StoredEvent,
    StoreInfo,
)
from chaukas.server.testing import MemoryStore
from chaukas.server.testing.conformance_case import every
from chaukas.spec.common.v1.events_pb2 import Event

from .workload import BASE_NS, HOUR_NS, Items

__all__ = ["Expectation", "assert_answers", "assert_duplicates", "expectation"]

_Visible = tuple[object, ...]
_Scope = tuple[str | None, str | None, int | None, int | None]
_RANGES = ((None, None), (BASE_NS - HOUR_NS, BASE_NS + HOUR_NS), (BASE_NS - 7, BASE_NS + HOUR_NS + 11), (BASE_NS, None))
_SCOPES = ((None, None), ("acme", "shop"), ("acme", "web"), ("acme", "nobody"))


@dataclass(frozen=True, slots=True)
class Expectation:
    """Everything that can be asked of a store, with the right answers."""

    answers: list[tuple[EventFilter, list[_Visible]]]
    stats: list[tuple[_Scope, EventStats]]
    quarantine: dict[tuple[str, str, bytes], QuarantineRow]
    info: StoreInfo

    async def check(self, store: Store) -> None:
        """Events, order, every filter by id or tag, counts, statistics and quarantine are what they must be."""
        for wanted, expected in self.answers:
            assert [_visible(event) for event in await every(store, wanted, limit=100)] == expected, wanted
            assert await store.count(wanted) == len(expected), wanted
        for asked, stats in self.stats:
            assert await store.stats(*asked) == stats, asked
        kept = await _quarantine(store)
        assert kept.keys() == self.quarantine.keys()
        for key, row in self.quarantine.items():
            assert kept[key].event_id == row.event_id
            # A commit that failed but was stored is sent again: its bytes did arrive twice.
            assert kept[key].count >= row.count
        info = await store.info()
        assert (info.logs, info.events, info.sessions) == (self.info.logs, self.info.events, self.info.sessions)
        assert info.quarantine_items == len(self.quarantine)
        assert info.quarantine_bytes == sum(len(key[2]) for key in self.quarantine)


async def expectation(oracle: MemoryStore) -> Expectation:
    """What any store must answer that took the same items as this one."""
    events = await every(oracle)
    filters = [EventFilter(), *_filters([Event.FromString(event.stored) for event in events])]
    asked = [(*scope, *times) for scope in _SCOPES for times in _RANGES]
    return Expectation(
        [(wanted, [_visible(event) for event in await every(oracle, wanted)]) for wanted in filters],
        [(each, await oracle.stats(*each)) for each in asked],
        await _quarantine(oracle),
        await oracle.info(),
    )


def _visible(event: StoredEvent) -> _Visible:
    return event.position, event.origin, event.stored


def _filters(events: list[Event]) -> list[EventFilter]:
    """One for each id and tag that occurs often, for every few of those that occur once, and some that select by kind."""
    wanted = [EventFilter(session_id=value) for value in sorted({event.session_id for event in events})[::2]]
    wanted += [EventFilter(agent_id=value) for value in sorted({event.agent_id for event in events})]
    wanted += [EventFilter(trace_id=value) for value in sorted({event.trace_id for event in events})[::5]]
    wanted += [EventFilter(span_id=value) for value in sorted({event.span_id for event in events})[::5]]
    wanted += [EventFilter(tags=frozenset({value})) for value in sorted({tag for event in events for tag in event.tags})]
    wanted.append(EventFilter(statuses=frozenset({3, 4}), severities=frozenset({0, 2}), project_id="shop"))
    wanted.append(EventFilter(types=frozenset({63, 4711}), start_ns=BASE_NS - HOUR_NS, end_ns=BASE_NS + 1))
    return wanted


async def _quarantine(store: Store) -> dict[tuple[str, str, bytes], QuarantineRow]:
    listed = [await store.quarantine_get(row.quarantine_id) for row in await store.quarantine_list(None, None, 1_000)]
    return {(row.tenant_id, row.project_id, row.raw): row for row in listed if row is not None}


def assert_answers(answers: list[Outcome], expected: list[Outcome], *, again: bool = False) -> None:
    """Outcomes say the same; `again`: the items may have been stored by an earlier try, then `accepted` became `duplicate`."""
    for answer, right in zip(answers, expected, strict=True):
        allowed = {right.status}
        if again and right.status is IngestStatus.ACCEPTED:
            allowed.add(IngestStatus.DUPLICATE)
        assert answer.status in allowed
        assert (answer.event_id, answer.origin, answer.index) == (right.event_id, right.origin, right.index)


async def assert_duplicates(store: Store, sent: Items) -> None:
    """Every event of `sent` is answered `duplicate` or `rejected` when it comes again, and nothing is stored."""
    before = await store.count(EventFilter())
    outcomes = await store.append([item for item in sent if isinstance(item, EventRecord)])
    assert {outcome.status for outcome in outcomes} <= {IngestStatus.DUPLICATE, IngestStatus.REJECTED}
    assert await store.count(EventFilter()) == before
