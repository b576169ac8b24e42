"""What became of events, in the messages of the contract's server package; the same over gRPC and over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from chaukas.server.storage.contract import IngestStatus, Outcome
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchResponse, IngestEventResponse

__all__ = ["NOT_STORED", "batch_answer", "event_answer", "worm_proof_id"]

#: What `rejected_count` and `rejected_event_ids` hold: kept aside, but not in the record.
NOT_STORED = frozenset({IngestStatus.REJECTED, IngestStatus.QUARANTINED})


def worm_proof_id(outcome: Outcome) -> str:
    """Where the event stands, `<origin>#<index>`; empty when it is not stored."""
    return f"{outcome.origin}#{outcome.index}" if outcome.index >= 0 else ""


def event_answer(outcome: Outcome, now_ms: int) -> IngestEventResponse:
    """The answer to a single event; `now_ms` is milliseconds since 1970."""
    return IngestEventResponse(
        event_id=outcome.event_id, status=outcome.status, processed_at=now_ms, worm_proof_id=worm_proof_id(outcome)
    )


def batch_answer(batch_id: str, outcomes: Sequence[Outcome]) -> IngestEventBatchResponse:
    """The answer to a batch: one result per event, in order, and the sums."""
    answer = IngestEventBatchResponse(batch_id=batch_id)
    add = answer.results.add
    rejected: list[str] = []
    for outcome in outcomes:
        if outcome.index >= 0:
            add(event_id=outcome.event_id, status=outcome.status, worm_proof_id=f"{outcome.origin}#{outcome.index}")
        else:
            add(event_id=outcome.event_id, status=outcome.status, reason=outcome.reason)
            rejected.append(outcome.event_id)
    answer.rejected_event_ids.extend(rejected)
    answer.rejected_count = len(rejected)
    answer.accepted_count = len(outcomes) - len(rejected)
    return answer
