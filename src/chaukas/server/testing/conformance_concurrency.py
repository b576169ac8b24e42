"""Conformance under many tasks of one event loop: writers beside writers, readers beside writers."""
# ruff: noqa: S101 - a suite asserts

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

from chaukas.server.errors import ChaukasError
from chaukas.server.storage.contract import EventFilter, IngestStatus, Outcome, Position, QuarantineItem, Store
from chaukas.server.testing.conformance_case import BASE_NS, StoreCase, StoreFactory, event_ids, every, on_store, opened, page
from chaukas.server.testing.records import make_record

__all__ = ["ConcurrencyConformance"]


class ConcurrencyConformance(StoreCase):
    """Every "must" also holds while other calls are under way."""

    @on_store
    async def test_concurrent_appends_keep_every_promise(self, store: Store) -> None:
        """Many tasks, the same ids in several of them: each event accepted once, indices dense, each found and counted."""

        async def write(task: int) -> list[Outcome]:
            outcomes = []
            for call in range(6):
                own = [make_record(f"own-{task}-{call}-{n}", project_id=f"p{n}", session_id=f"s{task}") for n in range(3)]
                shared = [make_record(f"shared-{call}-{n}", session_id="shared") for n in range(3)]
                outcomes += await store.append([*own, *shared])
            return outcomes

        outcomes = [outcome for written in await asyncio.gather(*map(write, range(20))) for outcome in written]
        accepted = [outcome for outcome in outcomes if outcome.status is IngestStatus.ACCEPTED]
        assert len(accepted) == 20 * 6 * 3 + 6 * 3
        assert {outcome.status for outcome in outcomes} == {IngestStatus.ACCEPTED, IngestStatus.DUPLICATE}
        indices: dict[str, list[int]] = defaultdict(list)
        places: dict[tuple[str, str], set[int]] = defaultdict(set)
        for outcome in accepted:
            indices[outcome.origin].append(outcome.index)
        for outcome in outcomes:
            places[outcome.origin, outcome.event_id].add(outcome.index)
        assert all(sorted(taken) == list(range(len(taken))) for taken in indices.values())
        assert all(len(answered) == 1 for answered in places.values()), "a duplicate was given another place than its event"
        assert len(await every(store, limit=100)) == await store.count(EventFilter()) == len(accepted)
        assert await store.count(EventFilter(session_id="shared")) == 18
        stats = await store.stats(None, None, None, None)
        assert (stats.total_events, stats.total_sessions) == (len(accepted), 3 * 20 + 1)

    @on_store
    async def test_one_event_from_many_tasks_has_one_winner(self, store: Store) -> None:
        """Of many tasks that bring one id with different contents at once, one content wins and all others are rejected."""
        records = [make_record("same", text=f"content {number % 5}") for number in range(30)]
        answers = await asyncio.gather(*(store.append([record]) for record in records))
        (winner,) = {
            record.stored for record, (outcome,) in zip(records, answers, strict=True) if outcome.status is IngestStatus.ACCEPTED
        }
        for record, (outcome,) in zip(records, answers, strict=True):
            assert (outcome.status is IngestStatus.REJECTED) == (record.stored != winner)
        assert sum(outcome.status is IngestStatus.ACCEPTED for (outcome,) in answers) == 1
        assert [event.stored for event in await every(store)] == [winner]
        rows = await store.quarantine_list(None, None, 100)
        assert [row.count for row in rows] == [6] * 4

    @on_store
    async def test_readers_beside_writers(self, store: Store) -> None:
        """While events arrive, every question sees all that was acknowledged before it, and each page and figure is whole."""
        acknowledged: list[str] = []
        writing = True

        async def write(task: int) -> None:
            for call in range(15):
                # Every call brings two events of a session of its own: a reader must never see one of them alone.
                session = f"s{task}-{call}"
                pair = [make_record(f"{session}-{n}", session_id=session, at_ns=BASE_NS + call * 7_919 % 11) for n in range(2)]
                await store.append(pair)
                acknowledged.extend(record.event_id for record in pair)
                await asyncio.sleep(0)

        async def read(limit: int) -> None:
            while writing:
                known = set(acknowledged)
                assert known <= set(event_ids(await every(store, limit=limit, descending=limit % 2 == 0)))
                known = set(acknowledged)
                assert await store.count(EventFilter()) >= len(known)
                stats = await store.stats(None, None, None, None)
                assert stats.total_events >= len(known)
                assert stats.total_events == 2 * stats.total_sessions, "half of a call was visible"
                assert stats.events_by_type in ({1: stats.total_events}, {})
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as readers:
            for limit in (1_000, 37):
                readers.create_task(read(limit))
            try:
                await asyncio.gather(*map(write, range(8)))
            finally:
                writing = False
        assert await store.count(EventFilter()) == len(acknowledged) == 240

    @on_store
    async def test_pages_are_stable_beside_writers(self, store: Store) -> None:
        """A walk through the pages beside busy writers answers everything acknowledged before it exactly once, in order."""
        old = [make_record(f"old-{number:03}", at_ns=BASE_NS + number * 1_000) for number in range(200)]
        await store.append(old)
        done = False

        async def write(task: int) -> None:
            for call in range(100):
                if done:
                    return
                at_ns = BASE_NS + (task * 57_001 + call * 7_919) % 200_000
                await store.append([make_record(f"new-{task}-{call}", project_id=f"p{task}", at_ns=at_ns)])

        async def walk(descending: bool) -> None:
            seen: list[str] = []
            after: Position | None = None
            while True:
                answer = await store.query(page(limit=9, descending=descending, after=after))
                seen += event_ids(answer.events)
                if not answer.more:
                    break
                after = answer.events[-1].position
            assert len(set(seen)) == len(seen)
            names = [record.event_id for record in old]
            assert [name for name in seen if name.startswith("old-")] == (names[::-1] if descending else names)

        async with asyncio.TaskGroup() as writers:
            for task in range(3):
                writers.create_task(write(task))
            try:
                await asyncio.gather(walk(descending=False), walk(descending=True))
            finally:
                done = True

    @on_store
    async def test_a_cancelled_append_is_all_or_nothing(self, store: Store) -> None:
        """A caller that goes away leaves all of its call or nothing of it; the store serves on, without gaps."""
        for attempt in range(12):
            items = [make_record(f"e{attempt}-{number}") for number in range(4)]
            task = asyncio.create_task(store.append(items))
            for _ in range(attempt % 4):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            outcomes = await store.append(items)
            assert {outcome.status for outcome in outcomes} in ({IngestStatus.ACCEPTED}, {IngestStatus.DUPLICATE})
        assert sorted(event.position.index for event in await every(store)) == list(range(48))

    def test_what_was_acknowledged_before_closing_is_there(self, store_factory: StoreFactory) -> None:
        """Appends that are under way when the store closes are acknowledged and kept, or fail with an error of the server's."""

        async def run() -> list[str]:
            async with opened(store_factory()) as store:
                tasks = [
                    asyncio.create_task(
                        store.append([make_record(f"e{number}"), QuarantineItem("acme", "shop", "", b"%d" % number, ("x",))])
                    )
                    for number in range(20)
                ]
                await asyncio.sleep(0)
                await store.close()
                answers = await asyncio.gather(*tasks, return_exceptions=True)
            for answer in answers:
                assert isinstance(answer, (list, ChaukasError)), repr(answer)
            return [answer[0].event_id for answer in answers if isinstance(answer, list)]

        async def look() -> list[str]:
            async with opened(store_factory()) as store:
                return event_ids(await every(store))

        acknowledged = asyncio.run(run())
        assert set(acknowledged) <= set(asyncio.run(look()))
