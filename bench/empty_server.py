"""The limit: the published contract on grpc.aio with a servicer that parses, counts and stores nothing.

    python bench/empty_server.py PORT

It stands alone and imports nothing of this repository, so that it runs with the published stubs too.
"""

from __future__ import annotations

import asyncio
import sys
import time

import grpc

from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc


class EmptyServicer(server_pb2_grpc.ChaukasServerServiceServicer):
    """Says yes to everything."""

    async def Healthz(  # noqa: N802, D102  the names and meanings are the contract's
        self,
        request: server_pb2.HealthzRequest,  # noqa: ARG002
        context: object,  # noqa: ARG002
    ) -> server_pb2.HealthzResponse:
        return server_pb2.HealthzResponse()

    async def IngestEvent(  # noqa: N802, D102
        self,
        request: server_pb2.IngestEventRequest,
        context: object,  # noqa: ARG002
    ) -> server_pb2.IngestEventResponse:
        now_ms = int(time.time() * 1_000)
        return server_pb2.IngestEventResponse(event_id=request.event.event_id, status="accepted", processed_at=now_ms)

    async def IngestEventBatch(  # noqa: N802, D102
        self,
        request: server_pb2.IngestEventBatchRequest,
        context: object,  # noqa: ARG002
    ) -> server_pb2.IngestEventBatchResponse:
        batch = request.event_batch
        return server_pb2.IngestEventBatchResponse(batch_id=batch.batch_id, accepted_count=len(batch.events))


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)])
    server_pb2_grpc.add_ChaukasServerServiceServicer_to_server(EmptyServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
