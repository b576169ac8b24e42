"""The routes beside ingest: questions, what the server is, and what it kept aside. One Starlette endpoint each."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.requests import Request
from starlette.responses import Response

from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.errors import InvalidRequestError
from chaukas.server.operations.capabilities import get_capabilities
from chaukas.server.operations.event_stats import get_event_stats
from chaukas.server.operations.health import check_health
from chaukas.server.operations.metrics import get_metrics
from chaukas.server.operations.quarantine import list_quarantine, resubmit_quarantined, show_quarantined
from chaukas.server.operations.query_events import query_events
from chaukas.server.operations.services import Services
from chaukas.server.storage.contract import QuarantineRow
from chaukas.server.telemetry import METRICS_CONTENT_TYPE
from chaukas.server.transports.http_body import BodyReader
from chaukas.server.transports.http_exchange import JSON_TYPE, PROTOBUF_TYPE, Exchange, Form, form_of_answer, form_of_body
from chaukas.server.transports.openapi import openapi_document
from chaukas.server.wire.json_form import (
    capabilities_to_openapi,
    json_bytes,
    page_to_openapi,
    query_request_from_text,
    stats_to_openapi,
)
from chaukas.server.wire.json_results import result_to_openapi
from chaukas.spec.common.v1.query_pb2 import QueryRequest
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest

__all__ = ["QuestionRoutes"]

#: Writing JSON takes some 25 µs per event; a page above this size is written in a thread, so that others are answered meanwhile.
_EVENTS_WRITTEN_INLINE_MAX = 20


class QuestionRoutes:
    """Everything that is not ingest. Errors leave the endpoints as exceptions; the application makes problems of them."""

    def __init__(self, services: Services, body: BodyReader) -> None:
        self._services = services
        self._body = body

    async def healthz(self, _request: Request, _exchange: Exchange) -> Response:
        """Whether the server takes requests."""
        await check_health(self._services, ANONYMOUS)
        return _json({"status": "ok"})

    async def capabilities(self, request: Request, _exchange: Exchange) -> Response:
        """What the server can do."""
        _parameters(request)
        capabilities = await get_capabilities(self._services, ANONYMOUS)
        if _wants_protobuf(request):
            return _protobuf(capabilities.SerializeToString())
        return _json(capabilities_to_openapi(capabilities))

    async def query(self, request: Request, exchange: Exchange) -> Response:
        """One page of events."""
        form = form_of_body(exchange.header(b"content-type"))
        body = await self._body.read(exchange)
        wanted = _query_of(body) if form is Form.PROTOBUF else query_request_from_text(body)
        answer = await query_events(self._services, ANONYMOUS, wanted)
        if _wants_protobuf(request):
            return _protobuf(answer.to_response().SerializeToString())

        def write() -> bytes:
            return json_bytes(page_to_openapi(answer.events, answer.next_page_token, answer.total_count))

        inline = len(answer.events) <= _EVENTS_WRITTEN_INLINE_MAX
        return Response(write() if inline else await asyncio.to_thread(write), media_type=JSON_TYPE.decode())

    async def stats(self, request: Request, _exchange: Exchange) -> Response:
        """Exact counts."""
        given = _parameters(request, "tenant_id", "project_id", "start", "end")
        wanted = GetEventStatsRequest(tenant_id=given.get("tenant_id", ""), project_id=given.get("project_id", ""))
        for name, end in (("start", wanted.time_range.start), ("end", wanted.time_range.end)):
            if name in given:
                _read_time(name, given[name], end)
        if not given.keys() & {"start", "end"}:
            wanted.ClearField("time_range")
        stats = await get_event_stats(self._services, ANONYMOUS, wanted)
        return _protobuf(stats.SerializeToString()) if _wants_protobuf(request) else _json(stats_to_openapi(stats))

    async def metrics(self, _request: Request, _exchange: Exchange) -> Response:
        """The figures for Prometheus."""
        return Response(await get_metrics(self._services, ANONYMOUS), media_type=METRICS_CONTENT_TYPE)

    async def openapi(self, _request: Request, _exchange: Exchange) -> Response:
        """The description of this interface."""
        return _json(openapi_document())

    async def quarantine(self, request: Request, _exchange: Exchange) -> Response:
        """What was kept aside, without the bytes."""
        given = _parameters(request, "tenant_id", "project_id", "limit", "after")
        limit = given.get("limit", "100")
        if not limit.isdecimal() or len(limit) > 9:
            raise InvalidRequestError("limit", f"{limit[:40]!r} is not a whole number")
        listing = await list_quarantine(
            self._services, ANONYMOUS, given.get("tenant_id"), given.get("project_id"), int(limit), given.get("after", "")
        )
        return _json({"items": [_row(row) for row in listing.rows], "next_after": listing.next_after})

    async def quarantine_item(self, request: Request, _exchange: Exchange) -> Response:
        """One item with its bytes."""
        given = _parameters(request, "id", required="id")
        row = await show_quarantined(self._services, ANONYMOUS, given["id"])
        return _json({**_row(row), "raw": base64.b64encode(row.raw).decode("ascii")})

    async def quarantine_resubmit(self, request: Request, _exchange: Exchange) -> Response:
        """Hand one item in again."""
        given = _parameters(request, "id", "tenant_id", "project_id", required="id")
        done = await resubmit_quarantined(
            self._services, ANONYMOUS, given["id"], given.get("tenant_id", ""), given.get("project_id", "")
        )
        return _json({"quarantine_id": done.quarantine_id, "removed": done.removed, "result": result_to_openapi(done.outcome)})


def _parameters(request: Request, *known: str, required: str = "") -> Mapping[str, str]:
    """The query parameters. Unknown ones are refused: a filter with a slip of the pen must not widen the question."""
    given = request.query_params
    for name in given:
        if name not in known:
            raise InvalidRequestError(name[:100], f"is not a parameter of this route; it knows {', '.join(known) or 'none'}")
        if len(given.getlist(name)) > 1:
            raise InvalidRequestError(name, "is given more than once")
    if required and not given.get(required):
        raise InvalidRequestError(required, "is required")
    return given


def _read_time(name: str, text: str, time: Timestamp) -> None:
    try:
        # A plus sign that was not escaped arrives as a blank.
        time.FromJsonString(text.replace(" ", "+"))
    except ValueError as error:
        raise InvalidRequestError(name, f"{text[:60]!r} is not an RFC 3339 time such as 2026-01-31T12:00:00Z") from error


def _query_of(body: bytes) -> QueryRequest:
    try:
        return QueryRequest.FromString(body)
    except DecodeError as error:
        raise InvalidRequestError("body", "is not a serialised chaukas.spec.common.v1.QueryRequest") from error


def _row(row: QuarantineRow) -> dict[str, object]:
    return {
        "quarantine_id": row.quarantine_id,
        "tenant_id": row.tenant_id,
        "project_id": row.project_id,
        "event_id": row.event_id,
        "reasons": list(row.reasons),
        "first_received_at": _shown(row.first_received_at_ns),
        "last_received_at": _shown(row.last_received_at_ns),
        "count": row.count,
        "size_bytes": row.size_bytes,
    }


def _shown(time_ns: int) -> str:
    time = Timestamp()
    time.FromNanoseconds(time_ns)
    return time.ToJsonString()


def _wants_protobuf(request: Request) -> bool:
    return form_of_answer(request.headers.get("accept")) is Form.PROTOBUF


def _protobuf(body: bytes) -> Response:
    return Response(body, media_type=PROTOBUF_TYPE.decode())


def _json(value: object) -> Response:
    return Response(json_bytes(value), media_type=JSON_TYPE.decode())
