"""The HTTP application: every route of the contract, with and without `/v1`, and one way for every error.

The outermost layer is plain ASGI: it gives each request its id, finds the route by its exact path, counts and times the
answer, and makes a problem (RFC 9457) of whatever went wrong. Ingest hangs directly on it; the other routes speak Starlette's
requests and responses.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chaukas.server.config import Address
from chaukas.server.errors import ChaukasError, NotFoundError, StorageError
from chaukas.server.operations.large_answers import LargeAnswers
from chaukas.server.operations.services import Services
from chaukas.server.telemetry import RequestMeter
from chaukas.server.transports.http_answer import send_response
from chaukas.server.transports.http_body import BodyReader
from chaukas.server.transports.http_exchange import Exchange, HttpError, problem_of
from chaukas.server.transports.http_explanations import ExplanationRoutes
from chaukas.server.transports.http_ingest import IngestRoutes
from chaukas.server.transports.http_log import CHECKPOINT_ROUTE, TILE_ROUTE, LogRoutes, log_route
from chaukas.server.transports.http_questions import QuestionRoutes
from chaukas.server.transports.http_tail import TailRoute
from chaukas.server.transports.http_witness import WITNESS_PATH, WitnessRoute

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
    HttpRoute("GET", "/v1/events", "One page of events, asked for by parameters."),
    HttpRoute("POST", "/v1/events/batch", "Take a batch of events."),
    HttpRoute("POST", "/v1/query", "One page of events."),
    HttpRoute("GET", "/v1/tail", "Events as they arrive."),
    HttpRoute("GET", "/v1/stats", "Exact counts."),
    HttpRoute("GET", "/v1/sessions", "Sessions, newest first."),
    HttpRoute("GET", "/v1/session", "Runs and steps of a session."),
    HttpRoute("GET", "/v1/explanation", "What an agent did, on what evidence, and what is missing."),
    HttpRoute("GET", "/v1/why", "What led to an event, and what it led to."),
    HttpRoute("GET", "/v1/capabilities", "What the server can do."),
    HttpRoute("GET", "/v1/quarantine", "What was kept aside."),
    HttpRoute("GET", "/v1/quarantine/item", "One item that was kept aside, with its bytes."),
    HttpRoute("POST", "/v1/quarantine/resubmit", "Hand an item in again."),
    HttpRoute("GET", "/v1/logs", "The transparency logs."),
    HttpRoute("GET", "/v1/proof/inclusion", "That an entry is in its log."),
    HttpRoute("GET", "/v1/proof/consistency", "That a log only grew."),
    HttpRoute("GET", "/v1/evidence", "An entry with everything that proves it."),
    HttpRoute("GET", CHECKPOINT_ROUTE, "The signed head of a log."),
    HttpRoute("GET", TILE_ROUTE, "A tile or a bundle of entries of a log."),
    HttpRoute("POST", WITNESS_PATH, "Cosign the checkpoint of another server's log."),
    HttpRoute("GET", "/v1/healthz", "Whether the server takes requests."),
    HttpRoute("GET", "/metrics", "Figures for Prometheus."),
    HttpRoute("GET", "/openapi.json", "The description of this interface."),
)

_Handler = Callable[[Exchange], Awaitable[None]]
_Endpoint = Callable[[Request, Exchange], Awaitable[Response]]
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
        explanations = ExplanationRoutes(services)
        starlette = _speaking_starlette(services.answers)
        handlers: dict[str, _Handler] = {
            "POST /v1/events": ingest.post_event,
            "GET /v1/events": starlette(questions.events),
            "POST /v1/events/batch": ingest.post_batch,
            "POST /v1/query": starlette(questions.query),
            "GET /v1/tail": TailRoute(services).get,
            "GET /v1/stats": starlette(questions.stats),
            "GET /v1/sessions": starlette(explanations.sessions),
            "GET /v1/session": starlette(explanations.session),
            "GET /v1/explanation": starlette(explanations.explanation),
            "GET /v1/why": starlette(explanations.why),
            "GET /v1/capabilities": starlette(questions.capabilities),
            "GET /v1/quarantine": starlette(questions.quarantine),
            "GET /v1/quarantine/item": starlette(questions.quarantine_item),
            "POST /v1/quarantine/resubmit": starlette(questions.quarantine_resubmit),
            **_log_handlers(LogRoutes(services), starlette),
            f"POST {WITNESS_PATH}": WitnessRoute(services).post,
            "GET /v1/healthz": starlette(questions.healthz),
            "GET /metrics": starlette(questions.metrics),
            "GET /openapi.json": starlette(questions.openapi),
        }
        #: By path, then by method.
        self._table: dict[str, dict[str, _Handler]] = {}
        for route in ROUTES:
            methods = self._table.setdefault(route.path, {})
            self._table[route.path.removeprefix("/v1")] = methods
            handler = methods[route.method] = handlers[f"{route.method} {route.path}"]
            if route.method == "GET":
                # HEAD is GET without the body, which uvicorn leaves out (RFC 9110 §9.3.2).
                methods["HEAD"] = handler
        self._names = {path: f"/v1{path}" if f"/v1{path}" in self._table else path for path in self._table}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"this application answers HTTP requests, not {scope['type']!r}")
        began = time.perf_counter()
        exchange = Exchange(scope, receive, send)
        route = log_route(exchange.path)
        methods = self._table.get(route, {})
        meter = self._requests
        try:
            meter.enter()
            if self._local_only:
                self._require_local_name(exchange.header(b"host") or "")
            handler = methods.get(exchange.method)
            if handler is None:
                _refuse_method(exchange, methods)
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
            path = self._names.get(route, _UNKNOWN_ROUTE)
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


def _speaking_starlette(answers: LargeAnswers) -> Callable[[_Endpoint], _Handler]:
    """Makes handlers from endpoints that speak Starlette's requests and responses."""

    def handler(endpoint: _Endpoint) -> _Handler:
        async def handle(exchange: Exchange) -> None:
            response = await endpoint(Request(exchange.scope, exchange.receive), exchange)
            response.headers["x-request-id"] = exchange.request_id
            await send_response(answers, exchange, response)

        return handle

    return handler


def _log_handlers(routes: LogRoutes, starlette: Callable[[_Endpoint], _Handler]) -> dict[str, _Handler]:
    return {
        "GET /v1/logs": starlette(routes.logs),
        "GET /v1/proof/inclusion": starlette(routes.inclusion_proof),
        "GET /v1/proof/consistency": starlette(routes.consistency_proof),
        "GET /v1/evidence": starlette(routes.evidence),
        f"GET {CHECKPOINT_ROUTE}": starlette(routes.checkpoint),
        f"GET {TILE_ROUTE}": starlette(routes.tile),
    }


def _refuse_method(exchange: Exchange, methods: Mapping[str, object]) -> NoReturn:
    if not methods:
        raise NotFoundError(f"there is no route {exchange.path[:200]!r}; /openapi.json lists them")
    allow = ", ".join(sorted(methods))
    raise HttpError(405, "Method not allowed", f"{exchange.method[:16]} is not {allow}", ((b"allow", allow.encode("ascii")),))
