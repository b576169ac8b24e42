"""The bounded group commit in front of a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from chaukas.server.errors import OverloadedError, ShuttingDownError, StorageError
from chaukas.server.ingest.pipeline import CommitFigures, IngestPipeline
from chaukas.server.storage.contract import EventRecord, IngestStatus, Outcome, QuarantineItem
from chaukas.server.testing import make_record

pytestmark = pytest.mark.anyio

Item = EventRecord | QuarantineItem


class _Store:
    """Takes items, remembers the transactions, waits or fails when told to."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        #: Raised for a transaction that holds one of these ids.
        self.poison: dict[str, Exception] = {}

    async def append(self, items: Sequence[Item]) -> list[Outcome]:
        names = [item.event_id for item in items]
        self.transactions.append(names)
        await asyncio.sleep(0)
        await self.gate.wait()
        for name in names:
            if name in self.poison:
                raise self.poison[name]
        return [Outcome(IngestStatus.ACCEPTED, name, index=place) for place, name in enumerate(names)]


def _records(*names: str) -> list[EventRecord]:
    return [make_record(name) for name in names]


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def _running(store: _Store, **settings: Any) -> IngestPipeline:
    pipeline = IngestPipeline(store, **settings)
    await pipeline.start()
    return pipeline


async def test_each_request_gets_its_own_outcomes():
    """Requests share transactions, and each gets exactly the outcomes of its items, in order."""
    store = _Store()
    pipeline = await _running(store)
    store.gate.clear()
    first = asyncio.create_task(pipeline.submit(_records("a")))
    await _settle()
    others = [asyncio.create_task(pipeline.submit(_records(*(f"{n}-{m}" for m in range(n))))) for n in range(1, 6)]
    await _settle()
    store.gate.set()
    assert [outcome.event_id for outcome in await first] == ["a"]
    for number, outcomes in enumerate(await asyncio.gather(*others), 1):
        assert [outcome.event_id for outcome in outcomes] == [f"{number}-{place}" for place in range(number)]
    assert len(store.transactions) == 2, "what arrived while a transaction was on its way must share the next one"
    assert pipeline.queued_events == pipeline.queued_bytes == 0
    assert await pipeline.submit([]) == []
    await pipeline.drain()


async def test_nothing_is_answered_before_it_is_stored():
    """A request is answered after the transaction of its items, never before."""
    store = _Store()
    pipeline = await _running(store)
    store.gate.clear()
    tasks = [asyncio.create_task(pipeline.submit(_records(f"e{n}"))) for n in range(10)]
    await _settle()
    assert not any(task.done() for task in tasks)
    assert pipeline.queued_events == 10
    store.gate.set()
    await asyncio.gather(*tasks)
    await pipeline.drain()


async def test_transactions_are_bounded_and_in_order():
    """A transaction holds at most so many items or bytes; items keep the order in which they arrived; no request is cut."""
    store = _Store()
    pipeline = await _running(store, commit_events_max=5, commit_bytes_max=100_000)
    store.gate.clear()
    sizes = [1, 2, 2, 2, 9, 1, 1, 1, 1, 1, 1]
    requests = [[f"{number}-{place}" for place in range(size)] for number, size in enumerate(sizes)]
    tasks = [asyncio.create_task(pipeline.submit(_records(*names))) for names in requests]
    large = asyncio.create_task(pipeline.submit([make_record("large", text="x" * 90_000)]))
    last = asyncio.create_task(pipeline.submit([make_record("last", text="x" * 90_000)]))
    await _settle()
    store.gate.set()
    await asyncio.gather(*tasks, large, last)
    await pipeline.drain()
    taken = [name for names in store.transactions for name in names]
    assert taken == [*(name for names in requests for name in names), "large", "last"]
    assert all(len(names) <= 5 or names == requests[4] for names in store.transactions)
    assert store.transactions[-1] == ["last"], "two large items are more than the bytes of one transaction"
    assert len(store.transactions) < len(requests)


@pytest.mark.parametrize("settings", [{"queue_events_max": 4}, {"queue_bytes_max": 5_000}])
async def test_a_full_queue_holds_and_then_refuses(settings: dict[str, int]):
    """Who finds the queue full is held, not stored, and refused after `hold_s`; who finds room in time is served."""
    store = _Store()
    pipeline = await _running(store, hold_s=0.05, **settings)
    store.gate.clear()
    inside = [asyncio.create_task(pipeline.submit(_records(f"in-{n}"))) for n in range(4)]
    await _settle()
    with pytest.raises(OverloadedError) as refused:
        async with asyncio.timeout(5):
            await pipeline.submit(_records("late"))
    assert "queue is full" in refused.value.public_message
    assert pipeline.queued_events == 4
    held = asyncio.create_task(pipeline.submit(_records("held")))
    await _settle()
    store.gate.set()
    assert [outcome.event_id for outcome in await held] == ["held"]
    await asyncio.gather(*inside)
    await pipeline.drain()
    assert "late" not in {name for names in store.transactions for name in names}


async def test_a_request_larger_than_the_queue_is_served():
    """A request that no queue of this size can hold is taken when it is alone, instead of waiting for ever."""
    store = _Store()
    pipeline = await _running(store, queue_events_max=3, hold_s=5)
    outcomes = await asyncio.gather(*(pipeline.submit(_records(*(f"{n}-{m}" for m in range(10)))) for n in range(3)))
    assert [len(each) for each in outcomes] == [10, 10, 10]
    await pipeline.drain()


async def test_a_turn_given_to_a_cancelled_request_is_not_lost():
    """A request is cancelled in the very moment in which it gets room in an empty queue: those behind it still get theirs."""
    store = _Store()
    pipeline = await _running(store, queue_events_max=1, hold_s=30)
    store.gate.clear()
    inside = asyncio.create_task(pipeline.submit(_records("inside")))
    await _settle()
    line = [asyncio.create_task(pipeline.submit(_records(f"line-{n}"))) for n in range(3)]
    await _settle()
    turn = pipeline._room[0]
    turn.add_done_callback(lambda _: line[0].cancel())
    store.gate.set()
    await inside
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await line[0]
        assert [[outcome.event_id for outcome in await task] for task in line[1:]] == [["line-1"], ["line-2"]]
    await pipeline.drain()


async def test_one_bad_request_does_not_fail_its_neighbours():
    """When a shared transaction fails, each request is tried alone, and only those fail that fail alone."""
    store = _Store()
    store.poison["bad"] = OverloadedError("the quarantine is full")
    pipeline = await _running(store)
    store.gate.clear()
    first = asyncio.create_task(pipeline.submit(_records("first")))
    await _settle()
    tasks = {name: asyncio.create_task(pipeline.submit(_records(name, f"{name}-2"))) for name in ("a", "bad", "b")}
    await _settle()
    store.gate.set()
    await first
    assert [outcome.event_id for outcome in await tasks["a"]] == ["a", "a-2"]
    assert [outcome.event_id for outcome in await tasks["b"]] == ["b", "b-2"]
    with pytest.raises(OverloadedError, match="quarantine"):
        await tasks["bad"]
    assert pipeline.queued_events == 0
    await pipeline.drain()


async def test_a_store_that_fails_is_not_asked_for_each_request():
    """When the store itself is broken, waiting requests are told so at once; it is not tried again for every one of them."""
    store = _Store()
    pipeline = await _running(store)
    store.gate.clear()
    names = [f"e{number}" for number in range(500)]
    store.poison = {name: StorageError() for name in names}
    tasks = [asyncio.create_task(pipeline.submit(_records(name))) for name in names]
    await _settle()
    store.gate.set()
    failed = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(error) for error in failed} == {StorageError}
    assert len(store.transactions) < 20
    store.poison.clear()
    assert len(await pipeline.submit(_records("again"))) == 1
    await pipeline.drain()


async def test_what_the_store_raises_becomes_one_of_our_errors():
    """Nothing foreign reaches a transport: an unexpected exception is a `StorageError` with the cause behind it."""
    store = _Store()
    store.poison["bad"] = ZeroDivisionError("oops")
    pipeline = await _running(store)
    with pytest.raises(StorageError) as raised:
        await pipeline.submit(_records("bad"))
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert "oops" not in raised.value.public_message
    assert len(await pipeline.submit(_records("good"))) == 1
    await pipeline.drain()


async def test_a_cancelled_caller_leaves_its_items_to_be_stored():
    """A caller that goes away disturbs nobody: what it handed over is stored, the others get their answers."""
    store = _Store()
    pipeline = await _running(store)
    store.gate.clear()
    gone = asyncio.create_task(pipeline.submit(_records("gone")))
    stays = asyncio.create_task(pipeline.submit(_records("stays")))
    await _settle()
    gone.cancel()
    await _settle()
    store.gate.set()
    assert [outcome.event_id for outcome in await stays] == ["stays"]
    assert gone.cancelled()
    assert {name for names in store.transactions for name in names} == {"gone", "stays"}
    assert pipeline.queued_events == pipeline.queued_bytes == 0
    await pipeline.drain()


async def test_draining_finishes_what_was_taken_and_refuses_the_rest():
    """`drain` commits everything taken, refuses those in line and those who come later, and may be called twice."""
    store = _Store()
    pipeline = await _running(store, queue_events_max=2, hold_s=30)
    store.gate.clear()
    taken = [asyncio.create_task(pipeline.submit(_records(f"taken-{n}"))) for n in range(2)]
    await _settle()
    in_line = [asyncio.create_task(pipeline.submit(_records(f"line-{n}"))) for n in range(2)]
    await _settle()
    draining = asyncio.create_task(pipeline.drain())
    await _settle()
    with pytest.raises(ShuttingDownError):
        await pipeline.submit(_records("late"))
    assert {type(each) for each in await asyncio.gather(*in_line, return_exceptions=True)} == {ShuttingDownError}
    assert not draining.done()
    store.gate.set()
    await draining
    assert [outcome.event_id for outcomes in await asyncio.gather(*taken) for outcome in outcomes] == ["taken-0", "taken-1"]
    await pipeline.drain()
    with pytest.raises(ShuttingDownError):
        await pipeline.submit(_records("after"))


async def test_figures_of_every_transaction():
    """Each transaction is reported with its items, bytes and whether it failed."""
    figures: list[CommitFigures] = []
    record: Callable[[CommitFigures], None] = figures.append
    store = _Store()
    store.poison["bad"] = StorageError()
    pipeline = await _running(store, on_commit=record)
    (outcome,) = await pipeline.submit(_records("good"))
    with pytest.raises(StorageError):
        await pipeline.submit([*_records("bad"), QuarantineItem("acme", "shop", "q", b"raw", ("x",))])
    assert outcome.status is IngestStatus.ACCEPTED
    assert [(each.items, each.failed) for each in figures] == [(1, False), (2, True)]
    assert all(each.size_bytes > 1_000 and each.duration_s >= 0 for each in figures)
    await pipeline.drain()


async def test_those_who_were_together_are_waited_for():
    """Requests that took part a moment ago share the next transaction too; who is alone does not wait for anybody."""
    store = _Store()
    pipeline = await _running(store, gather_s=60)
    await pipeline.submit(_records("alone"))
    store.gate.clear()
    together = [asyncio.create_task(pipeline.submit(_records(name))) for name in ("a", "b", "c")]
    await _settle()
    store.gate.set()
    await asyncio.gather(*together)
    again = asyncio.create_task(pipeline.submit(_records("a again")))
    await _settle()
    assert not again.done()
    await asyncio.gather(again, *(pipeline.submit(_records(f"{name} again")) for name in ("b", "c")))
    assert store.transactions[0] == ["alone"]
    assert sorted(store.transactions[-1]) == ["a again", "b again", "c again"]
    await pipeline.drain()


async def test_half_of_those_who_were_together_are_enough():
    """Who brings many events waits for half of the others only: while these are written, the rest is received."""
    store = _Store()
    pipeline = await _running(store, gather_s=60)
    await pipeline.submit(_records("alone"))
    store.gate.clear()
    together = [asyncio.create_task(pipeline.submit(_records(*(f"{name}{n}" for n in range(25))))) for name in "abcd"]
    await _settle()
    store.gate.set()
    await asyncio.gather(*together)
    first = asyncio.create_task(pipeline.submit(_records(*(f"a again {n}" for n in range(25)))))
    await _settle()
    assert not first.done(), "25 events are not worth a transaction"
    await asyncio.gather(first, pipeline.submit(_records(*(f"b again {n}" for n in range(25)))))
    assert len(store.transactions[-1]) == 50
    await pipeline.drain()
