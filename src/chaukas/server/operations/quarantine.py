"""What was kept aside: list it, look at one item with its bytes, and hand it in again once what was wrong is mended.

A caller that is bound to a tenant or project sees and moves only what is attributed to it; whatever else exists is "not
found" to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from chaukas.server.operations.ingest import append, prepare_item
from chaukas.server.operations.services import Services
from chaukas.server.storage.contract import IngestStatus, Outcome, QuarantineItem, QuarantineRow
from chaukas.server.wire.event_bytes import parse_as_answered
from chaukas.server.wire.json_form import event_from_text, is_json
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = [
    "LISTING_ROWS_MAX",
    "QuarantineListing",
    "Resubmission",
    "list_quarantine",
    "resubmit_quarantined",
    "show_quarantined",
]

LISTING_ROWS_MAX = 1000
_STORED = frozenset({IngestStatus.ACCEPTED, IngestStatus.DUPLICATE})


@dataclass(frozen=True, slots=True)
class QuarantineListing:
    """Some rows without their bytes, oldest first."""

    rows: list[QuarantineRow]
    #: Continues the listing; empty at its end.
    next_after: str


@dataclass(frozen=True, slots=True)
class Resubmission:
    """What became of an item that was handed in again; it has left the quarantine when `removed`."""

    quarantine_id: str
    outcome: Outcome
    removed: bool


async def list_quarantine(
    services: Services, principal: Principal, tenant_id: str | None, project_id: str | None, limit: int, after: str
) -> QuarantineListing:
    """At most `limit` rows (1 to 1000) behind the id `after`. None means any tenant or project, "" attributed to nobody.

    Raises `InvalidRequestError` for a wrong limit, `PermissionDeniedError` outside the caller's scope.
    """
    if not 1 <= limit <= LISTING_ROWS_MAX:
        raise InvalidRequestError("limit", f"{limit} is not between 1 and {LISTING_ROWS_MAX}")
    tenant_id = _within("tenant_id", principal.tenant_id, tenant_id)
    project_id = _within("project_id", principal.project_id, project_id)
    # One more than asked for tells whether the listing goes on.
    rows = await services.store.quarantine_list(tenant_id, project_id, limit + 1, after or None)
    more = len(rows) > limit
    return QuarantineListing(rows[:limit], rows[limit - 1].quarantine_id if more else "")


async def show_quarantined(services: Services, principal: Principal, quarantine_id: str) -> QuarantineRow:
    """One row with its bytes. Raises `NotFoundError`, also for what is outside the caller's scope."""
    row = await services.store.quarantine_get(quarantine_id)
    if row is None or not _may_see(principal, row):
        raise NotFoundError(f"nothing in the quarantine has the id {quarantine_id[:100]!r}")
    return row


async def resubmit_quarantined(
    services: Services, principal: Principal, quarantine_id: str, tenant_id: str = "", project_id: str = ""
) -> Resubmission:
    """Put a kept event through ingest again, exactly as it once arrived; when it is stored now, it leaves the quarantine.

    1. It is handed in in the name of the tenant and project that it is attributed to, never of those that its bytes claim:
       what was kept aside because it named a foreign tenant must not get there by this door.
    2. `tenant_id` and `project_id` name them for an item that is attributed to nobody. They fill in what the event lacks.
    3. What is still wrong stays, with today's reasons in the answer, and is not counted as having arrived once more.
    4. Only after the event is durable is the item forgotten. A crash in between leaves both; handing it in once more ends in
       `duplicate` and forgets it.

    Raises `NotFoundError`, `InvalidRequestError` for a scope that contradicts the item's, and what ingest raises.
    """
    row = await show_quarantined(services, principal, quarantine_id)
    # 1. and 2.
    owner = Principal(
        name=principal.name,
        tenant_id=_named("tenant_id", row.tenant_id, tenant_id) or principal.tenant_id,
        project_id=_named("project_id", row.project_id, project_id) or principal.project_id,
    )
    # 3.
    event = _read(row, services.limits.event_bytes_max)
    if not isinstance(event, Event):
        return _still(row, event)
    prepared = prepare_item(services, owner, event)
    if isinstance(prepared, QuarantineItem):
        return _still(row, prepared.reasons)
    [outcome] = await append(services, "resubmit", [prepared])
    # 4.
    stored = outcome.status in _STORED
    return Resubmission(quarantine_id, outcome, removed=stored and await services.store.quarantine_remove(quarantine_id))


def _read(row: QuarantineRow, event_bytes_max: int) -> Event | Sequence[str]:
    """The kept event, be it a serialised one or the text of a JSON one; or why it still can not be read."""
    if is_json(row.raw):
        try:
            decoded = event_from_text(row.raw)
        except InvalidRequestError as error:
            return (error.public_message,)
        return decoded if isinstance(decoded, Event) else decoded.reasons
    if len(row.raw) > event_bytes_max:
        return (f"event: has {len(row.raw)} bytes; at most {event_bytes_max} are allowed",)
    try:
        return parse_as_answered(row.raw)
    except DecodeError:
        return row.reasons


def _still(row: QuarantineRow, reasons: Sequence[str]) -> Resubmission:
    outcome = Outcome(IngestStatus.QUARANTINED, row.event_id, "; ".join(reasons), quarantine_id=row.quarantine_id)
    return Resubmission(row.quarantine_id, outcome, removed=False)


def _within(field: str, bound: str | None, asked: str | None) -> str | None:
    """What to list, within what the caller is bound to."""
    if bound is not None and asked not in (None, bound):
        raise PermissionDeniedError(f"{field}: the caller may look at another one only")
    return asked if bound is None else bound


def _named(field: str, attributed: str, given: str) -> str:
    if attributed and given not in ("", attributed):
        raise InvalidRequestError(field, f"the item is attributed to {attributed!r} and can not be handed in for {given!r}")
    return attributed or given


def _may_see(principal: Principal, row: QuarantineRow) -> bool:
    return principal.tenant_id in (None, row.tenant_id) and principal.project_id in (None, row.project_id)
