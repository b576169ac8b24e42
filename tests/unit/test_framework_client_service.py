"""The client service over a backend's verbs, and what travels in trailing metadata."""

# ruff: noqa: ARG002 - verbs have the arguments of the framework, used or not

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote_from_bytes, unquote

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaukas.server import ChaukasClientServicer, ChaukasServicer, EventResult, StorageError, current_context
from chaukas.server.framework.trailers import batch_trailers, bounded_details, event_trailers
from chaukas.spec.client.v1 import client_pb2 as client
from chaukas.spec.client.v1.client_pb2_grpc import ChaukasClientServiceStub
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import QueryFilter, QueryRequest, QueryResponse
from chaukas.spec.server.v1 import server_pb2 as messages
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceStub

from .framework_servers import FLAVOURS, KINDS, TIMEOUT_S, make_backend, make_event, serving

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_flavours = pytest.mark.parametrize("flavour", FLAVOURS)

_FATES = {
    "same": EventResult(status="duplicate"),
    "other": EventResult(status="rejected", reason="another event has this id", quarantine_id="q7"),
    "kept": EventResult(status="quarantined", reason="tags: too many", quarantine_id="q8"),
}


def store_by_fate(event: Event) -> EventResult | None:
    """Answer as the event's id says."""
    if event.event_id == "stuck":
        raise StorageError("no room")
    fate = _FATES.get(event.event_id)
    return fate and EventResult("", fate.status, fate.reason, "", fate.quarantine_id)


def call_of(stub: Any, event: Event, request: Any) -> tuple[Any, dict[str, Any]]:
    """The code of a single call, and its trailing metadata."""
    call = stub.IngestEvent.future(request(event=event), timeout=TIMEOUT_S)
    code = call.code()
    return code, dict(call.trailing_metadata())


@both_kinds
@both_flavours
@pytest.mark.parametrize("service", ["client", "server"])
def test_single_event(kind: str, flavour: str, service: str) -> None:
    """Trailing metadata tells a single event's status and quarantine id in both services; an invalid one fails the call."""
    make_stub, request = {
        "client": (ChaukasClientServiceStub, client.IngestEventRequest),
        "server": (ChaukasServerServiceStub, messages.IngestEventRequest),
    }[service]
    with serving(make_backend(flavour, store_event=store_by_fate), kind) as channel:
        stub = make_stub(channel)
        told = {name: call_of(stub, make_event(name), request) for name in ("good", "same", "other", "kept", "stuck", "")}
    ok, invalid = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
    assert told == {
        "good": (ok, {}),
        "same": (ok, {"chaukas-status": "duplicate"}),
        "other": (
            ok,
            {
                "chaukas-status": "rejected",
                "chaukas-quarantine-id": "q7",
                "chaukas-reason-bin": b"another event has this id",
            },
        ),
        "kept": (invalid, {"chaukas-status": "quarantined", "chaukas-quarantine-id": "q8"}),
        "stuck": (grpc.StatusCode.INTERNAL, {"chaukas-status": "rejected"}),
        "": (invalid, {"chaukas-status": "rejected"}),
    }


@both_kinds
@both_flavours
def test_batch_is_ok_and_tells_what_is_not_stored(kind: str, flavour: str) -> None:
    """A batch of the client package is answered OK; what was not stored is in trailing metadata, with reasons."""
    with serving(make_backend(flavour, store_event=store_by_fate), kind) as channel:
        stub = ChaukasClientServiceStub(channel)

        def told(*ids: str) -> dict[str, Any]:
            batch = EventBatch(batch_id="b1", events=map(make_event, ids))
            answer, call = stub.IngestEventBatch.with_call(client.IngestEventBatchRequest(event_batch=batch), timeout=TIMEOUT_S)
            assert answer == client.IngestEventBatchResponse()
            return dict(call.trailing_metadata())

        assert told("good", "same") == {}
        trailers = told("good", "other", "same", "kept", "stuck")
    rejected = messages.IngestEventBatchResponse.FromString(trailers.pop("chaukas-rejected-bin"))
    assert trailers == {"chaukas-accepted-count": "2", "chaukas-rejected-count": "3"}
    assert (rejected.accepted_count, rejected.rejected_count) == (2, 3)
    assert [(result.event_id, result.status, result.reason) for result in rejected.results] == [
        ("other", "rejected", "another event has this id"),
        ("kept", "quarantined", "tags: too many"),
        ("stuck", "rejected", "no room"),
    ]


@both_kinds
@both_flavours
def test_questions_of_the_client_package(kind: str, flavour: str) -> None:
    """Query, capabilities and health answer over the client service as over the server's."""

    def query_events(query: QueryRequest) -> QueryResponse:
        return QueryResponse(events=[make_event(session_id=query.filter.session_id)], next_page_token="more")  # noqa: S106

    with serving(make_backend(flavour, query_events=query_events), kind) as channel:
        stub = ChaukasClientServiceStub(channel)
        assert stub.Healthz(client.HealthzRequest()) == client.HealthzResponse()
        assert stub.GetCapabilities(client.GetCapabilitiesRequest()).capabilities.supports_event_querying
        query = QueryRequest(session_id="s1")
        page = stub.QueryEvents(client.QueryEventsRequest(query=query)).response
        query.filter.CopyFrom(QueryFilter(session_id="s2"))
        with pytest.raises(grpc.RpcError) as caught:
            stub.QueryEvents(client.QueryEventsRequest(query=query))
    assert (page.events[0].session_id, page.has_more) == ("s1", True)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@both_kinds
def test_trailers_of_a_verb_are_kept(kind: str) -> None:
    """What a verb sets as trailing metadata stays beside the framework's."""

    class Backend(ChaukasServicer):
        async def store_event(self, event: Event) -> str:
            current_context().set_trailing_metadata((("mine", "1"),))
            return "duplicate"

    with serving(Backend(), kind) as channel:
        _, trailers = call_of(ChaukasClientServiceStub(channel), make_event(), client.IngestEventRequest)
    assert trailers == {"mine": "1", "chaukas-status": "duplicate"}


def test_backend_with_rpcs_of_its_own_is_refused() -> None:
    """The client service goes by verbs, so it does not silently pass by an RPC that a backend overrides."""

    class Backend(ChaukasServicer):
        def IngestEvent(self, request: Any, context: Any) -> messages.IngestEventResponse:  # noqa: N802
            return messages.IngestEventResponse()

    with pytest.raises(TypeError, match="Backend overrides IngestEvent"):
        ChaukasClientServicer(Backend())


def travelling_bytes(trailers: Any) -> int:
    """Metadata as HTTP/2 counts it (RFC 9113 §6.5.2): names, values and 32 bytes for each, `-bin` in base64."""
    return sum(
        len(key) + 32 + len(base64.b64encode(value) if key.endswith("-bin") else value.encode("ascii")) for key, value in trailers
    )


_texts = st.text(st.characters(), max_size=3000) | st.text(st.sampled_from("é部\U0001f916%\0\ud800 a"), max_size=3000)
_results = st.builds(
    EventResult,
    event_id=_texts,
    status=st.sampled_from(["accepted", "duplicate", "rejected", "quarantined"]),
    reason=_texts,
    quarantine_id=_texts,
)


def decodable(result: EventResult) -> EventResult:
    """As results reach a server: their event ids came out of protobuf, which holds no lone surrogates."""
    result.event_id = result.event_id.encode("utf-8", "replace").decode()
    return result


@given(result=_results)
@example(result=EventResult("e", "rejected", "部" * 5000, "", "部" * 5000))
def test_single_call_stays_below_four_kibibytes(result: EventResult) -> None:
    """Whatever a verb says of one event, trailers and status message take less than 4 KiB together, as they travel."""
    trailers = event_trailers(result)
    message = quote_from_bytes(bounded_details(result.reason).encode(), safe=bytes(range(0x20, 0x7F)).replace(b"%", b""))
    assert travelling_bytes(trailers) + len("grpc-message") + 32 + len(message) < 4096
    told = dict(trailers)
    assert ("chaukas-status" in told) is (result.status != "accepted")
    if "chaukas-quarantine-id" in told:
        assert unquote(told["chaukas-quarantine-id"]) == result.quarantine_id.encode("utf-8", "replace").decode()


@given(results=st.lists(_results.map(decodable), max_size=40))
def test_batch_call_stays_below_four_kibibytes(results: list[EventResult]) -> None:
    """However many events are rejected for whatever reasons, the trailers take less than 4 KiB and count all of them."""
    trailers = batch_trailers(results)
    assert travelling_bytes(trailers) < 4096
    rejected = [result for result in results if not result.stored]
    if not rejected:
        assert trailers == ()
        return
    told = dict(trailers)
    assert (told["chaukas-rejected-count"], told["chaukas-accepted-count"]) == (
        str(len(rejected)),
        str(len(results) - len(rejected)),
    )
    rows = messages.IngestEventBatchResponse.FromString(told["chaukas-rejected-bin"]).results
    assert [row.event_id for row in rows] == [result.event_id for result in rejected[: len(rows)]]


@given(message=_texts)
def test_details_are_a_beginning_of_the_message(message: str) -> None:
    """A status message is whole when it fits, and otherwise its beginning with dots."""
    details = bounded_details(message)
    whole = message.encode("utf-8", "replace").decode()
    assert details == whole or (details.endswith("...") and whole.startswith(details.removesuffix("...")))
    if len(message) <= 128:
        assert details == whole


@both_kinds
def test_long_reasons_arrive(kind: str) -> None:
    """A reason far beyond the bound still gives the client a status and not a broken call."""
    backend = make_backend(
        "plain", store_event=lambda event: EventResult(status=event.agent_id, reason="部" * 100_000, quarantine_id="q" * 400)
    )
    with serving(backend, kind) as channel:
        stub = ChaukasClientServiceStub(channel)
        kept = stub.IngestEvent.future(client.IngestEventRequest(event=make_event(agent_id="quarantined")), timeout=TIMEOUT_S)
        assert kept.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert kept.details().startswith("部部")
        code, trailers = call_of(stub, make_event(agent_id="rejected"), client.IngestEventRequest)
        assert code is grpc.StatusCode.OK
        assert trailers["chaukas-reason-bin"].decode().startswith("部部")
        batch = EventBatch(events=[make_event(f"e{i}" * 30, agent_id="rejected") for i in range(500)])
        _, call = stub.IngestEventBatch.with_call(client.IngestEventBatchRequest(event_batch=batch), timeout=TIMEOUT_S)
        assert dict(call.trailing_metadata())["chaukas-rejected-count"] == "500"
