"""process_event_async: after the acknowledgement, never in its way."""

# ruff: noqa: ARG001, ARG005, PLW0108 - verbs have the arguments of the framework, used or not

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from typing import Any

import grpc
import pytest

from chaukas.server import ChaukasServicer, EventResult, ValidationError
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1 import server_pb2 as messages

from .framework_servers import FLAVOURS, KINDS, TIMEOUT_S, Caller, make_backend, make_event, serving

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_flavours = pytest.mark.parametrize("flavour", FLAVOURS)


class Followed:
    """Notes the events that process_event_async was given, and lets a test wait for them."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._changed = threading.Condition()

    def note(self, event: Event) -> None:
        with self._changed:
            self.ids.append(event.event_id)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ids) >= count, TIMEOUT_S)
            return sorted(self.ids)


@both_kinds
def test_plain_work_that_does_not_end_holds_back_no_acknowledgement(kind: str) -> None:
    """While process_event_async is stuck on every worker, calls are acknowledged; nothing of the work is lost."""
    gate, followed = threading.Event(), Followed()

    def process_event_async(event: Event) -> None:
        assert gate.wait(TIMEOUT_S)
        followed.note(event)

    backend = make_backend("plain", store_event=lambda event: None, process_event_async=process_event_async)
    with serving(backend, kind, workers=2) as channel:
        caller = Caller(channel)
        answers = [caller.single(make_event(f"e{i}")).status for i in range(20)]
        answers += [result.status for result in caller.batch(*(make_event(f"b{i}") for i in range(20))).results]
        assert followed.ids == []
        gate.set()
        assert followed.wait_for(40) == sorted([f"e{i}" for i in range(20)] + [f"b{i}" for i in range(20)])
    assert answers == ["accepted"] * 40


@both_kinds
def test_async_work_that_does_not_end_holds_back_no_acknowledgement(kind: str) -> None:
    """The same for an async process_event_async."""
    followed = Followed()
    gates: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    class Backend(ChaukasServicer):
        opened = False

        def store_event(self, event: Event) -> None:
            """Nothing to keep."""

        async def process_event_async(self, event: Event) -> None:
            gate = asyncio.Event()
            gates.append((asyncio.get_running_loop(), gate))
            if not self.opened:
                await gate.wait()
            followed.note(event)

    backend = Backend()
    with serving(backend, kind) as channel:
        caller = Caller(channel)
        answers = [caller.single(make_event(f"e{i}")).status for i in range(20)]
        assert followed.ids == []
        Backend.opened = True
        while len(followed.ids) < 20:
            for loop, gate in gates[:]:
                loop.call_soon_threadsafe(gate.set)
            caller.stub.Healthz(messages.HealthzRequest(), timeout=TIMEOUT_S)
    assert answers == ["accepted"] * 20
    assert sorted(followed.ids) == sorted(f"e{i}" for i in range(20))


@both_kinds
@both_flavours
def test_failing_work_is_logged_and_takes_nothing_with_it(kind: str, flavour: str, caplog: pytest.LogCaptureFixture) -> None:
    """An exception in process_event_async is logged with its event; acknowledgements and later events go on."""
    followed = Followed()

    def process_event_async(event: Event) -> None:
        followed.note(event)
        if event.event_id == "e1":
            raise OSError("no route")

    backend = make_backend(flavour, store_event=lambda event: None, process_event_async=process_event_async)
    with caplog.at_level(logging.ERROR, "chaukas.server.framework"):
        with serving(backend, kind) as channel:
            answers = [Caller(channel).single(make_event(f"e{i}")).status for i in range(3)]
            followed.wait_for(3)
        assert answers == ["accepted"] * 3
    (record,) = caplog.records
    assert "'e1'" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], OSError)


@both_kinds
@both_flavours
def test_work_follows_the_acknowledgement(kind: str, flavour: str) -> None:
    """process_event_async begins when the call is over: a store that is still busy has no event followed up."""
    followed = Followed()
    followed_while_storing: list[int] = []

    def store_event(event: Event) -> None:
        followed_while_storing.append(len(followed.ids))

    backend = make_backend(flavour, store_event=store_event, process_event_async=followed.note)
    with serving(backend, kind) as channel:
        Caller(channel).batch(*(make_event(f"e{i}") for i in range(50)))
        followed.wait_for(50)
    assert followed_while_storing == [0] * 50


_WAYS: dict[str, dict[str, Any]] = {
    "store_event": {"store_event": lambda event: _status_of(event)},
    "store_events": {"store_events": lambda events: [_status_of(event) for event in events]},
    "process_event": {"process_event": lambda event: _status_of(event)},
    "process_batch": {
        "process_batch": lambda events, context: [EventResult(event.event_id, _status_of(event)) for event in events]
    },
}


def _status_of(event: Event) -> str:
    return event.agent_id


@both_kinds
@both_flavours
@pytest.mark.parametrize("way", _WAYS)
def test_only_accepted_events_are_followed_up_once(kind: str, flavour: str, way: str) -> None:
    """Duplicates were followed up when they were new, rejected ones never are; whatever verb stores them."""
    followed = Followed()
    statuses = ["accepted", "duplicate", "rejected", "quarantined", "accepted"]
    with serving(make_backend(flavour, **_WAYS[way], process_event_async=followed.note), kind) as channel:
        Caller(channel).batch(*(make_event(f"e{i}", agent_id=status) for i, status in enumerate(statuses)))
        Caller(channel).single(make_event("e9", agent_id="accepted"))
        followed.wait_for(3)
    assert sorted(followed.ids) == ["e0", "e4", "e9"]


@both_kinds
def test_work_gets_the_event_as_it_was_stored(kind: str) -> None:
    """What transform_event made of an event is what is stored and followed up."""
    followed: list[str] = []

    class Backend(ChaukasServicer):
        def transform_event(self, event: Event) -> Event:
            return make_event(event.event_id, agent_name="changed")

        def store_event(self, event: Event) -> None:
            if event.event_id == "bad":
                raise ValidationError("bad")

        def process_event_async(self, event: Event) -> None:
            followed.append(f"{event.event_id} {event.agent_name}")

    with serving(Backend(), kind) as channel:
        Caller(channel).batch(make_event("e1"), make_event("bad"))
        Caller(channel).single(make_event("e2"))
    assert sorted(followed) == ["e1 changed", "e2 changed"]


def test_full_queue_drops_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """With background_events_max events waiting, further ones are acknowledged, not followed up, and that is logged."""
    gate, started, followed = threading.Event(), threading.Event(), Followed()

    class Backend(ChaukasServicer):
        background_events_max = 5
        background_workers_max = 1

        def store_event(self, event: Event) -> None:
            """Nothing to keep."""

        def process_event_async(self, event: Event) -> None:
            started.set()
            assert gate.wait(TIMEOUT_S)
            followed.note(event)

    backend = Backend()
    with caplog.at_level(logging.ERROR, "chaukas.server.framework"), serving(backend, "threaded") as channel:
        caller = Caller(channel)
        caller.single(make_event("first"))
        assert started.wait(TIMEOUT_S)
        assert caller.batch(*(make_event(f"e{i}") for i in range(20))).accepted_count == 20
        # The work of a call is queued when the call is over, which its answer does not wait for.
        while backend._background._dropped < 15:
            caller.stub.Healthz(messages.HealthzRequest(), timeout=TIMEOUT_S)
        gate.set()
        followed.wait_for(6)
    assert len(followed.ids) == 6
    # 15 drops are told at the first and at every power of two.
    assert len(caplog.records) == 4


def test_close_waits_for_the_work() -> None:
    """close() answers whether all background work was done within its time."""
    gate, followed = threading.Event(), Followed()

    def process_event_async(event: Event) -> None:
        assert gate.wait(TIMEOUT_S)
        followed.note(event)

    backend = make_backend("plain", store_event=lambda event: None, process_event_async=process_event_async)
    with serving(backend, "threaded") as channel:
        Caller(channel).single(make_event())
        while backend.close(timeout_s=0.01):
            """The call may not be over yet."""
        gate.set()
        assert backend.close(timeout_s=TIMEOUT_S)
    assert followed.ids == ["e1"]


def test_cancelled_call_is_still_followed_up() -> None:
    """A client that gives up while its batch is stored gets no answer, but what is stored is followed up."""
    followed, storing, gate = Followed(), threading.Event(), threading.Event()
    stored: Counter[str] = Counter()

    class Backend(ChaukasServicer):
        def store_event(self, event: Event) -> None:
            stored[event.event_id] += 1
            if event.event_id == "e1":
                storing.set()
                assert gate.wait(TIMEOUT_S)

        def process_event_async(self, event: Event) -> None:
            followed.note(event)

    for kind in KINDS:
        followed.ids.clear()
        storing.clear()
        gate.clear()
        with serving(Backend(), kind) as channel:
            events = [make_event(f"e{i}") for i in range(3)]
            call = Caller(channel).stub.IngestEventBatch.future(messages.IngestEventBatchRequest(event_batch={"events": events}))
            assert storing.wait(TIMEOUT_S)
            call.cancel()
            with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
                call.result()
            gate.set()
            assert followed.wait_for(3) == ["e0", "e1", "e2"], kind
    assert set(stored.values()) == {2}
