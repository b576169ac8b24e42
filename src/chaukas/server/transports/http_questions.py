"""The routes beside ingest: questions, what the server is, and what it kept aside. One Starlette endpoint each."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import urlencode

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.requests import ClientDisconnect, Request
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
from chaukas.server.query import Answer
from chaukas.server.storage.contract import QuarantineRow
from chaukas.server.telemetry import METRICS_CONTENT_TYPE
from chaukas.server.transports.http_answer import take_answer_bytes
from chaukas.server.transports.http_body import BodyReader
from chaukas.server.transports.http_exchange import JSON_TYPE, PROTOBUF_TYPE, Exchange, Form, form_of_answer, form_of_body
from chaukas.server.transports.http_parameters import PAGE_PARAMETERS, named_as_parameters, parameters, query_of, read_time
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
        parameters(request)
        capabilities = await get_capabilities(self._services, ANONYMOUS)
        if _wants_protobuf(request):
            return _protobuf(capabilities.SerializeToString())
        return _json(capabilities_to_openapi(capabilities))

    async def query(self, request: Request, exchange: Exchange) -> Response:
        """One page of events."""
        form = form_of_body(exchange.header(b"content-type"))
        body = await self._body.read(exchange)
        wanted = _query_of(body) if form is Form.PROTOBUF else query_request_from_text(body)
        response, _ = await self._page(request, exchange, wanted)
        return response

    async def events(self, request: Request, exchange: Exchange) -> Response:
        """One page of events, asked for by parameters; `Link` leads to the next one (RFC 8288)."""
        wanted, given = query_of(request, *PAGE_PARAMETERS)
        with named_as_parameters():
            response, answer = await self._page(request, exchange, wanted)
        if answer.has_more:
            rest = [item for item in given.multi_items() if item[0] != "page_token"]
            following = urlencode([*rest, ("page_token", answer.next_page_token)])
            response.headers["link"] = f'<{request.url.path}?{following}>; rel="next"'
        return response

    async def _page(self, request: Request, exchange: Exchange, wanted: QueryRequest) -> tuple[Response, Answer]:
        """Ask and write; a large page in turn, and only for a caller who still waits for it."""
        services = self._services
        if not services.answers.needs_turn(wanted.page_size or services.settings.page_events_default):
            answer = await query_events(services, ANONYMOUS, wanted)
            return await _page(request, answer), answer
        async with services.answers.turn():
            if await exchange.is_gone():
                raise ClientDisconnect
            answer = await query_events(services, ANONYMOUS, wanted)
            response = await _page(request, answer)
            await take_answer_bytes(services.answers, exchange, response)
        return response, answer

    async def stats(self, request: Request, _exchange: Exchange) -> Response:
        """Exact counts."""
        given = parameters(request, "tenant_id", "project_id", "start", "end")
        wanted = GetEventStatsRequest(tenant_id=given.get("tenant_id", ""), project_id=given.get("project_id", ""))
        for name, end in (("start", wanted.time_range.start), ("end", wanted.time_range.end)):
            if name in given:
                read_time(name, given[name], end)
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
        given = parameters(request, "tenant_id", "project_id", "limit", "after")
        limit = given.get("limit", "100")
        if not limit.isdecimal() or len(limit) > 9:
            raise InvalidRequestError("limit", f"{limit[:40]!r} is not a whole number")
        listing = await list_quarantine(
            self._services, ANONYMOUS, given.get("tenant_id"), given.get("project_id"), int(limit), given.get("after", "")
        )
        return _json({"items": [_row(row) for row in listing.rows], "next_after": listing.next_after})

    async def quarantine_item(self, request: Request, _exchange: Exchange) -> Response:
        """One item with its bytes."""
        given = parameters(request, "id", required="id")
        row = await show_quarantined(self._services, ANONYMOUS, given["id"])
        return _json({**_row(row), "raw": base64.b64encode(row.raw).decode("ascii")})

    async def quarantine_resubmit(self, request: Request, _exchange: Exchange) -> Response:
        """Hand one item in again."""
        given = parameters(request, "id", "tenant_id", "project_id", required="id")
        done = await resubmit_quarantined(
            self._services, ANONYMOUS, given["id"], given.get("tenant_id", ""), given.get("project_id", "")
        )
        return _json({"quarantine_id": done.quarantine_id, "removed": done.removed, "result": result_to_openapi(done.outcome)})


async def _page(request: Request, answer: Answer) -> Response:
    if _wants_protobuf(request):
        return _protobuf(answer.to_response().SerializeToString())

    def write() -> bytes:
        return json_bytes(page_to_openapi(answer.events, answer.next_page_token, answer.total_count))

    inline = len(answer.events) <= _EVENTS_WRITTEN_INLINE_MAX
    return Response(write() if inline else await asyncio.to_thread(write), media_type=JSON_TYPE.decode())


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
