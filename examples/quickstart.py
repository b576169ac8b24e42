"""The documented way: subclass the servicer of the contract and override its six RPCs, in a threaded gRPC server.

    python examples/quickstart.py [HOST:PORT]

It keeps nothing. `in_memory.py` shows the same backend by the verbs of the framework.
"""

# ruff: noqa: ARG002, N802 - names and parameters are those of the contract

from __future__ import annotations

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc

from chaukas.spec.common.v1.events_pb2 import Event, EventType
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryResponse
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
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceServicer, add_ChaukasServerServiceServicer_to_server


class QuickStart(ChaukasServerServiceServicer):
    """Answers every RPC, with what it has seen go by."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def Healthz(self, request: HealthzRequest, context: grpc.ServicerContext) -> HealthzResponse:
        """Say that the server works."""
        return HealthzResponse()

    def GetCapabilities(self, request: GetCapabilitiesRequest, context: grpc.ServicerContext) -> GetCapabilitiesResponse:
        """Say what it can do."""
        capabilities = Capabilities(
            supports_batch_ingestion=True, supports_event_querying=True, supports_statistics=True, max_batch_size=1000
        )
        return GetCapabilitiesResponse(capabilities=capabilities)

    def IngestEvent(self, request: IngestEventRequest, context: grpc.ServicerContext) -> IngestEventResponse:
        """Take one event."""
        self.see(request.event)
        return IngestEventResponse(event_id=request.event.event_id, status="accepted", processed_at=int(time.time() * 1000))

    def IngestEventBatch(self, request: IngestEventBatchRequest, context: grpc.ServicerContext) -> IngestEventBatchResponse:
        """Take many, and name those that have no id."""
        events = request.event_batch.events
        rejected = [event for event in events if not event.event_id]
        for event in events:
            if event.event_id:
                self.see(event)
        return IngestEventBatchResponse(
            batch_id=request.event_batch.batch_id,
            accepted_count=len(events) - len(rejected),
            rejected_count=len(rejected),
            rejected_event_ids=[event.event_id for event in rejected],
        )

    def QueryEvents(self, request: QueryEventsRequest, context: grpc.ServicerContext) -> QueryEventsResponse:
        """Answer with an event made up for the session that was asked for."""
        event = Event(event_id="example", type=EventType.EVENT_TYPE_SESSION_START, session_id=request.query.session_id or "none")
        event.server_timestamp.GetCurrentTime()
        return QueryEventsResponse(response=QueryResponse(events=[event], total_count=1, has_more=False))

    def GetEventStats(self, request: GetEventStatsRequest, context: grpc.ServicerContext) -> GetEventStatsResponse:
        """Count what has gone by."""
        return GetEventStatsResponse(total_events=self.seen.total(), events_by_type=self.seen)

    def see(self, event: Event) -> None:
        """Remember no more of an event than its type."""
        print(f"{event.event_id} of type {EventType.Name(event.type)}", flush=True)
        self.seen[EventType.Name(event.type)] += 1


def main() -> None:
    """Serve until the process is stopped."""
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051").rpartition(":")
    server = grpc.server(ThreadPoolExecutor(max_workers=10))
    add_ChaukasServerServiceServicer_to_server(QuickStart(), server)
    print(f"listening on {host}:{server.add_insecure_port(f'{host}:{port}')}", flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
