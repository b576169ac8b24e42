"""Where verbs run."""

# ruff: noqa: ARG001, ARG002, ARG005, PLW0108 - verbs have the arguments of the framework, used or not

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import grpc
import pytest

from chaukas.server import ChaukasServicer, EventResult, current_context, inline
from chaukas.server.framework.execution import VerbRunner, dual
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryRequest, QueryResponse
from chaukas.spec.server.v1 import server_pb2 as messages
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceServicer

from .framework_servers import KINDS, TIMEOUT_S, Caller, make_backend, make_event, serving

both_kinds = pytest.mark.parametrize("kind", KINDS)

_RPCS = ("Healthz", "GetCapabilities", "IngestEvent", "IngestEventBatch", "QueryEvents", "GetEventStats")


def test_asyncio_server_takes_the_calls_as_coroutines() -> None:
    """grpc.aio must see coroutine functions, or it would answer every call in a thread."""
    backend = ChaukasServicer()
    assert all(inspect.iscoroutinefunction(getattr(backend, name)) for name in _RPCS)
    assert all(name in vars(ChaukasServicer) and hasattr(ChaukasServerServiceServicer, name) for name in _RPCS)


def test_plain_verb_that_waits_does_not_stop_the_event_loop() -> None:
    """While plain verbs wait in an asyncio server, the server answers other calls."""
    gate, waiting = threading.Event(), threading.Semaphore(0)

    def store_event(event: Event) -> None:
        waiting.release()
        assert gate.wait(TIMEOUT_S)

    with serving(make_backend("plain", store_event=store_event), "asyncio") as channel:
        stub = Caller(channel).stub
        calls = [
            stub.IngestEvent.future(messages.IngestEventRequest(event=make_event(f"e{i}")), timeout=TIMEOUT_S) for i in range(32)
        ]
        for _ in range(32):
            assert waiting.acquire(timeout=TIMEOUT_S)
        assert stub.Healthz(messages.HealthzRequest(), timeout=TIMEOUT_S) == messages.HealthzResponse()
        gate.set()
        assert [call.result().status for call in calls] == ["accepted"] * 32


def test_plain_question_that_waits_does_not_stop_the_event_loop() -> None:
    """The same for a verb that is called once, and beside async verbs."""
    gate, waiting = threading.Event(), threading.Event()

    class Backend(ChaukasServicer):
        def query_events(self, query: QueryRequest) -> QueryResponse:
            waiting.set()
            assert gate.wait(TIMEOUT_S)
            return QueryResponse()

        async def store_event(self, event: Event) -> None:
            """Nothing to keep."""

    with serving(Backend(), "asyncio") as channel:
        stub = Caller(channel).stub
        call = stub.QueryEvents.future(messages.QueryEventsRequest(), timeout=TIMEOUT_S)
        assert waiting.wait(TIMEOUT_S)
        assert Caller(channel).single(make_event()).status == "accepted"
        gate.set()
        assert call.result() == messages.QueryEventsResponse(response=QueryResponse())


@both_kinds
def test_async_verbs_wait_side_by_side(kind: str) -> None:
    """64 calls whose async verb waits for all of them are all answered, so none holds up another."""
    barrier = asyncio.Barrier(64)

    class Backend(ChaukasServicer):
        async def store_event(self, event: Event) -> None:
            await barrier.wait()

    with serving(Backend(), kind, workers=64) as channel:
        stub = Caller(channel).stub
        calls = [
            stub.IngestEvent.future(messages.IngestEventRequest(event=make_event(f"e{i}")), timeout=TIMEOUT_S) for i in range(64)
        ]
        assert [call.result().event_id for call in calls] == [f"e{i}" for i in range(64)]


def threads_of(kind: str, backend_class: type[ChaukasServicer]) -> None:
    """One batch of two through a backend that notes its threads."""
    with serving(backend_class(), kind) as channel:
        Caller(channel).batch(make_event("e1"), make_event("e2"))


def test_places_of_verbs_in_an_asyncio_server() -> None:
    """Async and inline verbs run on the loop; the plain verbs of a batch share one thread of the pool."""
    places: dict[str, set[str]] = {"validate": set(), "enrich": set(), "store": set()}

    class Backend(ChaukasServicer):
        def validate_event(self, event: Event) -> None:
            places["validate"].add(threading.current_thread().name)

        def enrich_event(self, event: Event) -> None:
            places["enrich"].add(threading.current_thread().name)

        async def store_event(self, event: Event) -> None:
            places["store"].add(threading.current_thread().name)

    threads_of("asyncio", Backend)
    assert places["store"] == {"asyncio-server"}
    assert places["validate"] == places["enrich"]
    assert len(places["validate"]) == 1
    assert places["validate"].pop().startswith("Backend-verb")


def test_inline_verbs_run_on_the_loop() -> None:
    """@inline saves a plain verb the thread; without it the same verb runs in one."""
    places: list[str] = []

    class Inline(ChaukasServicer):
        @inline
        def store_event(self, event: Event) -> None:
            places.append(threading.current_thread().name)

    class Threaded(Inline):
        def store_event(self, event: Event) -> None:
            super().store_event(event)

    threads_of("asyncio", Inline)
    threads_of("asyncio", Threaded)
    assert places[:2] == ["asyncio-server"] * 2
    assert all(place.startswith("Threaded-verb") for place in places[2:])


def test_async_verbs_of_a_threaded_server_share_one_loop() -> None:
    """Async verbs of all calls, and what run() waits for, run on the same event loop, so they can share what it owns."""
    loops: set[asyncio.AbstractEventLoop] = set()

    class Backend(ChaukasServicer):
        async def open(self) -> int:
            loops.add(asyncio.get_running_loop())
            return 7

        async def store_event(self, event: Event) -> None:
            loops.add(asyncio.get_running_loop())

    backend = Backend()
    assert backend.run(backend.open()) == 7
    with serving(backend, "threaded") as channel:
        for i in range(10):
            Caller(channel).single(make_event(f"e{i}"))
    assert len(loops) == 1


def test_awaitable_of_a_plain_verb_is_awaited() -> None:
    """A plain verb that returns what an async function gave it works in both kinds of server."""
    stored: list[str] = []

    async def keep(event: Event) -> None:
        await asyncio.sleep(0)
        stored.append(event.event_id)

    for kind in KINDS:
        with serving(make_backend("plain", store_event=lambda event: keep(event)), kind) as channel:
            Caller(channel).batch(make_event("e1"), make_event("e2"))
    assert stored == ["e1", "e2"] * 2


def test_awaitables_run_on_the_loop_of_an_asyncio_server() -> None:
    """In an asyncio server there is one loop: what plain verbs return and what follows the acknowledgement run there too."""
    places: list[str] = []

    class Backend(ChaukasServicer):
        async def keep(self) -> None:
            places.append(threading.current_thread().name)

        def store_event(self, event: Event) -> Any:
            return self.keep()

        async def process_event_async(self, event: Event) -> None:
            places.append(threading.current_thread().name)

    with serving(Backend(), "asyncio") as channel:
        Caller(channel).batch(make_event("e1"), make_event("e2"))
        Caller(channel).single(make_event("e3"))
    assert places == ["asyncio-server"] * 6


class GoneContext:
    """The context of a threaded server whose client has gone: it takes no callback any more."""

    def add_callback(self, callback: Any) -> bool:
        return False

    def set_code(self, code: grpc.StatusCode) -> None:
        raise AssertionError(code)


def test_call_whose_client_has_gone_is_followed_up() -> None:
    """What is stored for a client that gave up before is followed up, and the call leaves no context behind."""
    followed: list[str] = []

    class Backend(ChaukasServicer):
        def store_event(self, event: Event) -> None:
            assert isinstance(current_context(), GoneContext)

        def process_event_async(self, event: Event) -> None:
            followed.append(event.event_id)

    backend = Backend()
    answer = backend.IngestEvent(messages.IngestEventRequest(event=make_event("e1")), GoneContext())
    with pytest.raises(LookupError):
        current_context()
    assert backend.close(TIMEOUT_S)
    assert (answer.status, followed) == ("accepted", ["e1"])


@pytest.mark.anyio
async def test_duals_follow_their_caller() -> None:
    """A verb with a default returns an awaitable on a loop, and a result in a thread without one."""
    backend = make_backend("async", store_event=lambda event: None)
    assert await backend.process_event(make_event("e1")) == EventResult("e1")
    in_thread = await asyncio.to_thread(backend.process_event, make_event("e2"))
    assert in_thread == EventResult("e2")
    assert await asyncio.to_thread(backend.store_events, [make_event("e3")]) == [EventResult("e3")]
    assert await backend.close()


def test_a_flow_cannot_wait_without_a_loop() -> None:
    """A flow that awaits something else than verbs says so instead of hanging."""

    class Holder:
        @dual
        async def wait(self) -> None:
            await asyncio.sleep(1)

    with pytest.raises(RuntimeError, match="event loop"):
        Holder().wait()


def test_close_cancels_what_hangs_on_the_own_loop() -> None:
    """Closing ends async verbs that would never end; what waits for them fails, and the next call finds a fresh loop."""
    runner = VerbRunner(1, "test")
    started = threading.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    errors: list[BaseException] = []

    def wait() -> None:
        try:
            runner.wait(hang())
        except BaseException as error:  # noqa: BLE001 - whichever it is
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert started.wait(TIMEOUT_S)
    runner.close()
    waiting.join(TIMEOUT_S)
    assert len(errors) == 1

    async def answer() -> int:
        return 7

    assert runner.wait(answer()) == 7
    runner.close()
    runner.close()


class AbortingPlain(ChaukasServicer):
    """Ends the call by the context of a threaded server."""

    def store_event(self, event: Event) -> None:
        current_context().abort(grpc.StatusCode.FAILED_PRECONDITION, "closed for today")


class AbortingAsync(ChaukasServicer):
    """Ends the call by the context of either server."""

    async def store_event(self, event: Event) -> None:
        aborting = current_context().abort(grpc.StatusCode.FAILED_PRECONDITION, "closed for today")
        if aborting is not None:
            await aborting


@pytest.mark.parametrize(
    ("kind", "backend_class"), [("threaded", AbortingPlain), ("threaded", AbortingAsync), ("asyncio", AbortingAsync)]
)
def test_verb_may_abort_the_call_itself(kind: str, backend_class: type[ChaukasServicer]) -> None:
    """context.abort in a verb keeps its code and words, in single calls and in batches."""
    with serving(backend_class(), kind) as channel:
        error = Caller(channel).refused(make_event())
        with pytest.raises(grpc.RpcError) as caught:
            Caller(channel).batch(make_event("e1"), make_event("e2"))
    for each in (error, caught.value):
        assert (each.code(), each.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "closed for today")
