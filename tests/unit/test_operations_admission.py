from __future__ import annotations

import asyncio

import pytest

from chaukas.server.errors import OverloadedError
from chaukas.server.operations.admission import Admission

pytestmark = pytest.mark.anyio


async def test_a_request_waits_until_another_gives_back() -> None:
    """When the budget is used up requests are held, not refused at once."""
    admission = Admission(100, hold_s=60)
    await admission.take(80)
    waiting = asyncio.create_task(admission.take(30))
    await asyncio.sleep(0)
    assert not waiting.done()
    admission.give_back(80)
    await waiting
    assert admission.used_bytes == 30


async def test_a_request_is_refused_when_it_was_held_long_enough() -> None:
    """Nobody waits for ever, and a refusal leaves nothing behind."""
    admission = Admission(100, hold_s=0)
    await admission.take(80)
    with pytest.raises(OverloadedError, match="80 of 100"):
        await admission.take(30)
    admission.give_back(80)
    assert admission.used_bytes == 0
    await admission.take(100)


async def test_first_come_first_served() -> None:
    """A small request does not overtake a large one for ever; it goes on when the large one gives up."""
    admission = Admission(100, hold_s=60)
    await admission.take(60)
    large, small = asyncio.create_task(admission.take(90)), asyncio.create_task(admission.take(10))
    await asyncio.sleep(0)
    assert not small.done()
    large.cancel()
    await small
    assert admission.used_bytes == 70
    with pytest.raises(asyncio.CancelledError):
        await large


async def test_alone_everything_fits() -> None:
    """A body larger than the budget is taken when nothing else is at work: it must not wait for ever."""
    admission = Admission(100, hold_s=0)
    await admission.take(500)
    admission.give_back(500)


async def test_a_cancelled_request_gives_back_what_it_was_given() -> None:
    """A client that goes away in the very moment of its turn takes no room with it."""
    admission = Admission(100, hold_s=60)
    await admission.take(100)
    waiting = asyncio.create_task(admission.take(50))
    await asyncio.sleep(0)
    admission.give_back(100)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert admission.used_bytes == 0


async def test_bodies_that_grow_together_do_not_wait_for_each_other() -> None:
    """When all room is held by parts of bodies, one of them may go on, then the next; memory stays within budget and a body."""
    admission, bodies, peak = Admission(100, hold_s=60), [object() for _ in range(4)], 0

    async def read(body: object) -> None:
        nonlocal peak
        held = 0
        for part in (25, 25, 25):
            await admission.take(part, holder=body if held else None)
            held += part
            peak = max(peak, admission.used_bytes)
            await asyncio.sleep(0)
        admission.give_back(held, holder=body)

    await asyncio.gather(*(read(body) for body in bodies))
    assert peak <= 100 + 75
    assert admission.used_bytes == 0
