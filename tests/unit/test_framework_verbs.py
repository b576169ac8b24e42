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
from chaukas.server.errors import InvalidRequestError
from chaukas.spec.common.v1.events_pb2 import Event, EventStatus
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryFilter, QueryRequest, QueryResponse
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
def test_query_gets_the_effective_filter(kind: str, flavour: str) -> None:
    """The shorthand session_id reaches query_events inside the filter; has_more follows the page token."""
    filters: list[QueryFilter] = []

    def query_events(query: QueryRequest) -> QueryResponse:
        filters.append(query.filter)
        return QueryResponse(events=[make_event()], next_page_token="next" if query.page_size else "")

    with serving(make_backend(flavour, query_events=query_events), kind) as channel:
        query = QueryRequest(filter=QueryFilter(tenant_id="acme"), session_id="s1", page_size=1)
        first = Caller(channel).stub.QueryEvents(messages.QueryEventsRequest(query=query)).response
        last = Caller(channel).stub.QueryEvents(messages.QueryEventsRequest()).response
    assert filters == [QueryFilter(tenant_id="acme", session_id="s1"), QueryFilter()]
    assert (first.has_more, first.next_page_token, len(first.events)) == (True, "next", 1)
    assert not last.has_more


@both_kinds
@both_flavours
def test_query_for_two_sessions_is_refused(kind: str, flavour: str) -> None:
    """A conflict between the shorthand and the filter never reaches query_events."""
    asked: list[QueryRequest] = []
    with serving(make_backend(flavour, query_events=asked.append), kind) as channel:
        query = QueryRequest(filter=QueryFilter(session_id="s1"), session_id="s2")
        with pytest.raises(grpc.RpcError) as caught:
            Caller(channel).stub.QueryEvents(messages.QueryEventsRequest(query=query))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "session_id" in caught.value.details()
    assert asked == []


@both_kinds
@both_flavours
def test_statistics_and_capabilities_verbs(kind: str, flavour: str) -> None:
    """event_stats and capabilities answer their RPCs."""
    backend = make_backend(
        flavour,
        event_stats=lambda request: messages.GetEventStatsResponse(total_events=len(request.tenant_id)),
        capabilities=lambda: Capabilities(rbac=True),
    )
    with serving(backend, kind) as channel:
        stub = Caller(channel).stub
        assert stub.GetEventStats(messages.GetEventStatsRequest(tenant_id="acme")).total_events == 4
        assert stub.GetCapabilities(messages.GetCapabilitiesRequest()).capabilities == Capabilities(rbac=True)
        assert stub.Healthz(messages.HealthzRequest()) == messages.HealthzResponse()


@pytest.mark.parametrize(
    ("verbs", "ingest", "query", "statistics"),
    [
        ((), False, False, False),
        (("validate_event", "process_event_async"), False, False, False),
        (("store_event",), True, False, False),
        (("store_events",), True, False, False),
        (("process_event",), True, False, False),
        (("process_batch",), True, False, False),
        (("query_events",), False, True, False),
        (("event_stats",), False, False, True),
        (("IngestEventBatch", "QueryEvents", "GetEventStats"), True, True, True),
    ],
)
def test_capabilities_claim_what_is_overridden(verbs: tuple[str, ...], ingest: bool, query: bool, statistics: bool) -> None:
    """The default claims only what the subclass has, nothing of the published flags, and its own limit."""
    backend = make_backend("plain", **{verb: lambda *args: None for verb in verbs})
    capabilities = backend.capabilities()
    assert capabilities == Capabilities(
        supports_batch_ingestion=ingest, supports_event_querying=query, supports_statistics=statistics
    )


@both_kinds
def test_verbs_without_an_override_are_unimplemented(kind: str) -> None:
    """A backend without verbs answers UNIMPLEMENTED and names the verb; it never acknowledges."""
    requests = {
        "IngestEvent": messages.IngestEventRequest(event=make_event()),
        "IngestEventBatch": messages.IngestEventBatchRequest(event_batch={"events": [make_event()]}),
        "QueryEvents": messages.QueryEventsRequest(),
        "GetEventStats": messages.GetEventStatsRequest(),
    }
    with serving(ChaukasServicer(), kind) as channel:
        stub = Caller(channel).stub
        told = {}
        for name, request in requests.items():
            with pytest.raises(grpc.RpcError) as caught:
                getattr(stub, name)(request, timeout=TIMEOUT_S)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            told[name] = caught.value.details().rsplit(" ", 1)[1]
        stub.Healthz(messages.HealthzRequest())
    assert told == {
        "IngestEvent": "store_event",
        "IngestEventBatch": "store_event",
        "QueryEvents": "query_events",
        "GetEventStats": "event_stats",
    }


_ERRORS = [
    (ValidationError("name: is too long"), grpc.StatusCode.INVALID_ARGUMENT, "name: is too long"),
    (StorageError("the disk is full"), grpc.StatusCode.INTERNAL, "the disk is full"),
    (InvalidRequestError("page_size", "is negative"), grpc.StatusCode.INVALID_ARGUMENT, "page_size: is negative"),
    (KeyError("password=hunter2"), grpc.StatusCode.UNKNOWN, "an unexpected error occurred; see the server's log"),
    (NotImplementedError(), grpc.StatusCode.UNKNOWN, "an unexpected error occurred; see the server's log"),
]


@both_kinds
@both_flavours
@pytest.mark.parametrize(("error", "code", "message"), _ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "verb", ["validate_event", "enrich_event", "transform_event", "store_event", "store_events", "process_event"]
)
def test_errors_of_ingest_verbs(kind: str, flavour: str, error: Exception, code: Any, message: str, verb: str) -> None:
    """Whatever a verb raises becomes the status of the table with its public message; nothing else of it gets out."""

    def fail(*_: object) -> None:
        raise error

    backend = make_backend(flavour, **{"store_event": lambda event: None, verb: fail} if verb != "store_events" else {verb: fail})
    with serving(backend, kind) as channel:
        caught = Caller(channel).refused(make_event())
    assert (caught.code(), caught.details()) == (code, message)
    assert "hunter2" not in str(caught)


@both_kinds
@both_flavours
@pytest.mark.parametrize(("error", "code", "message"), _ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("verb", ["query_events", "event_stats", "capabilities"])
def test_errors_of_question_verbs(kind: str, flavour: str, error: Exception, code: Any, message: str, verb: str) -> None:
    """The same table holds for questions."""

    def fail(*_: object) -> None:
        raise error

    calls = {
        "query_events": ("QueryEvents", messages.QueryEventsRequest()),
        "event_stats": ("GetEventStats", messages.GetEventStatsRequest()),
        "capabilities": ("GetCapabilities", messages.GetCapabilitiesRequest()),
    }
    name, request = calls[verb]
    with serving(make_backend(flavour, **{verb: fail}), kind) as channel, pytest.raises(grpc.RpcError) as caught:
        getattr(Caller(channel).stub, name)(request, timeout=TIMEOUT_S)
    assert (caught.value.code(), caught.value.details()) == (code, message)


@both_kinds
@both_flavours
@pytest.mark.parametrize(
    "verbs",
    [
        {"validate_event": lambda event: True, "store_event": lambda event: "acepted"},
        {"store_event": lambda event: False},
        {"store_event": lambda event: EventResult(status="done")},
        {"store_events": lambda events: []},
        {"process_batch": lambda events, context: [None, None]},
        {"enrich_event": lambda event: 7, "store_event": lambda event: None},
        {"transform_event": lambda event: "e", "store_event": lambda event: None},
    ],
)
def test_what_a_verb_cannot_mean_is_not_acknowledged(kind: str, flavour: str, verbs: dict[str, Any]) -> None:
    """A return value that can only be a mistake is an error of the backend, never an acknowledgement."""
    with serving(make_backend(flavour, **verbs), kind) as channel:
        assert Caller(channel).refused(make_event()).code() is grpc.StatusCode.UNKNOWN


@both_kinds
@both_flavours
@pytest.mark.parametrize("verb", ["query_events", "event_stats", "capabilities"])
def test_questions_need_the_message_as_their_answer(kind: str, flavour: str, verb: str) -> None:
    """A question verb that returns something else is an error of the backend."""
    name = {"query_events": "QueryEvents", "event_stats": "GetEventStats", "capabilities": "GetCapabilities"}[verb]
    request = getattr(messages, f"{name}Request")()
    with serving(make_backend(flavour, **{verb: lambda *args: None}), kind) as channel, pytest.raises(grpc.RpcError) as caught:
        getattr(Caller(channel).stub, name)(request, timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN


@both_kinds
@both_flavours
def test_anything_else_that_is_returned_means_stored(kind: str, flavour: str) -> None:
    """A store_event that returns a row number, as in many drivers, has stored the event."""
    with serving(make_backend(flavour, store_event=lambda event: 0), kind) as channel:
        assert Caller(channel).single(make_event()).status == "accepted"


@both_kinds
def test_single_event_without_an_event_is_refused(kind: str) -> None:
    """A request that holds no event is wrong whatever validate_event thinks of empty events."""
    backend = make_backend("plain", validate_event=lambda event: True, store_event=lambda event: None)
    with serving(backend, kind) as channel, pytest.raises(grpc.RpcError) as caught:
        Caller(channel).stub.IngestEvent(messages.IngestEventRequest(), timeout=TIMEOUT_S)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "event: is missing")


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
