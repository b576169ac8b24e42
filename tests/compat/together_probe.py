"""Runs inside an environment that holds us and the published SDK: an event of the SDK reaches a servicer of ours.

Prints one JSON object with what it saw; tests/compat/test_install_together.py judges.
"""

# ruff: noqa: ARG002, N802 (the names and parameters are the contract's)

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import chaukas.sdk
import grpc
from chaukas.sdk.core.event_builder import EventBuilder

import chaukas.server
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import Capabilities
from chaukas.spec.server.v1 import server_pb2
from chaukas.spec.server.v1.server_pb2_grpc import (
    ChaukasServerServiceServicer,
    ChaukasServerServiceStub,
    add_ChaukasServerServiceServicer_to_server,
)


class _Servicer(ChaukasServerServiceServicer):
    def IngestEventBatch(
        self, request: server_pb2.IngestEventBatchRequest, context: grpc.ServicerContext
    ) -> server_pb2.IngestEventBatchResponse:
        results = [server_pb2.IngestResult(event_id=event.event_id, status="accepted") for event in request.event_batch.events]
        return server_pb2.IngestEventBatchResponse(accepted_count=len(results), results=results)


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    add_ChaukasServerServiceServicer_to_server(_Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    event = EventBuilder().create_input_received(content="hello")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        batch = EventBatch(batch_id="1", events=[event])
        answer = ChaukasServerServiceStub(channel).IngestEventBatch(server_pb2.IngestEventBatchRequest(event_batch=batch))
    server.stop(None).wait()
    seen = {
        "namespace": chaukas.__file__ is None,
        "sdk": chaukas.sdk.__name__,
        "server": chaukas.server.__name__,
        "event_addition": "server_timestamp" in Event.DESCRIPTOR.fields_by_name,
        "capabilities_addition": "max_batch_size" in Capabilities.DESCRIPTOR.fields_by_name,
        "event_id": event.event_id,
        "tenant_id": event.tenant_id,
        "results": [[result.event_id, result.status] for result in answer.results],
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
