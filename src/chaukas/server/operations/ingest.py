"""Ingest: from a request to events that are durable, with one outcome for each.

A large request is committed in pieces, one after another: what is parsed and held at a time stays small however large the
request is, and the order of its events is kept. When a later piece fails the request fails, though earlier pieces are
stored: sending it again is safe, because storing is idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chaukas.server.auth.principal import Principal
from chaukas.server.ingest.hooks import report_stored
from chaukas.server.ingest.prepare import prepare
from chaukas.server.operations.services import Services
from chaukas.server.storage.contract import EventRecord, IngestStatus, Outcome, QuarantineItem
from chaukas.server.wire.frames import Frame, parse_batch, parse_single
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["BatchOutcome", "append", "ingest_batch", "ingest_event", "ingest_items", "prepare_item"]

#: A piece ends after this many items or bytes, whichever comes first. The pipeline shares commits among requests, so a piece
#: need not be larger than what one commit takes at best.
_PIECE_ITEMS_MAX = 2000
_PIECE_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of a batch: one outcome per event, in order."""

    batch_id: str
    outcomes: list[Outcome]


async def ingest_event(services: Services, principal: Principal, transport: str, body: bytes) -> Outcome:
    """Take the event of a serialised `IngestEventRequest` (client or server package).

    Whatever is wrong with the event is in the outcome, and the event in the quarantine. Raises `InvalidRequestError` when
    there is no event frame in the body; `OverloadedError`, `ShuttingDownError`, `StorageError` when nothing was stored.
    """
    frame = parse_single(body, event_bytes_max=services.limits.event_bytes_max)
    return (await append(services, transport, [_prepare(services, principal, frame)]))[0]


async def ingest_batch(services: Services, principal: Principal, transport: str, body: bytes) -> BatchOutcome:
    """Take the events of a serialised `IngestEventBatchRequest` (client or server package).

    Raises what `ingest_event` raises, and `RequestTooLargeError` above `batch_events_max` events.
    """
    batch = parse_batch(body, events_max=services.settings.batch_events_max, event_bytes_max=services.limits.event_bytes_max)
    if len(body) <= _PIECE_BYTES_MAX and len(batch.frames) <= _PIECE_ITEMS_MAX:
        limits, server_name, hooks = services.limits, services.settings.server_name, services.hooks
        now_ns = services.now_ns()
        items = [prepare(frame, principal, limits, server_name, now_ns, hooks) for frame in batch.frames]
        return BatchOutcome(batch.batch_id, await append(services, transport, items))
    return BatchOutcome(batch.batch_id, await _ingest_in_pieces(services, principal, transport, batch.frames))


async def ingest_items(
    services: Services,
    principal: Principal,
    transport: str,
    items: Iterable[Event | QuarantineItem],
    *,
    in_thread: bool = False,
) -> list[Outcome]:
    """Take events that a transport decoded itself (JSON), and what it could not decode. Raises as `ingest_event`.

    `in_thread` says that `items` is slow to walk over: a thread does it, and other requests are answered meanwhile.
    """
    return await _ingest_in_pieces(services, principal, transport, items, in_thread=in_thread)


def prepare_item(services: Services, principal: Principal, event: Event) -> EventRecord | QuarantineItem:
    """Validate and enrich one event."""
    return _prepare(services, principal, event)


async def append(services: Services, transport: str, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
    """Make the items durable, count what became of them, and tell the hooks. Raises what the pipeline raises."""
    outcomes = await services.pipeline.submit(items)
    counts: dict[IngestStatus, int] = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    for status, number in counts.items():
        services.telemetry.events.labels(transport, status.value).inc(number)
    if services.hooks:
        # The answer goes out first: a slow hook delays nobody's acknowledgement.
        asyncio.get_running_loop().call_soon(report_stored, services.hooks, outcomes)
    return outcomes


async def _ingest_in_pieces(
    services: Services,
    principal: Principal,
    transport: str,
    items: Iterable[Frame | Event | QuarantineItem],
    *,
    in_thread: bool = False,
) -> list[Outcome]:
    """Append piece after piece; the events of a piece are parsed and prepared just before that."""
    outcomes: list[Outcome] = []
    rest = iter(items)

    def next_piece() -> list[EventRecord | QuarantineItem]:
        return _next_piece(services, principal, rest)

    while piece := await asyncio.to_thread(next_piece) if in_thread else next_piece():
        outcomes += await append(services, transport, piece)
    return outcomes


def _next_piece(
    services: Services, principal: Principal, rest: Iterator[Frame | Event | QuarantineItem]
) -> list[EventRecord | QuarantineItem]:
    """As many items as make a piece, fewer at the end, none behind it."""
    piece: list[EventRecord | QuarantineItem] = []
    size_bytes = 0
    for item in rest:
        prepared = _prepare(services, principal, item)
        piece.append(prepared)
        size_bytes += len(prepared.stored) if isinstance(prepared, EventRecord) else len(prepared.raw)
        if len(piece) >= _PIECE_ITEMS_MAX or size_bytes >= _PIECE_BYTES_MAX:
            break
    return piece


def _prepare(services: Services, principal: Principal, item: Frame | Event | QuarantineItem) -> EventRecord | QuarantineItem:
    if isinstance(item, QuarantineItem):
        return item
    return prepare(item, principal, services.limits, services.settings.server_name, services.now_ns(), services.hooks)
