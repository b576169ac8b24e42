"""The verbs of the framework, plain and async, in threaded and asyncio servers."""

# ruff: noqa: ARG005 - verbs have the arguments of the framework, used or not

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from chaukas.server import ChaukasServicer, EventResult, StorageError, ValidationError, current_context
from chaukas.spec.common.v1.events_pb2 import Event, EventStatus
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryResponse
from chaukas.spec.server.v1 import server_pb2 as messages

from .framework_servers import FLAVOURS, KINDS, TIMEOUT_S, Caller, make_backend, make_event, serving

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_flavours = pytest.mark.parametrize("flavour", FLAVOURS)


@both_kinds
@both_flavours
def test_event_goes_through_the_verbs_in_order(kind: str, flavour: str) -> None:
    """validate, enrich, transform, store: in this order, each with what the one before returned."""
    seen: list[str] = []

    def step(name: str) -> Callable[[Event], Event]:
        def verb(event: Event) -> Event:
            seen.append(name)
            copy = Event()
            copy.CopyFrom(event)
            copy.tags.append(name)
            return copy

        return verb

    stored: list[Event] = []
    backend = make_backend(
        flavour,
        validate_event=lambda event: seen.append("validate"),
        enrich_event=step("enrich"),
        transform_event=step("transform"),
        store_event=stored.append,
    )
    with serving(backend, kind) as channel:
        answer = Caller(channel).single(make_event("e1"))
        many = Caller(channel).batch(make_event("e2"), make_event("e3"))
    assert (answer.event_id, answer.status) == ("e1", "accepted")
    assert abs(answer.processed_at / 1000 - time.time()) < 60
    assert seen == ["validate", "enrich", "transform"] * 3
    assert [(event.event_id, list(event.tags)) for event in stored] == [(f"e{i}", ["enrich", "transform"]) for i in (1, 2, 3)]
    assert (many.batch_id, many.accepted_count, many.rejected_count) == ("b1", 2, 0)
    assert [(result.event_id, result.status) for result in many.results] == [("e2", "accepted"), ("e3", "accepted")]


@both_kinds
@both_flavours
def test_verbs_may_change_events_in_place(kind: str, flavour: str) -> None:
    """enrich and transform may return None after changing the event."""
    stored: list[Event] = []
    backend = make_backend(
        flavour,
        enrich_event=lambda event: event.tags.append("enriched"),
        transform_event=lambda event: event.tags.append("transformed"),
        store_event=stored.append,
    )
    with serving(backend, kind) as channel:
        Caller(channel).single(make_event())
    assert list(stored[0].tags) == ["enriched", "transformed"]


@both_kinds
@both_flavours
@pytest.mark.parametrize("verdict", [False, 0, ""])
def test_validate_refuses_by_what_it_returns(kind: str, flavour: str, verdict: object) -> None:
    """An event that validate_event calls invalid is not stored."""
    stored: list[Event] = []
    backend = make_backend(flavour, validate_event=lambda event: verdict, store_event=stored.append)
    with serving(backend, kind) as channel:
        error = Caller(channel).refused(make_event())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "the event is invalid"
    assert stored == []


@both_kinds
@both_flavours
@pytest.mark.parametrize("verdict", [None, True, "yes"])
def test_validate_lets_pass(kind: str, flavour: str, verdict: object) -> None:
    """None counts as valid, as everything true does."""
    stored: list[Event] = []
    backend = make_backend(flavour, validate_event=lambda event: verdict, store_event=stored.append)
    with serving(backend, kind) as channel:
        assert Caller(channel).single(make_event()).status == "accepted"
    assert len(stored) == 1


@both_kinds
def test_default_validation_names_every_broken_rule(kind: str) -> None:
    """Without an override the rules of the contract hold, all violations told together."""
    stored: list[Event] = []
    with serving(make_backend("plain", store_event=stored.append), kind) as channel:
        error = Caller(channel).refused(Event(project_id="p"))
        tenant = "部" * 80
        assert Caller(channel).single(make_event(tenant_id=tenant)).status == "accepted"
    assert all(field in error.details() for field in ("event_id", "tenant_id", "type"))
    assert [event.tenant_id for event in stored] == [tenant]


@both_kinds
def test_default_enrichment(kind: str) -> None:
    """server_timestamp and a missing timestamp are filled in; what the client set stays, its status above all."""
    stored: list[Event] = []
    untimed = make_event("e1", status=EventStatus.EVENT_STATUS_COMPLETED)
    timed = make_event("e2")
    timed.timestamp.FromSeconds(7)
    with serving(make_backend("plain", store_event=stored.append), kind) as channel:
        Caller(channel).batch(untimed, timed)
    assert stored[0].status == EventStatus.EVENT_STATUS_COMPLETED
    assert stored[1].status == EventStatus.EVENT_STATUS_UNSPECIFIED
    assert all(abs(event.server_timestamp.seconds - time.time()) < 60 for event in stored)
    assert stored[0].timestamp == stored[0].server_timestamp
    assert stored[1].timestamp.seconds == 7


@both_kinds
@both_flavours
def test_store_events_takes_a_batch_whole(kind: str, flavour: str) -> None:
    """An overridden store_events gets what is left of a batch in one call; its results stand at their events."""
    calls: list[list[str]] = []

    def store_events(events: list[Event]) -> list[Any]:
        calls.append([event.event_id for event in events])
        return ["duplicate" if event.event_id == "e2" else None for event in events]

    backend = make_backend(flavour, validate_event=lambda event: event.event_id != "e1", store_events=store_events)
    with serving(backend, kind) as channel:
        answer = Caller(channel).batch(*(make_event(f"e{i}") for i in range(4)))
        single = Caller(channel).single(make_event("e9"))
        nothing = Caller(channel).batch(make_event("e1"))
    assert calls == [["e0", "e2", "e3"], ["e9"]]
    assert [result.status for result in answer.results] == ["accepted", "rejected", "duplicate", "accepted"]
    assert (answer.accepted_count, list(answer.rejected_event_ids)) == (3, ["e1"])
    assert single.status == "accepted"
    assert (nothing.accepted_count, nothing.rejected_count) == (0, 1)


@both_kinds
@both_flavours
def test_store_event_keeps_single_events_beside_store_events(kind: str, flavour: str) -> None:
    """When both are overridden, a single event goes to store_event and a batch to store_events."""
    calls: list[str] = []
    backend = make_backend(
        flavour,
        store_event=lambda event: calls.append("one"),
        store_events=lambda events: calls.append("many"),
    )
    with serving(backend, kind) as channel:
        Caller(channel).single(make_event())
        Caller(channel).batch(make_event("e1"), make_event("e2"))
    assert calls == ["one", "many"]


@both_kinds
@both_flavours
def test_process_event_decides_the_whole_way(kind: str, flavour: str) -> None:
    """An overridden process_event is what every event goes through, one by one, and the verbs below it are its own affair."""
    seen: list[str] = []

    def process_event(event: Event) -> EventResult:
        seen.append(event.event_id)
        if event.event_id == "e2":
            raise ValidationError("not this one")
        return EventResult(status="duplicate" if event.event_id == "e3" else "accepted")

    backend = make_backend(flavour, process_event=process_event, store_event=lambda event: seen.append("stored"))
    with serving(backend, kind) as channel:
        single = Caller(channel).single(make_event("e1"))
        answer = Caller(channel).batch(*(make_event(f"e{i}") for i in (1, 2, 3)))
    assert seen == ["e1", "e1", "e2", "e3"]
    assert single.event_id == "e1"
    assert [(result.status, result.reason) for result in answer.results] == [
        ("accepted", ""),
        ("rejected", "not this one"),
        ("duplicate", ""),
    ]


@both_kinds
@both_flavours
def test_process_batch_is_below_both_ingest_calls(kind: str, flavour: str) -> None:
    """An overridden process_batch gets single events and batches, with the context, and its results are the answer."""
    contexts: list[Any] = []

    def process_batch(events: list[Event], context: Any) -> list[EventResult]:
        contexts.append(context.peer())
        return [
            EventResult(event.event_id, worm_proof_id=f"log#{index}")
            if index
            else EventResult(event.event_id, "quarantined", "odd")
            for index, event in enumerate(events)
        ]

    with serving(make_backend(flavour, process_batch=process_batch), kind) as channel:
        error = Caller(channel).refused(make_event("e0"))
        answer = Caller(channel).batch(make_event("e0"), make_event("e1"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "odd"
    assert [(result.status, result.worm_proof_id) for result in answer.results] == [("quarantined", ""), ("accepted", "log#1")]
    assert (answer.accepted_count, answer.rejected_count, list(answer.rejected_event_ids)) == (1, 1, ["e0"])
    assert len(contexts) == 2


@both_kinds
@both_flavours
def test_every_verb_has_the_context_of_its_call(kind: str, flavour: str) -> None:
    """current_context() gives the metadata of the call in whatever thread a verb runs, and nothing outside a call."""
    seen: list[tuple[str, object]] = []

    def note(verb: str, answer: Any = None) -> Callable[..., Any]:
        def run(*_: object) -> Any:
            seen.append((verb, dict(current_context().invocation_metadata())["who"]))
            return answer

        return run

    backend = make_backend(
        flavour,
        validate_event=note("validate"),
        enrich_event=note("enrich"),
        transform_event=note("transform"),
        store_event=note("store"),
        query_events=note("query", QueryResponse()),
        event_stats=note("stats", messages.GetEventStatsResponse()),
        capabilities=note("capabilities", Capabilities()),
    )
    with serving(backend, kind) as channel:
        stub, metadata = Caller(channel).stub, (("who", "me"),)
        stub.IngestEvent(messages.IngestEventRequest(event=make_event()), metadata=metadata)
        stub.QueryEvents(messages.QueryEventsRequest(), metadata=metadata)
        stub.GetEventStats(messages.GetEventStatsRequest(), metadata=metadata)
        stub.GetCapabilities(messages.GetCapabilitiesRequest(), metadata=metadata)
    assert seen == [(verb, "me") for verb in ("validate", "enrich", "transform", "store", "query", "stats", "capabilities")]
    with pytest.raises(LookupError):
        current_context()


@both_kinds
def test_plain_overrides_call_super(kind: str) -> None:
    """A plain override gets results from super(), in a threaded server and in a thread of an asyncio one."""

    class Backend(ChaukasServicer):
        def store_event(self, event: Event) -> str:
            return "duplicate" if event.event_id == "e2" else "accepted"

        def process_event(self, event: Event) -> EventResult:
            result = super().process_event(event)
            assert isinstance(result, EventResult)
            return EventResult(result.event_id, result.status, worm_proof_id="mine")

    with serving(Backend(), kind) as channel:
        answer = Caller(channel).batch(make_event("e1"), make_event("e2"))
    assert [(result.status, result.worm_proof_id) for result in answer.results] == [("accepted", "mine"), ("duplicate", "mine")]


@both_kinds
def test_async_overrides_call_super(kind: str) -> None:
    """An async override awaits super(), in both kinds of server."""

    class Backend(ChaukasServicer):
        async def store_event(self, event: Event) -> None:
            if event.event_id == "e2":
                raise StorageError("no room")

        async def store_events(self, events: list[Event]) -> list[EventResult]:
            return [
                EventResult(result.event_id, result.status, result.reason, "mine")
                for result in await super().store_events(events)
            ]

        async def process_batch(self, events: list[Event], context: Any) -> list[EventResult]:
            return list(await super().process_batch(events, context))

    with serving(Backend(), kind) as channel:
        answer = Caller(channel).batch(make_event("e1"), make_event("e2"))
    assert [(result.status, result.reason, result.worm_proof_id) for result in answer.results] == [
        ("accepted", "", "mine"),
        ("rejected", "no room", "mine"),
    ]


@both_kinds
def test_constructor_may_forget_super(kind: str) -> None:
    """A subclass whose __init__ does not call super().__init__(), as in the published documentation, works."""

    class Backend(ChaukasServicer):
        def __init__(self, name: str, *, room: int) -> None:
            self.name, self.room, self.events = name, room, list[Event]()

        async def store_event(self, event: Event) -> None:
            self.events.append(event)

    backend = Backend("mine", room=3)
    with serving(backend, kind) as channel:
        Caller(channel).single(make_event())
    assert len(backend.events) == 1


def test_batch_limit_is_kept_and_told() -> None:
    """batch_events_max refuses a larger batch as a whole and stands in the capabilities."""
    stored: list[Event] = []

    class Backend(ChaukasServicer):
        batch_events_max = 2

        def store_event(self, event: Event) -> None:
            stored.append(event)

    with serving(Backend(), "threaded") as channel:
        caller = Caller(channel)
        assert caller.stub.GetCapabilities(messages.GetCapabilitiesRequest()).capabilities.max_batch_size == 2
        assert caller.batch(make_event("e1"), make_event("e2")).accepted_count == 2
        with pytest.raises(grpc.RpcError) as caught:
            caller.batch(*(make_event(f"e{i}") for i in range(3)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(stored) == 2


@pytest.mark.parametrize("flavour", FLAVOURS)
@both_kinds
def test_many_calls_at_once(kind: str, flavour: str) -> None:
    """64 calls in flight are each acknowledged with their own id and stored once."""
    stored: list[str] = []
    lock = threading.Lock()

    def store_event(event: Event) -> None:
        with lock:
            stored.append(event.event_id)

    with serving(make_backend(flavour, store_event=store_event), kind) as channel:
        stub = Caller(channel).stub
        calls = [
            stub.IngestEvent.future(messages.IngestEventRequest(event=make_event(f"e{i}")), timeout=TIMEOUT_S) for i in range(64)
        ]
        answered = [call.result().event_id for call in calls]
    assert answered == [f"e{i}" for i in range(64)]
    assert sorted(stored) == sorted(answered)
