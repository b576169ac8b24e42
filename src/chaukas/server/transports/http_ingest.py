"""The two ingest routes, which carry nearly all traffic: raw ASGI, little between the socket and the operation.

DESIGN "From bytes to an acknowledged event" decides the statuses. To callers that send protobuf the answer is 202 whenever
every event was stored or quarantined, because their SDK sends again, for ever, what was answered with 400 and above. Callers
that send JSON learn of a single event that is not stored by 422 or 409.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.operations.ingest import BatchOutcome, ingest_batch, ingest_event, ingest_items
from chaukas.server.operations.services import Services
from chaukas.server.storage.contract import IngestStatus, Outcome, QuarantineItem
from chaukas.server.transports.http_body import BodyReader
from chaukas.server.transports.http_exchange import (
    PROTOBUF_TYPE,
    Exchange,
    Form,
    Problem,
    form_of_answer,
    form_of_body,
)
from chaukas.server.transports.ingest_answers import NOT_STORED, batch_answer, event_answer
from chaukas.server.wire.json_form import JsonProblem, batch_from_text, event_from_text
from chaukas.server.wire.json_results import result_to_openapi, results_to_openapi
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["IngestRoutes"]

#: Reading JSON takes some 30 µs per event; from this size on a thread does it, and other requests are answered meanwhile.
_THREAD_BYTES_MIN = 32 * 1024
#: The title of a problem, as `chaukas.server.errors` words it, and of a conflict, which is no error there.
_INVALID, _CONFLICT = "The event is invalid", "The event id is taken"

T = TypeVar("T")


class IngestRoutes:
    """POST /v1/events and POST /v1/events/batch."""

    def __init__(self, services: Services, body: BodyReader) -> None:
        self._services = services
        self._body = body

    async def post_event(self, exchange: Exchange) -> None:
        """One event."""
        form = form_of_body(exchange.header(b"content-type"))
        exchange.splits = form is Form.PROTOBUF
        body = await self._body.read(exchange)
        if form is Form.PROTOBUF:
            outcome = await ingest_event(self._services, ANONYMOUS, "http", body)
        else:
            outcome, problem = await self._ingest_json_event(ANONYMOUS, body)
            if problem is not None:
                await exchange.answer_problem(problem)
                return
        now_ms = self._services.now_ns() // 1_000_000
        if form_of_answer(exchange.header(b"accept")) is Form.PROTOBUF:
            await exchange.answer(202, PROTOBUF_TYPE, event_answer(outcome, now_ms).SerializeToString())
        else:
            await exchange.answer_json(202, {**result_to_openapi(outcome), "processed_at": now_ms})

    async def post_batch(self, exchange: Exchange) -> None:
        """Many events; each has a result of its own."""
        form = form_of_body(exchange.header(b"content-type"))
        exchange.splits = form is Form.PROTOBUF
        body = await self._body.read(exchange)
        if form is Form.PROTOBUF:
            batch = await ingest_batch(self._services, ANONYMOUS, "http", body)
        else:
            batch = await self._ingest_json_batch(ANONYMOUS, body)
        if form_of_answer(exchange.header(b"accept")) is Form.PROTOBUF:
            await exchange.answer(202, PROTOBUF_TYPE, batch_answer(batch.batch_id, batch.outcomes).SerializeToString())
        else:
            await exchange.answer_json(202, results_to_openapi(batch.outcomes, batch.batch_id))

    async def _ingest_json_event(self, principal: Principal, body: bytes) -> tuple[Outcome, Problem | None]:
        decoded = await _decode(event_from_text, body)
        [outcome] = await ingest_items(self._services, principal, "http", [_item(principal, decoded)])
        if outcome.status not in NOT_STORED:
            return outcome, None
        kept: dict[str, object] = {"event_id": outcome.event_id, "quarantine_id": outcome.quarantine_id, "retryable": False}
        if outcome.status is IngestStatus.REJECTED:
            return outcome, Problem(409, _CONFLICT, outcome.reason, members=kept)
        return outcome, Problem(422, _INVALID, outcome.reason, members=kept)

    async def _ingest_json_batch(self, principal: Principal, body: bytes) -> BatchOutcome:
        events_max = self._services.settings.batch_events_max
        decoded = await _decode(partial(batch_from_text, events_max=events_max), body)
        items = (_item(principal, item) for item in decoded)
        slow = len(body) >= _THREAD_BYTES_MIN
        return BatchOutcome(decoded.batch_id, await ingest_items(self._services, principal, "http", items, in_thread=slow))


async def _decode(read: Callable[[bytes], T], body: bytes) -> T:
    return read(body) if len(body) < _THREAD_BYTES_MIN else await asyncio.to_thread(read, body)


def _item(principal: Principal, decoded: Event | JsonProblem) -> Event | QuarantineItem:
    """What cannot be read is kept under the caller's tenant where the caller is bound to one, else under what it says itself."""
    if isinstance(decoded, Event):
        return decoded
    tenant_id = principal.tenant_id if principal.tenant_id is not None else decoded.tenant_id
    project_id = decoded.project_id if principal.tenant_id is None else principal.project_id or ""
    return QuarantineItem(tenant_id, project_id if tenant_id else "", decoded.event_id, decoded.raw, decoded.reasons)
