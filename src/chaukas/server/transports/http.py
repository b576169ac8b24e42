"""The HTTP application: every route of the contract, with and without `/v1`, and one way for every error.

The outermost layer is plain ASGI: it gives each request its id, finds the route by its exact path, counts and times the
answer, and makes a problem (RFC 9457) of whatever went wrong. Ingest hangs directly on it; the other routes speak Starlette's
requests and responses.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chaukas.server.config import Address
from chaukas.server.errors import ChaukasError, NotFoundError, StorageError
from chaukas.server.operations.services import Services
from chaukas.server.telemetry import RequestMeter
from chaukas.server.transports.http_body import BodyReader
from chaukas.server.transports.http_exchange import Exchange, HttpError, problem_of
from chaukas.server.transports.http_ingest import IngestRoutes
from chaukas.server.transports.http_questions import QuestionRoutes

__all__ = ["ROUTES", "HttpApp", "HttpRoute"]


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """One route: the documentation and the OpenAPI document are checked against this list."""

    method: str
    path: str
    summary: str


#: Each path that begins with /v1 is also served without it: users configure their SDK's endpoint either way.
ROUTES: Final = (
    HttpRoute("POST", "/v1/events", "Take one event."),
    HttpRoute("POST", "/v1/events/batch", "Take a batch of events."),
    HttpRoute("POST", "/v1/query", "One page of events."),
    HttpRoute("GET", "/v1/stats", "Exact counts."),
    HttpRoute("GET", "/v1/capabilities", "What the server can do."),
    HttpRoute("GET", "/v1/quarantine", "What was kept aside."),
    HttpRoute("GET", "/v1/quarantine/item", "One item that was kept aside, with its bytes."),
    HttpRoute("POST", "/v1/quarantine/resubmit", "Hand an item in again."),
    HttpRoute("GET", "/v1/healthz", "Whether the server takes requests."),
    HttpRoute("GET", "/metrics", "Figures for Prometheus."),
    HttpRoute("GET", "/openapi.json", "The description of this interface."),
)

_Handler = Callable[[Exchange], Awaitable[None]]
_UNKNOWN_ROUTE = "unknown"
_KNOWN_NAMES_MAX = 100
_METHODS = frozenset({"GET", "HEAD", "POST"})


class HttpApp:
    """An ASGI application."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._requests = RequestMeter(services.telemetry, "http", services.settings.requests_max)
        self._log = services.telemetry.logger("http")
        self._logs_requests = services.telemetry.logs_requests
        settings = services.settings
        self._known_names = {settings.server_name.partition(":")[0]}
        self._local_only = not settings.insecure_no_auth
        ingest_body = BodyReader("request_bytes_max", int(settings.request_bytes_max), settings.http_body_s, services.admission)
        query_body = BodyReader("query_bytes_max", int(settings.query_bytes_max), settings.http_body_s, services.admission)
        ingest, questions = IngestRoutes(services, ingest_body), QuestionRoutes(services, query_body)
        handlers: dict[str, _Handler] = {
            "/v1/events": ingest.post_event,
            "/v1/events/batch": ingest.post_batch,
            "/v1/query": _starlette(questions.query),
            "/v1/stats": _starlette(questions.stats),
            "/v1/capabilities": _starlette(questions.capabilities),
            "/v1/quarantine": _starlette(questions.quarantine),
            "/v1/quarantine/item": _starlette(questions.quarantine_item),
            "/v1/quarantine/resubmit": _starlette(questions.quarantine_resubmit),
            "/v1/healthz": _starlette(questions.healthz),
            "/metrics": _starlette(questions.metrics),
            "/openapi.json": _starlette(questions.openapi),
        }
        self._table: dict[str, tuple[HttpRoute, _Handler]] = {}
        for route in ROUTES:
            self._table[route.path] = self._table[route.path.removeprefix("/v1")] = (route, handlers[route.path])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"this application answers HTTP requests, not {scope['type']!r}")
        began = time.perf_counter()
        exchange = Exchange(scope, receive, send)
        route, handler = self._table.get(exchange.path, (None, _not_found))
        meter = self._requests
        try:
            meter.enter()
            if self._local_only:
                self._require_local_name(exchange.header(b"host") or "")
            if route is not None and exchange.method != route.method:
                _require_head(exchange.method, route.method)
            await handler(exchange)
        except ClientDisconnect:
            # Nobody is left to answer; the number is nginx's, and stands in metrics and logs only.
            exchange.status = 499
        except Exception as error:  # noqa: BLE001  the edge: nothing may leave without an answer and a line in the log
            await self._refuse(exchange, error)
        finally:
            if exchange.held_bytes:
                self._services.admission.give_back(exchange.held_bytes, holder=exchange)
            duration_s = time.perf_counter() - began
            path = route.path if route is not None else _UNKNOWN_ROUTE
            method = exchange.method if exchange.method in _METHODS else "other"
            meter.leave(path, method, str(exchange.status), duration_s)
            if self._logs_requests:
                self._log.debug(
                    "request",
                    request_id=exchange.request_id,
                    method=method,
                    route=path,
                    status=exchange.status,
                    duration_ms=round(duration_s * 1000, 3),
                )

    def _require_local_name(self, host: str) -> None:
        """Refuse requests that name another host.

        A page in somebody's browser can let a domain of its own point at 127.0.0.1 (DNS rebinding); to the browser it then is
        the server's own page, and may read every answer. Such a domain has a dot in it, and the browser names it here.
        """
        name = host.rpartition(":")[0] if host[-1:].isdigit() and ":" in host else host
        if "." not in name or name in self._known_names:
            return
        if not Address(name.strip("[]"), 0).is_loopback and not name.endswith(".localhost"):
            raise HttpError(
                421,
                "Misdirected request",
                f"this server is for its own machine and does not answer for {name[:100]!r}; see insecure_no_auth",
            )
        if len(self._known_names) < _KNOWN_NAMES_MAX:
            self._known_names.add(name)

    async def _refuse(self, exchange: Exchange, error: Exception) -> None:
        """Answer an error, unless an answer has begun already: then the connection ends with it."""
        problem = problem_of(error, splits=exchange.splits)
        fields = {
            "request_id": exchange.request_id,
            "method": exchange.method[:16],
            "path": exchange.path[:200],
            "status": problem.status,
            "detail": problem.detail,
        }
        if not isinstance(error, (ChaukasError, HttpError)) or isinstance(error, StorageError):
            self._log.error("request failed", **fields, exc_info=error)
        elif problem.status >= 500:
            self._log.warning("request refused", **fields)
        else:
            self._log.info("request refused", **fields)
        if exchange.started:
            raise error
        await exchange.answer_problem(problem)


def _starlette(endpoint: Callable[[Request, Exchange], Awaitable[Response]]) -> _Handler:
    """A handler from an endpoint that speaks Starlette's requests and responses."""

    async def handle(exchange: Exchange) -> None:
        response = await endpoint(Request(exchange.scope, exchange.receive), exchange)
        response.headers["x-request-id"] = exchange.request_id
        exchange.status, exchange.started = response.status_code, True
        await response(exchange.scope, exchange.receive, exchange.send)

    return handle


async def _not_found(exchange: Exchange) -> None:
    raise NotFoundError(f"there is no route {exchange.path[:200]!r}; /openapi.json lists them")


def _require_head(method: str, allowed: str) -> None:
    """HEAD is GET without the body, which uvicorn leaves out (RFC 9110 §9.3.2); everything else is refused."""
    if (method, allowed) == ("HEAD", "GET"):
        return
    allow = "GET, HEAD" if allowed == "GET" else allowed
    raise HttpError(405, "Method not allowed", f"{method[:16]} is not {allow}", ((b"allow", allow.encode("ascii")),))
