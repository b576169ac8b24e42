"""The patterns of the published documentation, on a subclass of the framework: RPCs of one's own over its verbs."""

# ruff: noqa: ARG002 - RPCs have the arguments of the contract, used or not

from __future__ import annotations

from typing import Any

import grpc
import pytest

from chaukas.server import ChaukasServicer, StorageError, ValidationError
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1 import server_pb2 as messages

from .framework_servers import KINDS, Caller, make_event, serving

both_kinds = pytest.mark.parametrize("kind", KINDS)


class DocumentedErrors(ChaukasServicer):
    """The error handling of the published documentation: an RPC of one's own over process_event."""

    def store_event(self, event: Event) -> None:
        if event.event_id == "full":
            raise StorageError
        if event.event_id == "odd":
            raise KeyError(event.event_id)

    def IngestEvent(self, request: Any, context: Any) -> messages.IngestEventResponse:  # noqa: N802
        try:
            self.process_event(request.event)
        except ValidationError as error:
            context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
            context.set_details(str(error))
        except StorageError:
            context.set_code(grpc.StatusCode.INTERNAL)
            context.set_details("Failed to store event")
        except KeyError:
            context.set_code(grpc.StatusCode.UNKNOWN)
            context.set_details("Unexpected error occurred")
        else:
            return messages.IngestEventResponse(event_id=request.event.event_id, status="accepted")
        return messages.IngestEventResponse()


@both_kinds
def test_documented_error_handling(kind: str) -> None:
    """An RPC written after the documentation calls process_event as a plain method, in both kinds of server."""
    with serving(DocumentedErrors(), kind) as channel:
        caller = Caller(channel)
        assert caller.single(make_event("good")).status == "accepted"
        errors = [caller.refused(make_event(event_id)) for event_id in ("", "full", "odd")]
    assert [(error.code(), error.details()) for error in errors] == [
        (grpc.StatusCode.INVALID_ARGUMENT, "event_id: is required"),
        (grpc.StatusCode.INTERNAL, "Failed to store event"),
        (grpc.StatusCode.UNKNOWN, "Unexpected error occurred"),
    ]


class DocumentedStream(ChaukasServicer):
    """The stream processing of the published documentation: a batch RPC of one's own over the verbs."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.processed: list[str] = []

    def validate_event(self, event: Event) -> bool:
        return bool(event.event_id)

    def store_event(self, event: Event) -> None:
        self.stored.append(event.event_id)

    def process_event_async(self, event: Event) -> None:
        self.processed.append(event.event_id)

    def IngestEventBatch(self, request: Any, context: Any) -> messages.IngestEventBatchResponse:  # noqa: N802
        for event in request.event_batch.events:
            if self.validate_event(event):
                processed = self.transform_event(event)
                self.store_event(processed)
                self.process_event_async(processed)
        return messages.IngestEventBatchResponse(accepted_count=len(self.stored))


@both_kinds
def test_documented_stream_processing(kind: str) -> None:
    """A batch RPC written after the documentation calls the verbs itself; single calls still go by them."""
    backend = DocumentedStream()
    with serving(backend, kind) as channel:
        assert Caller(channel).batch(make_event("e1"), make_event(""), make_event("e2")).accepted_count == 2
        assert Caller(channel).single(make_event("e3")).status == "accepted"
    assert backend.stored == backend.processed == ["e1", "e2", "e3"]


def test_async_rpc_of_ones_own_calls_super() -> None:
    """An RPC overridden in an asyncio server awaits super()."""
    asked: list[str] = []

    class Backend(ChaukasServicer):
        def store_event(self, event: Event) -> None:
            """Nothing to keep."""

        async def IngestEvent(self, request: Any, context: Any) -> messages.IngestEventResponse:  # noqa: N802
            asked.append(request.event.event_id)
            answer: messages.IngestEventResponse = await super().IngestEvent(request, context)
            return answer

        def GetCapabilities(self, request: Any, context: Any) -> messages.GetCapabilitiesResponse:  # noqa: N802
            # Plain, so grpc.aio calls it in a thread, where super() gives the result.
            answer: messages.GetCapabilitiesResponse = super().GetCapabilities(request, context)
            answer.capabilities.rbac = True
            return answer

    with serving(Backend(), "asyncio") as channel:
        assert Caller(channel).single(make_event("e1")).status == "accepted"
        assert Caller(channel).refused(make_event("")).code() is grpc.StatusCode.INVALID_ARGUMENT
        capabilities = Caller(channel).stub.GetCapabilities(messages.GetCapabilitiesRequest()).capabilities
    assert asked == ["e1", ""]
    assert (capabilities.rbac, capabilities.supports_batch_ingestion) == (True, True)
