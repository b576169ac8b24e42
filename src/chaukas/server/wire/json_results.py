"""What became of posted events, as the body of a JSON answer (202)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

__all__ = ["IngestOutcome", "result_to_openapi", "results_to_openapi"]

_STORED = ("accepted", "duplicate")


class IngestOutcome(Protocol):
    """What this module reads of the storage contract's `Outcome`."""

    @property
    def status(self) -> str:
        """`accepted`, `duplicate`, `rejected` or `quarantined`."""

    @property
    def event_id(self) -> str:
        """As far as it could be read."""

    @property
    def reason(self) -> str:
        """Empty where there is nothing to explain."""

    @property
    def origin(self) -> str:
        """The log in which the event stands."""

    @property
    def index(self) -> int:
        """Its place there, -1 when it does not stand in a log."""

    @property
    def quarantine_id(self) -> str:
        """Where it is kept aside, else empty."""


def result_to_openapi(outcome: IngestOutcome) -> dict[str, object]:
    """One event's result: `event_id` and `status` always, `reason`, `worm_proof_id` and `quarantine_id` where there is one."""
    result: dict[str, object] = {"event_id": outcome.event_id, "status": str(outcome.status)}
    if outcome.reason:
        result["reason"] = outcome.reason
    if outcome.index >= 0:
        result["worm_proof_id"] = f"{outcome.origin}#{outcome.index}"
    if outcome.quarantine_id:
        result["quarantine_id"] = outcome.quarantine_id
    return result


def results_to_openapi(outcomes: Iterable[IngestOutcome], batch_id: str = "") -> dict[str, object]:
    """A batch's results, in the order of its events, with their counts.

    As in the contract's batch answer, `accepted_count` is what is stored (duplicates included) and `rejected_count` what is
    not (the quarantined included); `duplicate_count` and `quarantined_count` are parts of them.
    """
    results: list[dict[str, object]] = []
    counts: dict[str, int] = {}
    refused: list[str] = []
    for outcome in outcomes:
        results.append(result_to_openapi(outcome))
        status = str(outcome.status)
        counts[status] = counts.get(status, 0) + 1
        if status not in _STORED:
            refused.append(outcome.event_id)
    return {
        "batch_id": batch_id,
        "accepted_count": len(results) - len(refused),
        "duplicate_count": counts.get("duplicate", 0),
        "rejected_count": len(refused),
        "quarantined_count": counts.get("quarantined", 0),
        "rejected_event_ids": refused,
        "results": results,
    }
