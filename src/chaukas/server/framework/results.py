"""What became of one event, as verbs say it and as the answers of the contract carry it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaukas.server.errors import status_of
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchResponse, IngestEventResponse, IngestResult

__all__ = ["EventResult", "batch_answer", "event_answer", "failure", "result_of", "results_of"]

_STORED = frozenset({"accepted", "duplicate"})
_STATUSES = _STORED | {"rejected", "quarantined"}


@dataclass(slots=True)
class EventResult:
    """What became of one event.

    `status` is one of `accepted`, `duplicate` (stored before with the same content), `rejected` (not stored) and `quarantined`
    (invalid, but kept aside). `reason` is a sentence for the caller; empty when the event is stored. `worm_proof_id` says where
    the event stands in a log, `quarantine_id` where it is kept aside, if it is. `error` is the exception on account of which
    the event was rejected, if there was one: it decides the gRPC status of a single call.
    """

    event_id: str = ""
    status: str = "accepted"
    reason: str = ""
    worm_proof_id: str = ""
    quarantine_id: str = ""
    error: Exception | None = field(default=None, repr=False, compare=False)

    @property
    def stored(self) -> bool:
        """Whether the event stands in the record: accepted now, or a duplicate of what does."""
        return self.status in _STORED


def failure(event_id: str, error: Exception) -> EventResult:
    """The result of an event whose verb raised: rejected, with the error's public message as the reason."""
    return EventResult(event_id, "rejected", status_of(error).message, error=error)


def result_of(verb: str, value: object, event_id: str) -> EventResult:
    """What a storing verb returned, as a result.

    To return is to have stored: whatever is returned means `accepted`, except an `EventResult`, the name of a status, and what
    can only be a mistake. Raises `TypeError` for False and for a text that is no status: an event that the verb may have
    refused must not be acknowledged.
    """
    if isinstance(value, EventResult):
        if value.status not in _STATUSES:
            raise TypeError(f"{verb} returned the unknown status {value.status!r}")
        if not value.event_id:
            value.event_id = event_id
        return value
    if isinstance(value, str):
        if value not in _STATUSES:
            raise TypeError(f"{verb} returned {value!r}, which is no status")
        return EventResult(event_id, value)
    if value is False:
        raise TypeError(f"{verb} returned False; raise ValidationError or StorageError, or return an EventResult")
    return EventResult(event_id)


def results_of(verb: str, values: object, event_ids: Sequence[str]) -> list[EventResult]:
    """What a storing verb returned for many events: one value for each, in order, or None when all are stored.

    Raises `TypeError` when the number of values differs: nobody could say which event they belong to.
    """
    if values is None:
        return [EventResult(event_id) for event_id in event_ids]
    if not isinstance(values, Sequence) or len(values) != len(event_ids):
        raise TypeError(f"{verb} must return None or a sequence with one result per event ({len(event_ids)})")
    return [result_of(verb, value, event_id) for value, event_id in zip(values, event_ids, strict=True)]


def event_answer(result: EventResult) -> IngestEventResponse:
    """The answer to a single event; `processed_at` is now, in milliseconds since 1970."""
    return IngestEventResponse(
        event_id=result.event_id,
        status=result.status,
        processed_at=time.time_ns() // 1_000_000,
        worm_proof_id=result.worm_proof_id,
    )


def batch_answer(batch_id: str, results: Sequence[EventResult]) -> IngestEventBatchResponse:
    """The answer to a batch: one result per event in order, and the sums."""
    rejected_ids = [result.event_id for result in results if result.status not in _STORED]
    return IngestEventBatchResponse(
        batch_id=batch_id,
        accepted_count=len(results) - len(rejected_ids),
        rejected_count=len(rejected_ids),
        rejected_event_ids=rejected_ids,
        results=[
            IngestResult(event_id=result.event_id, status=result.status, reason=result.reason, worm_proof_id=result.worm_proof_id)
            for result in results
        ],
    )
