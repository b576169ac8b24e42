"""What the published server package documents, with our stubs.

The published documentation builds messages with fields that the published messages lack; ours have them. The servicer
below takes every one of those steps.
"""

# ruff: noqa: ARG002, N802 (the names and parameters are the contract's)

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chaukas.spec.common.v1.events_pb2 import Event, EventBatch, EventStatus, EventType
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import (
    GetCapabilitiesRequest,
    GetCapabilitiesResponse,
    GetEventStatsRequest,
    GetEventStatsResponse,
    HealthzRequest,
    HealthzResponse,
    IngestEventBatchRequest,
    IngestEventBatchResponse,
    IngestEventRequest,
    IngestEventResponse,
    QueryEventsRequest,
    QueryEventsResponse,
)
from chaukas.spec.server.v1.server_pb2_grpc import (
    ChaukasServerServiceServicer,
    ChaukasServerServiceStub,
    add_ChaukasServerServiceServicer_to_server,
)

from .published import Published


class DocumentedServer(ChaukasServerServiceServicer):
    """A backend written after the documentation, one override per RPC."""

    def __init__(self):
        self.events = []

    def validate_event(self, event):
        return bool(event.event_id and event.tenant_id and event.type != EventType.EVENT_TYPE_UNSPECIFIED)

    def enrich_event(self, event):
        now = Timestamp()
        now.GetCurrentTime()
        event.server_timestamp.CopyFrom(now)
        event.status = EventStatus.EVENT_STATUS_IN_PROGRESS
        return event

    def Healthz(self, request, context):
        return HealthzResponse()

    def GetCapabilities(self, request, context):
        capabilities = Capabilities(
            supports_batch_ingestion=True,
            supports_event_querying=True,
            supports_statistics=True,
            max_batch_size=1000,
        )
        return GetCapabilitiesResponse(capabilities=capabilities)

    def IngestEvent(self, request, context):
        self.events.append(self.enrich_event(request.event))
        processed_at = int(time.time() * 1000)
        return IngestEventResponse(event_id=request.event.event_id, status="accepted", processed_at=processed_at)

    def IngestEventBatch(self, request, context):
        valid = [event for event in request.event_batch.events if self.validate_event(event)]
        refused = [event.event_id for event in request.event_batch.events if not self.validate_event(event)]
        self.events += map(self.enrich_event, valid)
        return IngestEventBatchResponse(
            batch_id=f"batch_{int(time.time())}",
            accepted_count=len(valid),
            rejected_count=len(refused),
            rejected_event_ids=refused,
        )

    def QueryEvents(self, request, context):
        query = request.query
        session_id = query.session_id or "default_session"
        events = [Event(event_id="example", type=EventType.EVENT_TYPE_SESSION_START, session_id=session_id), *self.events]
        return QueryEventsResponse(response=QueryResponse(events=events, total_count=len(events), has_more=False))

    def GetEventStats(self, request, context):
        return GetEventStatsResponse(
            total_events=1000,
            total_sessions=50,
            events_by_type={str(EventType.EVENT_TYPE_SESSION_START): 50, str(EventType.EVENT_TYPE_AGENT_START): 200},
            avg_session_duration_ms=30000.0,
        )


@pytest.fixture
def address() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    add_ChaukasServerServiceServicer_to_server(DocumentedServer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_documented_server_answers_our_client(address: str) -> None:
    """A backend written after the published documentation works with our stubs, and its extra fields arrive."""
    event = Event(event_id="e1", tenant_id="acme", type=EventType.EVENT_TYPE_ERROR)
    with grpc.insecure_channel(address) as channel:
        stub = ChaukasServerServiceStub(channel)
        assert stub.Healthz(HealthzRequest()) == HealthzResponse()
        capabilities = stub.GetCapabilities(GetCapabilitiesRequest()).capabilities
        single = stub.IngestEvent(IngestEventRequest(event=event))
        batch = stub.IngestEventBatch(IngestEventBatchRequest(event_batch=EventBatch(events=[event, Event(event_id="bad")])))
        page = stub.QueryEvents(QueryEventsRequest(query=QueryRequest(session_id="s1"))).response
        stats = stub.GetEventStats(GetEventStatsRequest())
    assert (capabilities.supports_batch_ingestion, capabilities.max_batch_size) == (True, 1000)
    assert (capabilities.supports_event_querying, capabilities.supports_statistics) == (True, True)
    assert (single.event_id, single.status) == ("e1", "accepted")
    assert abs(single.processed_at / 1000 - time.time()) < 60
    assert (batch.accepted_count, batch.rejected_count, list(batch.rejected_event_ids)) == (1, 1, ["bad"])
    assert (page.total_count, page.has_more, page.events[0].session_id) == (3, False, "s1")
    assert all(abs(event.server_timestamp.seconds - time.time()) < 60 for event in page.events[1:])
    assert dict(stats.events_by_type) == {"1": 50, "10": 200}


def test_documented_server_answers_published_client(address: str, published_server: Published) -> None:
    """The same backend serves the published stub, which takes the answers and passes over the fields it lacks."""
    caller = Path(__file__).with_name("published_caller.py")
    answers = {line["rpc"]: line["answer"] for line in published_server.run(caller, address)}
    assert answers["Healthz"] == {}
    assert answers["GetCapabilities"] == {"capabilities": {}}
    assert answers["IngestEvent"]["status"] == "accepted"
    assert answers["IngestEventBatch"]["accepted_count"] == 3
    assert [event["event_id"] for event in answers["QueryEvents"]["response"]["events"]] == ["example", "e0", "e0", "e1", "e2"]
    assert answers["QueryEvents"]["response"]["events"][0]["session_id"] == "default_session"
    assert answers["GetEventStats"]["avg_session_duration_ms"] == 30000.0


def test_unset_shorthand_falls_back(address: str) -> None:
    """An unset shorthand reads as the empty string, as the documentation's ``or`` expects."""
    with grpc.insecure_channel(address) as channel:
        page = ChaukasServerServiceStub(channel).QueryEvents(QueryEventsRequest()).response
    assert page.events[0].session_id == "default_session"
