"""The gRPC services: both of the contract, those for audits and explanations, health and reflection, on one asyncio server.

The services are the framework's, with the operations of this server behind its verbs. Only ingest goes round the verbs: its
handlers get the bytes of the request, because protobuf refuses a whole request for one event that is nested too deeply
(DESIGN "From bytes to an acknowledged event"), and because parsing and answering a batch is most of what ingest costs here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeAlias

import grpc
import structlog
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.config import Address
from chaukas.server.errors import ConfigurationError, InvalidRequestError, OverloadedError, RequestTooLargeError, ValidationError
from chaukas.server.framework import ChaukasClientServicer, ChaukasServicer, EventResult
from chaukas.server.framework.call import Context, add_trailers, refuse, rpc
from chaukas.server.framework.trailers import batch_trailers, event_trailers
from chaukas.server.operations.capabilities import get_capabilities
from chaukas.server.operations.event_stats import get_event_stats
from chaukas.server.operations.health import check_health
from chaukas.server.operations.ingest import ingest_batch, ingest_event, ingest_items
from chaukas.server.operations.query_events import query_events
from chaukas.server.operations.services import Services
from chaukas.server.storage.contract import IngestStatus, Outcome
from chaukas.server.telemetry import RequestMeter, request_id_of
from chaukas.server.transports.audit_grpc import AUDIT_SERVICE, AuditServicer
from chaukas.server.transports.explain_grpc import EXPLAIN_SERVICE, ExplainServicer
from chaukas.server.transports.ingest_answers import NOT_STORED, batch_answer, event_answer, worm_proof_id
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest, QueryResponse
from chaukas.spec.server.v1 import server_pb2

__all__ = ["REQUEST_ID_KEY", "SERVER_TIME_KEY", "GrpcServer", "ReadyServicer"]

#: The caller's name for the request, and ours in the answer's trailing metadata.
REQUEST_ID_KEY: Final = "x-request-id"
#: How long the server worked on a question, in milliseconds, waiting included; in the trailing metadata of the answer.
SERVER_TIME_KEY: Final = "x-chaukas-server-ms"

#: What a message of `request_bytes_max` may have around it.
_RECEIVE_OVERHEAD_BYTES: Final = 64 * 1024
_SERVER_SERVICE = server_pb2.DESCRIPTOR.services_by_name["ChaukasServerService"]
_CLIENT_SERVICE = client_pb2.DESCRIPTOR.services_by_name["ChaukasClientService"]

_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
#: What the operator should see: not the caller's doing, or a sign that the server cannot keep up.
_LOGGED_CODES = frozenset({"INTERNAL", "UNKNOWN", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"})

_AioContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler = Callable[[bytes, Any], Awaitable[bytes]]
_BytesFlow = Callable[[bytes, Context], Coroutine[Any, Any, bytes]]


class ReadyServicer(ChaukasServicer):
    """`ChaukasServerService` over the operations of this server."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def process_batch(self, events: Sequence[Event], context: Context) -> list[EventResult]:
        """Take events that are parsed already: what the RPCs do when this servicer is added to a server by itself."""
        del context
        return [_result(outcome) for outcome in await ingest_items(self._services, ANONYMOUS, "grpc", events)]

    async def query_events(self, query: QueryRequest) -> QueryResponse:
        """One page."""
        return (await query_events(self._services, ANONYMOUS, query)).to_response()

    async def event_stats(self, request: server_pb2.GetEventStatsRequest) -> server_pb2.GetEventStatsResponse:
        """Exact counts."""
        return await get_event_stats(self._services, ANONYMOUS, request)

    async def capabilities(self) -> Capabilities:
        """What is true of this server."""
        return await get_capabilities(self._services, ANONYMOUS)

    async def take_event_bytes(self, request: bytes, context: Context) -> Outcome:
        """A serialised `IngestEventRequest` of either package; the call's status and trailers are set."""
        await self._services.admission.take(len(request))
        try:
            outcome = await ingest_event(self._services, ANONYMOUS, "grpc", request)
        finally:
            self._services.admission.give_back(len(request))
        if outcome.status is not IngestStatus.ACCEPTED:
            if outcome.status is IngestStatus.QUARANTINED:
                refuse(context, ValidationError(outcome.reason))
            # The status message of a refused event is its reason; it need not travel twice.
            refused = outcome.status is IngestStatus.QUARANTINED
            add_trailers(context, event_trailers(_result(outcome), with_reason=not refused))
        return outcome

    async def take_batch_bytes(self, request: bytes) -> tuple[str, list[Outcome]]:
        """A serialised `IngestEventBatchRequest` of either package, to its id and one outcome per event."""
        await self._services.admission.take(len(request))
        try:
            batch = await ingest_batch(self._services, ANONYMOUS, "grpc", request)
        finally:
            self._services.admission.give_back(len(request))
        return batch.batch_id, batch.outcomes


class _ServerIngest:
    """The ingest RPCs of the server package, from bytes to bytes."""

    def __init__(self, servicer: ReadyServicer, now_ns: Callable[[], int]) -> None:
        self._servicer = servicer
        self._now_ns = now_ns

    def flows(self) -> dict[str, _BytesFlow]:
        return {"IngestEvent": self.ingest_event, "IngestEventBatch": self.ingest_batch}

    async def ingest_event(self, request: bytes, context: Context) -> bytes:
        outcome = await self._servicer.take_event_bytes(request, context)
        return event_answer(outcome, self._now_ns() // 1_000_000).SerializeToString()

    async def ingest_batch(self, request: bytes, context: Context) -> bytes:
        del context
        return batch_answer(*await self._servicer.take_batch_bytes(request)).SerializeToString()


class _ClientIngest:
    """The ingest RPCs of the client package: their answers are empty, what was not stored is told in trailing metadata."""

    def __init__(self, servicer: ReadyServicer) -> None:
        self._servicer = servicer

    def flows(self) -> dict[str, _BytesFlow]:
        return {"IngestEvent": self.ingest_event, "IngestEventBatch": self.ingest_batch}

    async def ingest_event(self, request: bytes, context: Context) -> bytes:
        await self._servicer.take_event_bytes(request, context)
        return b""

    async def ingest_batch(self, request: bytes, context: Context) -> bytes:
        _, outcomes = await self._servicer.take_batch_bytes(request)
        if any(outcome.status in NOT_STORED for outcome in outcomes):
            add_trailers(context, batch_trailers([_result(outcome) for outcome in outcomes]))
        return b""


class GrpcServer:
    """The listener. Starts and stops once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._meter = RequestMeter(services.telemetry, "grpc", services.settings.requests_max)
        self._log = services.telemetry.logger("grpc")
        self._logs_requests = services.telemetry.logs_requests
        self._health = health.aio.HealthServicer()
        self._names = (_SERVER_SERVICE.full_name, _CLIENT_SERVICE.full_name, AUDIT_SERVICE.full_name, EXPLAIN_SERVICE.full_name)
        self._server: grpc.aio.Server | None = None

    async def start(self, address: Address) -> Address:
        """Listen and serve; returns the address with the real port. Raises `ConfigurationError` when that is impossible."""
        settings = self._services.settings
        server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", int(settings.request_bytes_max) + _RECEIVE_OVERHEAD_BYTES),
                # A page is bounded by page_bytes_max, but one event may be larger than a page.
                ("grpc.max_send_message_length", -1),
                # Two servers on one port would share its connections without a word; this makes the second one fail.
                ("grpc.so_reuseport", 0),
            ),
            maximum_concurrent_rpcs=settings.requests_max,
        )
        server.add_generic_rpc_handlers(self._handlers())
        # By itself the health service begins with "serving".
        await self._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            port = server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise ConfigurationError(f"grpc_address: cannot listen on {address}; is another server running there?") from error
        await server.start()
        self._server = server
        return Address(address.host, port)

    async def serve(self) -> None:
        """Tell everybody who watches the health service that requests are welcome."""
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, wait for the running ones for at most `grace_s` seconds, cancel the rest. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await self._health.enter_graceful_shutdown()
            await server.stop(grace_s)

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        servicer = ReadyServicer(self._services)
        server_ingest, client_ingest = _ServerIngest(servicer, self._services.now_ns), _ClientIngest(servicer)
        healthz = {"Healthz": self._healthz}
        return (
            self._service(_SERVER_SERVICE, servicer, {**server_ingest.flows(), **healthz}),
            self._service(_CLIENT_SERVICE, ChaukasClientServicer(servicer), {**client_ingest.flows(), **healthz}),
            self._service(AUDIT_SERVICE, AuditServicer(self._services), {}),
            self._service(EXPLAIN_SERVICE, ExplainServicer(self._services), {}),
        )

    async def _healthz(self, _request: bytes, _context: Context) -> bytes:
        await check_health(self._services, ANONYMOUS)
        return b""

    def _service(self, service: ServiceDescriptor, servicer: object, flows: Mapping[str, _BytesFlow]) -> grpc.GenericRpcHandler:
        """The handlers of one service: from bytes where `flows` has the method, by the servicer otherwise."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in service.methods:
            flow = flows.get(method.name)
            handler = _of_bytes(flow) if flow is not None else self._of_messages(method, getattr(servicer, method.name))
            metered = self._metered(f"/{service.full_name}/{method.name}", handler, tells_time=flow is None)
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(metered)
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _of_messages(self, method: MethodDescriptor, behaviour: Callable[[Message, Context], Awaitable[Message]]) -> _Handler:
        """By an RPC of the framework. A request that does not parse is the caller's fault; gRPC by itself would say INTERNAL."""
        request_class = message_factory.GetMessageClass(method.input_type)
        bytes_max = int(self._services.settings.query_bytes_max)

        async def handle(request: bytes, context: Context) -> bytes:
            if len(request) > bytes_max:
                refuse(context, RequestTooLargeError(f"the request is larger than {bytes_max} bytes (query_bytes_max)"))
                return b""
            try:
                message = request_class.FromString(request)
            except DecodeError:
                refuse(context, InvalidRequestError("", f"the request is not a serialised {method.input_type.full_name}"))
                return b""
            return (await behaviour(message, context)).SerializeToString()

        return handle

    def _metered(self, route: str, handler: _Handler, *, tells_time: bool) -> _Handler:
        """Give the call its id, count and time it, tell the time to who asks questions. Handlers take and return bytes."""
        meter = self._meter

        async def handle(request: bytes, context: _AioContext) -> bytes:
            began = time.perf_counter()
            given = [value for key, value in context.invocation_metadata() or () if key == REQUEST_ID_KEY]
            request_id = request_id_of(str(given[-1]) if given else None)
            context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
            # The framework logs failures without knowing of request ids; each call has a task, and so a context, of its own.
            structlog.contextvars.bind_contextvars(request_id=request_id)
            try:
                meter.enter()
                return await handler(request, context)
            except OverloadedError as error:
                refuse(context, error)
                return b""
            finally:
                duration_s = time.perf_counter() - began
                code = _code_name(context)
                if tells_time:
                    add_trailers(context, ((SERVER_TIME_KEY, f"{duration_s * 1000:.3f}"),))
                meter.leave(route, "unary", code, duration_s)
                if self._logs_requests or code in _LOGGED_CODES:
                    self._log_call(route, code, context, duration_s)

        return handle

    def _log_call(self, route: str, code: str, context: _AioContext, duration_s: float) -> None:
        log = self._log.warning if code in _LOGGED_CODES else self._log.debug
        log(
            "request" if code == "OK" else "request refused",
            route=route,
            status=code,
            detail=context.details() or "",
            duration_ms=round(duration_s * 1000, 3),
        )


def _of_bytes(flow: _BytesFlow) -> _Handler:
    """By a flow of our own; exceptions become the status of the table."""

    async def handle(request: bytes, context: Context) -> bytes:
        return await rpc(flow, request, context, bytes)

    return handle


def _code_name(context: _AioContext) -> str:
    """The name of the call's status, which the context gives as it was set: nothing yet, its number, or the member."""
    code: object = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODE_NAMES.get(code, "UNKNOWN") if isinstance(code, int) else "OK"


def _result(outcome: Outcome) -> EventResult:
    return EventResult(outcome.event_id, outcome.status.value, outcome.reason, worm_proof_id(outcome), outcome.quarantine_id)
