"""`ChaukasServicer`: the six RPCs in terms of small verbs."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Sequence
from typing import ClassVar, Self, TypeAlias, TypeVar, cast

import grpc

from chaukas.server.errors import InvalidRequestError, ValidationError
from chaukas.server.framework.background import Background, Followups
from chaukas.server.framework.call import Context, UnimplementedVerbError, add_trailers, refuse, rpc
from chaukas.server.framework.execution import VerbRunner, dual, inline
from chaukas.server.framework.filters import effective_filter
from chaukas.server.framework.results import EventResult, batch_answer, event_answer
from chaukas.server.framework.trailers import event_trailers
from chaukas.server.framework.way import EventWay
from chaukas.server.validation import Limits, violations
from chaukas.spec.client.v1 import client_pb2 as client_messages
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest, QueryResponse
from chaukas.spec.server.v1 import server_pb2 as messages
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceServicer

__all__ = ["ChaukasServicer"]

T = TypeVar("T")

# The modules of the published client may lie over ours; they lack the fields from 1000 up.
_EVENT_HAS_SERVER_TIMESTAMP = "server_timestamp" in Event.DESCRIPTOR.fields_by_name
_RESPONSE_HAS_MORE = "has_more" in QueryResponse.DESCRIPTOR.fields_by_name

_IngestEventRequest: TypeAlias = messages.IngestEventRequest | client_messages.IngestEventRequest
_IngestEventBatchRequest: TypeAlias = messages.IngestEventBatchRequest | client_messages.IngestEventBatchRequest
_QueryEventsRequest: TypeAlias = messages.QueryEventsRequest | client_messages.QueryEventsRequest


class ChaukasServicer(ChaukasServerServiceServicer):
    """A backend: override the verbs it needs, leave the rest.

    Every verb takes one argument and may be a plain or an `async` method, in a threaded `grpc.server` and in a `grpc.aio.server`
    alike. An event goes through `validate_event`, `enrich_event`, `transform_event` and `store_event`; then it is acknowledged;
    then comes `process_event_async`. A verb refuses by raising: `ValidationError`, `StorageError` and everything else become a
    gRPC status by the table of `chaukas.server.errors`; in a batch they reject that event alone. A verb that is not overridden
    and has no default is answered UNIMPLEMENTED. `current_context()` gives a verb the gRPC context of its call.

    `process_event`, `store_events`, `process_batch` and `close` return their result when they are called as plain methods, and an
    awaitable of it when they are called on an event loop; so an override calls `super()` in the way it is written itself.
    """

    #: What the default `validate_event` allows. A backend of one's own keeps no log whose origin a tenant's name must fit into.
    limits: ClassVar[Limits] = Limits(origin_bytes_max=sys.maxsize)
    #: Most events that one batch may hold. 0 leaves that to the receive limit of the gRPC server (4 MiB by default).
    batch_events_max: ClassVar[int] = 0
    #: Most threads for the plain verbs of an asyncio server; further calls wait for a thread.
    verb_threads_max: ClassVar[int] = 32
    #: Most events that wait for `process_event_async`; further ones are not given to it, which is logged.
    background_events_max: ClassVar[int] = 10_000
    #: How many `process_event_async` run at once.
    background_workers_max: ClassVar[int] = 4

    _runner: VerbRunner
    _way: EventWay
    _background: Background

    def __new__(cls, *_args: object, **_settings: object) -> Self:
        """Made here and not in `__init__`, which subclasses may override without calling this one."""
        self = super().__new__(cls)
        self._runner = VerbRunner(cls.verb_threads_max, cls.__name__)
        self._way = EventWay(self, self._runner, self._overrides)
        self._background = Background(
            lambda event: self.process_event_async(event),  # noqa: PLW0108 - looked up when it is called, as other verbs
            self._runner,
            events_max=cls.background_events_max,
            workers_max=cls.background_workers_max,
            name=cls.__name__,
        )
        return self

    # The verbs of ingest, in their order.

    @inline
    def validate_event(self, event: Event) -> bool | Awaitable[bool | None] | None:
        """Refuse an event by raising `ValidationError` or returning False (anything false but None, which counts as valid).

        The default raises with every rule of the contract that the event breaks, within `limits`.
        """
        found = violations(event, event.ByteSize(), self.limits, server_name="")
        if found:
            raise ValidationError(found)
        return True

    @inline
    def enrich_event(self, event: Event) -> Event | Awaitable[Event | None] | None:
        """Add what the server knows; return the event, or None after changing it in place.

        The default sets `server_timestamp` where the message has it, and `timestamp` where the client set none. It never touches
        the client's `status`.
        """
        now_s, now_ns = divmod(time.time_ns(), 1_000_000_000)
        if _EVENT_HAS_SERVER_TIMESTAMP:
            event.server_timestamp.seconds, event.server_timestamp.nanos = now_s, now_ns
        if not event.HasField("timestamp"):
            event.timestamp.seconds, event.timestamp.nanos = now_s, now_ns
        return event

    @inline
    def transform_event(self, event: Event) -> Event | Awaitable[Event | None] | None:
        """Change what is stored, or return another event to store in its place. The default changes nothing."""
        return event

    @inline
    def store_event(self, event: Event) -> object:  # noqa: ARG002
        """Store one event. It is acknowledged when this returns: return only when it is durable.

        Returning anything means `accepted`; to say more, return an `EventResult`, or one of the names `accepted`, `duplicate`,
        `rejected` and `quarantined`.
        """
        raise UnimplementedVerbError("store_event")

    @dual
    async def store_events(self, events: Sequence[Event]) -> Sequence[object] | None:
        """Store the events of a batch; return one result per event as `store_event` does, or None when all are stored.

        The default calls `store_event` for each. An exception of an override fails the whole call, because nobody can say which
        events it means: return an `EventResult` to reject one.
        """
        return await self._way.store_all(events, [event.event_id for event in events])

    @dual
    async def process_event(self, event: Event) -> object:
        """The whole way of one event, validate to store. Raises what the verbs raise; returns an `EventResult`.

        When it is overridden, every event goes this way, those of a batch one by one, and `store_events` is not called.
        """
        return await self._way.process(event)

    @dual
    async def process_batch(self, events: Sequence[Event], context: Context) -> list[EventResult]:  # noqa: ARG002
        """What becomes of many events, those of a single call included: a list with one `EventResult` per event, in order.

        The coarse verb below the two ingest RPCs, for backends that treat a request as a whole. The default takes each event
        through the other verbs. An exception fails the whole call.
        """
        return await self._way.process_all(events)

    def process_event_async(self, event: Event) -> object:
        """What happens to an accepted event after its acknowledgement, in the background and in no particular order.

        It neither delays nor undoes the acknowledgement: a failure is logged, and when `background_events_max` events wait,
        further ones are not given to it, which is logged too. It lives in memory. Without an override nothing is queued.
        """

    # The verbs of questions.

    @inline
    def query_events(self, query: QueryRequest) -> QueryResponse | Awaitable[QueryResponse]:  # noqa: ARG002
        """Answer a query. Its `filter` is the effective one: the shorthand `query.session_id` is in it already."""
        raise UnimplementedVerbError("query_events")

    @inline
    def event_stats(
        self,
        request: messages.GetEventStatsRequest,  # noqa: ARG002
    ) -> messages.GetEventStatsResponse | Awaitable[messages.GetEventStatsResponse]:
        """Answer a question for statistics."""
        raise UnimplementedVerbError("event_stats")

    @inline
    def capabilities(self) -> Capabilities | Awaitable[Capabilities]:
        """What this backend can do. The default claims what the subclass overrides, in fields that the message has."""
        stores = any(map(self._overrides, ("store_event", "store_events", "process_event", "process_batch", "IngestEventBatch")))
        capabilities = Capabilities()
        for name, claim in (
            ("supports_batch_ingestion", stores),
            ("supports_event_querying", self._overrides("query_events") or self._overrides("QueryEvents")),
            ("supports_statistics", self._overrides("event_stats") or self._overrides("GetEventStats")),
            ("max_batch_size", self.batch_events_max),
        ):
            if name in Capabilities.DESCRIPTOR.fields_by_name:
                setattr(capabilities, name, claim)
        return capabilities

    # The RPCs of `chaukas.spec.server.v1.ChaukasServerService`, under the names of the contract.

    @dual
    async def Healthz(self, request: messages.HealthzRequest, context: Context) -> messages.HealthzResponse:  # noqa: N802, ARG002
        """Answer that the server works."""
        return messages.HealthzResponse()

    @dual
    async def GetCapabilities(  # noqa: N802
        self, request: messages.GetCapabilitiesRequest, context: Context
    ) -> messages.GetCapabilitiesResponse:
        """Answer by `capabilities`."""
        return await rpc(self._get_capabilities, request, context, messages.GetCapabilitiesResponse)

    @dual
    async def IngestEvent(self, request: messages.IngestEventRequest, context: Context) -> messages.IngestEventResponse:  # noqa: N802
        """Take one event through the verbs. Its failure is the failure of the call."""
        return await rpc(self._ingest_event, request, context, messages.IngestEventResponse, self.followups(context))

    @dual
    async def IngestEventBatch(  # noqa: N802
        self, request: messages.IngestEventBatchRequest, context: Context
    ) -> messages.IngestEventBatchResponse:
        """Take each event of a batch through the verbs. One that fails is rejected alone."""
        return await rpc(self._ingest_event_batch, request, context, messages.IngestEventBatchResponse, self.followups(context))

    @dual
    async def QueryEvents(self, request: messages.QueryEventsRequest, context: Context) -> messages.QueryEventsResponse:  # noqa: N802
        """Answer by `query_events`."""
        return await rpc(self._query_events, request, context, messages.QueryEventsResponse)

    @dual
    async def GetEventStats(  # noqa: N802
        self, request: messages.GetEventStatsRequest, context: Context
    ) -> messages.GetEventStatsResponse:
        """Answer by `event_stats`."""
        return await rpc(self._get_event_stats, request, context, messages.GetEventStatsResponse)

    def _overrides(self, name: str) -> bool:
        return getattr(getattr(self, name), "__func__", None) is not vars(ChaukasServicer)[name]

    # What both services (this one and `ChaukasClientServicer`) do with a request. Not verbs: a backend overrides `process_batch`.

    async def take_event(self, request: _IngestEventRequest, context: Context) -> EventResult:
        """The event of an `IngestEventRequest` of either package, to its result; the call's status and trailers are set.

        Raises `InvalidRequestError` without an event, and what `process_batch` raises.
        """
        if not request.HasField("event"):
            raise InvalidRequestError("event", "is missing")
        (result,) = await self._way.ingest([request.event], context)
        refusal = result.error
        if refusal is None and result.status == "quarantined":
            refusal = ValidationError(result.reason or "the event is invalid")
        if refusal is not None:
            refuse(context, refusal)
        # The status message of a refused call says why already.
        add_trailers(context, event_trailers(result, with_reason=refusal is None))
        return result

    async def take_batch(self, request: _IngestEventBatchRequest, context: Context) -> list[EventResult]:
        """The events of an `IngestEventBatchRequest` of either package, to their results.

        Raises `InvalidRequestError` for more than `batch_events_max` events, and what `process_batch` raises.
        """
        events = request.event_batch.events
        if 0 < self.batch_events_max < len(events):
            raise InvalidRequestError("event_batch.events", f"{len(events)} events; at most {self.batch_events_max} are taken")
        return await self._way.ingest(events, context)

    async def take_query(self, request: _QueryEventsRequest) -> QueryResponse:
        """The query of a `QueryEventsRequest` of either package, to its answer.

        Raises `InvalidRequestError` when the query names two sessions, and what `query_events` raises.
        """
        query = request.query
        query.filter.CopyFrom(effective_filter(query))
        response = await self._runner.call(self.query_events, query)
        if not isinstance(response, QueryResponse):
            raise TypeError(f"query_events returned {type(response).__name__}, not QueryResponse")
        if response.next_page_token and _RESPONSE_HAS_MORE:
            response.has_more = True
        return response

    async def tell_capabilities(self) -> Capabilities:
        """The answer of the verb `capabilities`."""
        capabilities = await self._runner.call(self.capabilities)
        if not isinstance(capabilities, Capabilities):
            raise TypeError(f"capabilities returned {type(capabilities).__name__}, not Capabilities")
        return capabilities

    def followups(self, context: Context) -> Followups | None:
        """What holds the stored events of a call for `process_event_async`; None when that verb is not overridden."""
        if not self._overrides("process_event_async"):
            return None
        held = Followups(self._background)
        on_done = getattr(context, "add_done_callback", None)
        if on_done is not None:
            on_done(lambda _: held.release())
        elif not cast("grpc.ServicerContext", context).add_callback(held.release):
            # The client has gone already; what is stored is still followed up.
            held.release()
        return held

    @dual
    async def close(self, timeout_s: float = 10.0) -> bool:
        """Wait for the background work, then let the threads end. False when some of that work was left after `timeout_s`.

        To be called after the server was stopped. Nobody has to: the threads do not keep the process from ending.
        """
        done = await self._runner.call(self._background.drain, timeout_s)
        self._runner.close()
        return done is True

    def run(self, awaitable: Awaitable[T]) -> T:
        """Wait in this thread for something on the event loop on which a threaded server runs the async verbs.

        For what those verbs use and an event loop owns, such as a pool of database connections: `backend.run(backend.open())`.
        Where an event loop runs, await the thing itself.
        """
        return self._runner.wait(awaitable)

    async def _get_capabilities(
        self, _request: messages.GetCapabilitiesRequest, _context: Context
    ) -> messages.GetCapabilitiesResponse:
        return messages.GetCapabilitiesResponse(capabilities=await self.tell_capabilities())

    async def _ingest_event(self, request: messages.IngestEventRequest, context: Context) -> messages.IngestEventResponse:
        return event_answer(await self.take_event(request, context))

    async def _ingest_event_batch(
        self, request: messages.IngestEventBatchRequest, context: Context
    ) -> messages.IngestEventBatchResponse:
        return batch_answer(request.event_batch.batch_id, await self.take_batch(request, context))

    async def _query_events(self, request: messages.QueryEventsRequest, _context: Context) -> messages.QueryEventsResponse:
        return messages.QueryEventsResponse(response=await self.take_query(request))

    async def _get_event_stats(self, request: messages.GetEventStatsRequest, _context: Context) -> messages.GetEventStatsResponse:
        response = await self._runner.call(self.event_stats, request)
        if not isinstance(response, messages.GetEventStatsResponse):
            raise TypeError(f"event_stats returned {type(response).__name__}, not GetEventStatsResponse")
        return response
