"""Runs inside an environment that holds us and the published SDK: events of the SDK reach what we make of our stubs.

    python -I together_probe.py servicer             a servicer written on our stubs, in this process
    python -I together_probe.py server GRPC_TARGET   the ready server, by the SDK's endpoint and by gRPC

Prints one JSON object with what it saw; tests/compat/test_install_together.py judges.
"""

# ruff: noqa: ARG002, N802 (the names and parameters are the contract's)

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import chaukas.sdk
import grpc
from chaukas.sdk.core.client import ChaukasClient
from chaukas.sdk.core.event_builder import EventBuilder
from google.protobuf.json_format import MessageToDict

import chaukas.server
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.client.v1.client_pb2_grpc import ChaukasClientServiceStub
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest, QueryResponse
from chaukas.spec.server.v1 import server_pb2
from chaukas.spec.server.v1.server_pb2_grpc import (
    ChaukasServerServiceServicer,
    ChaukasServerServiceStub,
    add_ChaukasServerServiceServicer_to_server,
)

SERVER_FIELDS = ("content_hash", "hash_prev", "worm_proof_id", "server_timestamp")


class _Servicer(ChaukasServerServiceServicer):
    def IngestEventBatch(
        self, request: server_pb2.IngestEventBatchRequest, context: grpc.ServicerContext
    ) -> server_pb2.IngestEventBatchResponse:
        results = [server_pb2.IngestResult(event_id=event.event_id, status="accepted") for event in request.event_batch.events]
        return server_pb2.IngestEventBatchResponse(accepted_count=len(results), results=results)


def main() -> None:
    task, *arguments = sys.argv[1:]
    seen = {
        "namespace": chaukas.__file__ is None,
        "sdk": chaukas.sdk.__name__,
        "server": chaukas.server.__name__,
        "additions": sorted(
            f"{message.DESCRIPTOR.name}.{field.name}"
            for message in (Event, QueryRequest, QueryResponse, Capabilities)
            for field in message.DESCRIPTOR.fields
            if field.number >= 1000
        ),
        **{"servicer": servicer, "server": server}[task](*arguments),
    }
    print(json.dumps(seen))


def servicer() -> dict[str, Any]:
    """One event of the SDK, sent by gRPC to a servicer of this process."""
    grpc_server = grpc.server(ThreadPoolExecutor(max_workers=1))
    add_ChaukasServerServiceServicer_to_server(_Servicer(), grpc_server)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    event = EventBuilder().create_input_received(content="hello")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        batch = EventBatch(batch_id="1", events=[event])
        answer = ChaukasServerServiceStub(channel).IngestEventBatch(server_pb2.IngestEventBatchRequest(event_batch=batch))
    grpc_server.stop(None).wait()
    results = [[result.event_id, result.status] for result in answer.results]
    return {"event_id": event.event_id, "tenant_id": event.tenant_id, "results": results}


def server(target: str) -> dict[str, Any]:
    """Events of the SDK over HTTP to the ready server, and the answers of both services over gRPC."""
    builder = EventBuilder()
    events = [builder.create_input_received(content=f"hello {number}", metadata={"number": number}) for number in range(25)]
    events.append(builder.create_state_update({"nested": {"list": [1, None]}}, agent_id="agent 1"))
    queued = asyncio.run(_deliver(events))
    query = QueryRequest(page_size=1000)
    query.filter.tenant_id = events[0].tenant_id
    with grpc.insecure_channel(target) as channel:
        stub = ChaukasServerServiceStub(channel)
        found = stub.QueryEvents(server_pb2.QueryEventsRequest(query=query), timeout=30).response
        by_client = ChaukasClientServiceStub(channel).QueryEvents(client_pb2.QueryEventsRequest(query=query), timeout=30).response
        stats = stub.GetEventStats(server_pb2.GetEventStatsRequest(tenant_id=events[0].tenant_id), timeout=30)
        capabilities = stub.GetCapabilities(server_pb2.GetCapabilitiesRequest(), timeout=30).capabilities
        batch = EventBatch(batch_id="1", events=[events[0], Event(event_id="invalid")])
        again = stub.IngestEventBatch(server_pb2.IngestEventBatchRequest(event_batch=batch), timeout=30)
    for event in found.events:
        # Without the additions it reaches this process as an unknown field.
        event.DiscardUnknownFields()
        for name in SERVER_FIELDS:
            if name in Event.DESCRIPTOR.fields_by_name:
                event.ClearField(name)
    return {
        "queued": queued,
        "sent": len(events),
        "session_id": events[0].session_id,
        "found_as_sent": _serialised(found.events) == _serialised(events),
        "found_by_client_service": len(by_client.events),
        "total_events": stats.total_events,
        "capabilities": MessageToDict(capabilities, preserving_proto_field_name=True),
        "results": [[result.event_id == events[0].event_id, result.status] for result in again.results],
    }


async def _deliver(events: list[Event]) -> int:
    """Send by the SDK's client; returns how many stay in its queue."""
    client = ChaukasClient()
    for event in events:
        await client.send_event(event)
    await client.flush()
    queued = len(client._events_queue)
    await client.close()
    return queued


def _serialised(events: Iterable[Event]) -> list[bytes]:
    return sorted(event.SerializeToString(deterministic=True) for event in events)


if __name__ == "__main__":
    main()
