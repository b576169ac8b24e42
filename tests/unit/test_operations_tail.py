"""The tail operation without a transport: scope, cursors over many logs, clocks, and who may follow."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.errors import InvalidRequestError, NotFoundError, OverloadedError, PermissionDeniedError, ShuttingDownError
from chaukas.server.ingest.publisher import CommitSignal
from chaukas.server.operations.tail import TailItem, TailRequest, open_tail
from chaukas.server.testing.records import make_record
from chaukas.spec.common.v1.query_pb2 import QueryFilter
from tests.unit.operations_services import Bench

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def _following(
    bench: Bench, wanted: TailRequest | None = None, principal: Principal = ANONYMOUS
) -> AsyncIterator[AsyncIterator[TailItem]]:
    async with open_tail(bench.services, principal, wanted or TailRequest()) as tail, contextlib.aclosing(tail.items()) as items:
        yield items


async def _events(items: AsyncIterator[TailItem], count: int) -> list[tuple[str, str]]:
    """Id and cursor of the next events."""
    found: list[tuple[str, str]] = []
    while len(found) < count:
        item = await anext(items)
        if item.event is not None:
            found.append((item.event.event_id, item.cursor))
    return found


async def test_a_bound_caller_sees_its_own() -> None:
    """A caller that is bound to a tenant follows that tenant only, and its cursors open nothing for others."""
    bench = await Bench().opened()
    bound = Principal("key", tenant_id="acme")
    async with _following(bench, principal=bound) as items:
        await bench.store.append([make_record("foreign", tenant_id="other"), make_record("own")])
        ((event_id, cursor),) = await _events(items, 1)
    assert event_id == "own"
    with pytest.raises(PermissionDeniedError):
        async with _following(bench, TailRequest(QueryFilter(tenant_id="other")), bound):
            pass
    for other in (ANONYMOUS, Principal("key", tenant_id="other"), Principal("key", tenant_id="acme", project_id="shop")):
        with pytest.raises(InvalidRequestError, match="since"):
            async with _following(bench, TailRequest(since=cursor), other):
                pass


@pytest.mark.parametrize("logs", [1, 16, 17, 600])
async def test_cursors_stay_small_and_exact(logs: int) -> None:
    """Whatever the number of logs, every cursor has at most 400 characters and resumes exactly behind its event."""
    bench = await Bench().opened()
    await bench.store.append([make_record("old", project_id=f"p{number}") for number in range(logs)])
    names: list[tuple[str, str]] = []
    async with _following(bench) as items:
        for call in range(6):
            await bench.store.append([make_record(f"e{call}-{n}", project_id=f"p{(call + n) % logs}") for n in range(5)])
        names = await _events(items, 30)
    for place in (0, 7, 13, 28):
        assert len(names[place][1]) <= 400
        async with _following(bench, TailRequest(since=names[place][1])) as items:
            rest = await _events(items, 29 - place)
            # A tail that was resumed gives the same cursors as the one that went on.
            assert [event_id for event_id, _ in rest] == [event_id for event_id, _ in names[place + 1 :]]


async def test_a_clock_that_was_set_back_costs_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over many logs a cursor is refused, rather than passing over events that a clock set back put in front of it."""
    bench = await Bench().opened()
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    await bench.store.append([make_record("old", project_id=f"p{number}") for number in range(20)])
    async with _following(bench) as items:
        now_ns += 1_000
        await bench.store.append([make_record("a", project_id="p1")])
        ((_, cursor),) = await _events(items, 1)
        now_ns -= 1_000_000
        await bench.store.append([make_record("b", project_id="new")])
        # Who follows misses nothing.
        assert [event_id for event_id, _ in await _events(items, 1)] == ["b"]
    with pytest.raises(InvalidRequestError, match="clock"):
        async with _following(bench, TailRequest(since=cursor)):
            pass


async def test_a_cursor_of_another_record_is_refused() -> None:
    """When the record was replaced by an older copy, a cursor from beyond its end is an error, not a silent gap."""
    bench, restored = await Bench().opened(), await Bench().opened()
    await restored.store.append([make_record("a")])
    async with _following(bench) as items:
        await bench.store.append([make_record("a"), make_record("b")])
        cursor = (await _events(items, 2))[1][1]
    with pytest.raises(NotFoundError):
        async with _following(restored, TailRequest(since=cursor)):
            pass


async def test_wrong_beginnings_are_named() -> None:
    """What a tail cannot do is refused with the field."""
    bench = await Bench().opened()
    timed = QueryFilter()
    timed.time.start.GetCurrentTime()
    for wanted, field in (
        (TailRequest(timed), "filter.time"),
        (TailRequest(recent=1001), "recent"),
        (TailRequest(recent=-1), "recent"),
        (TailRequest(recent=1, since="x"), "recent"),
        (TailRequest(since="x"), "since"),
        (TailRequest(since="A" * 100_000), "since"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            async with _following(bench, wanted):
                pass
        assert caught.value.field == field
    assert bench.services.tails.count == 0


async def test_the_number_of_clients_is_bounded() -> None:
    """One client too many is told to come back; who leaves makes room; a server that stops takes nobody and ends all."""
    bench = await Bench(tail_clients_max=1).opened()
    async with _following(bench) as items:
        with pytest.raises(OverloadedError, match="tail_clients_max"):
            async with _following(bench):
                pass
        bench.services.tails.stop()
        assert [item async for item in items if item.event is not None] == []
    with pytest.raises(ShuttingDownError):
        async with _following(bench):
            pass


async def test_a_signal_wakes_everybody_once() -> None:
    """Followers wake on a commit, none is lost between looking and waiting, and nobody waits for ever."""
    signal = CommitSignal()
    version = signal.version
    assert await signal.wait(version, 0.001) is False
    waiting = [asyncio.create_task(signal.wait(version, 30)) for _ in range(3)]
    await asyncio.sleep(0)
    signal.notify()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert await signal.wait(version, 30) is True
    assert await signal.wait(signal.version, 0.001) is False
