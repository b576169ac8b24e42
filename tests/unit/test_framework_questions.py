"""The verbs of questions, and what a backend claims and does not claim."""

# ruff: noqa: ARG005 - verbs have the arguments of the framework, used or not

from __future__ import annotations

import grpc
import pytest

from chaukas.server import ChaukasServicer
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryFilter, QueryRequest, QueryResponse
from chaukas.spec.server.v1 import server_pb2 as messages

from .framework_servers import FLAVOURS, KINDS, TIMEOUT_S, Caller, make_backend, make_event, serving

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_flavours = pytest.mark.parametrize("flavour", FLAVOURS)


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
