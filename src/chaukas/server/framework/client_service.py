"""`ChaukasClientService` answered by the verbs of a backend."""

from __future__ import annotations

from chaukas.server.framework.call import Context, add_trailers, rpc
from chaukas.server.framework.execution import dual
from chaukas.server.framework.servicer import ChaukasServicer
from chaukas.server.framework.trailers import batch_trailers
from chaukas.spec.client.v1 import client_pb2 as messages
from chaukas.spec.client.v1.client_pb2_grpc import ChaukasClientServiceServicer

__all__ = ["ChaukasClientServicer"]


class ChaukasClientServicer(ChaukasClientServiceServicer):
    """The other service of the contract, over the same backend.

    Its ingest answers are empty, so what was not accepted travels in trailing metadata (`chaukas.server.framework.trailers`): a
    batch is OK, a single invalid event is INVALID_ARGUMENT.
    """

    def __init__(self, backend: ChaukasServicer) -> None:
        """Raises `TypeError` when the backend overrides RPCs: this service goes by the verbs and would pass those by."""
        own = [name for name in _RPCS if getattr(type(backend), name) is not getattr(ChaukasServicer, name)]
        if own:
            raise TypeError(f"{type(backend).__name__} overrides {', '.join(own)}; override verbs to serve both services")
        self._backend = backend

    @dual
    async def Healthz(self, request: messages.HealthzRequest, context: Context) -> messages.HealthzResponse:  # noqa: N802, ARG002
        """Answer that the server works."""
        return messages.HealthzResponse()

    @dual
    async def GetCapabilities(  # noqa: N802
        self, request: messages.GetCapabilitiesRequest, context: Context
    ) -> messages.GetCapabilitiesResponse:
        """Answer by the verb `capabilities`."""
        return await rpc(self._get_capabilities, request, context, messages.GetCapabilitiesResponse)

    @dual
    async def IngestEvent(self, request: messages.IngestEventRequest, context: Context) -> messages.IngestEventResponse:  # noqa: N802
        """Take one event through the verbs. Its failure is the failure of the call."""
        followups = self._backend.followups(context)
        return await rpc(self._ingest_event, request, context, messages.IngestEventResponse, followups)

    @dual
    async def IngestEventBatch(  # noqa: N802
        self, request: messages.IngestEventBatchRequest, context: Context
    ) -> messages.IngestEventBatchResponse:
        """Take each event of a batch through the verbs; trailing metadata tells which are not stored."""
        followups = self._backend.followups(context)
        return await rpc(self._ingest_event_batch, request, context, messages.IngestEventBatchResponse, followups)

    @dual
    async def QueryEvents(self, request: messages.QueryEventsRequest, context: Context) -> messages.QueryEventsResponse:  # noqa: N802
        """Answer by the verb `query_events`."""
        return await rpc(self._query_events, request, context, messages.QueryEventsResponse)

    async def _get_capabilities(
        self, _request: messages.GetCapabilitiesRequest, _context: Context
    ) -> messages.GetCapabilitiesResponse:
        return messages.GetCapabilitiesResponse(capabilities=await self._backend.tell_capabilities())

    async def _ingest_event(self, request: messages.IngestEventRequest, context: Context) -> messages.IngestEventResponse:
        await self._backend.take_event(request, context)
        return messages.IngestEventResponse()

    async def _ingest_event_batch(
        self, request: messages.IngestEventBatchRequest, context: Context
    ) -> messages.IngestEventBatchResponse:
        add_trailers(context, batch_trailers(await self._backend.take_batch(request, context)))
        return messages.IngestEventBatchResponse()

    async def _query_events(self, request: messages.QueryEventsRequest, _context: Context) -> messages.QueryEventsResponse:
        return messages.QueryEventsResponse(response=await self._backend.take_query(request))


_RPCS = ("Healthz", "GetCapabilities", "IngestEvent", "IngestEventBatch", "QueryEvents")
