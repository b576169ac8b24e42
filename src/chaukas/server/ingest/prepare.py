"""From an event as received to the record that is appended: validate, enrich, serialise, cut (DESIGN §3).

Every event passes here once. What is done for each of them is counted in microseconds (docs/benchmarks.md); what only some
need stands in functions of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import ValidationError
from chaukas.server.ingest.hooks import IngestHook, enrich_by_hooks, validate_by_hooks
from chaukas.server.storage.contract import EventRecord, QuarantineItem
from chaukas.server.validation import TIMESTAMP_SECONDS_MAX, TIMESTAMP_SECONDS_MIN, Limits, origin_bytes, violations
from chaukas.server.wire.event_bytes import envelope_length, readable_in_answers, received_bytes
from chaukas.server.wire.frames import Frame
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["prepare"]


def prepare(
    item: Frame | Event,
    principal: Principal,
    limits: Limits,
    server_name: str,
    now_ns: int,
    hooks: Sequence[IngestHook] = (),
) -> EventRecord | QuarantineItem:
    """The record of one event, or what must be kept aside with all reasons. Raises nothing, whatever a caller sent.

    The event is enriched in place: tenant and project from the principal and the timestamp from `now_ns` (nanoseconds since
    1970) where it has none, then whatever the hooks change. `EventRecord.received` is its content before that, and the very
    same object as `stored` if nothing was changed.
    """
    if isinstance(item, Frame):
        event = item.event
        if event is None:
            return _set_aside(item, b"", (item.problem,), principal, limits, server_name)
    else:
        event = item
    try:
        received = stored = received_bytes(event)
    except ValidationError as error:
        received = event.SerializeToString(deterministic=True)
        return _set_aside(item, received, (error.public_message,), principal, limits, server_name)
    checked_bytes = len(received)
    tenant_id, project_id = event.tenant_id, event.project_id
    timestamp = event.timestamp
    seconds, nanos = timestamp.seconds, timestamp.nanos
    if (
        (principal.tenant_id is not None and principal.tenant_id != tenant_id)
        or (principal.project_id is not None and principal.project_id != project_id)
        or not (seconds or nanos or event.HasField("timestamp"))
        or hooks
        or event is item
    ):
        completion = _Completion(event, received, principal, limits, server_name, now_ns, hooks)
        reasons = completion.reasons(parsed_as_answered=event is not item)
        if reasons:
            return _set_aside(item, received, reasons, principal, limits, server_name)
        stored = completion.stored
        # What the server adds is not held against an event at the limit; what a hook adds has none but this.
        checked_bytes = len(stored) if hooks else checked_bytes
        tenant_id, project_id = event.tenant_id, event.project_id
        seconds, nanos = event.timestamp.seconds, event.timestamp.nanos

    event_id, session_id, trace_id = event.event_id, event.session_id, event.trace_id
    span_id, agent_id, event_type = event.span_id, event.agent_id, event.type
    envelope_bytes = envelope_length(stored, trace_id)
    # Most events can be seen to keep all rules without a look at every field. `rest_bytes` is what the envelope holds beside
    # the seven ids (they are counted in characters, so it can only be too large): no other text and no tag in it is longer,
    # there are at most a third as many tags, and no id has more bytes than it has characters plus the rest.
    id_lengths = len(event_id), len(tenant_id), len(project_id), len(session_id), len(trace_id), len(span_id), len(agent_id)
    rest_bytes = envelope_bytes - sum(id_lengths)
    if not (
        event_id
        and tenant_id
        and event_type
        and rest_bytes <= limits.short_texts_bytes
        and max(id_lengths) + rest_bytes <= limits.id_bytes_max
        and checked_bytes <= limits.event_bytes_max
        and TIMESTAMP_SECONDS_MIN <= seconds <= TIMESTAMP_SECONDS_MAX
        and 0 <= nanos <= 999_999_999
        and origin_bytes(server_name, tenant_id, project_id) <= limits.origin_bytes_max
    ):
        reasons = _broken_rules(event, checked_bytes, limits, server_name)
        if reasons:
            return _set_aside(item, received, reasons, principal, limits, server_name)
    return EventRecord(
        tenant_id,
        project_id,
        event_id,
        session_id,
        trace_id,
        span_id,
        agent_id,
        tuple(event.tags[:]),
        event_type,
        event.status,
        event.severity,
        seconds * 1_000_000 + nanos // 1000,
        nanos % 1000,
        stored,
        envelope_bytes,
        received,
    )


@dataclass(slots=True)
class _Completion:
    """What an event needs that does not come complete, or that hooks look at."""

    event: Event
    #: The bytes after enrichment; until then, and for good where nothing is changed, the bytes as received.
    stored: bytes
    principal: Principal
    limits: Limits
    server_name: str
    now_ns: int
    hooks: Sequence[IngestHook]

    def reasons(self, *, parsed_as_answered: bool) -> list[str]:
        """Enrich the event; why it must not be stored as it is then, but for the rules that the caller checks."""
        reasons = self._scope()
        if reasons or self.hooks:
            # All reasons at once, and hooks get only events that keep the rules.
            reasons += _broken_rules(self.event, len(self.stored), self.limits, self.server_name)
        reasons = reasons or validate_by_hooks(self.hooks, self.event)
        if reasons:
            return reasons
        if not self.event.HasField("timestamp"):
            self.event.timestamp.FromNanoseconds(self.now_ns)
        reasons = enrich_by_hooks(self.hooks, self.event)
        if reasons:
            return reasons
        stored = received_bytes(self.event)
        if stored != self.stored:
            self.stored = stored
        # A frame was parsed at the depth of answers; an event from elsewhere was not, nor was what a hook has put in.
        if (self.hooks or not parsed_as_answered) and not readable_in_answers(self.stored):
            return ["event: is nested deeper than an answer can hold, of which protobuf reads 100 levels"]
        return []

    def _scope(self) -> list[str]:
        """Fill in tenant and project from the principal; a reason for each that is not what the principal is bound to."""
        event, principal = self.event, self.principal
        reasons = []
        if principal.tenant_id is not None:
            event.tenant_id = event.tenant_id or principal.tenant_id
            if event.tenant_id != principal.tenant_id:
                reasons.append("tenant_id: is not the tenant that the caller's key is for")
        if principal.project_id is not None:
            event.project_id = event.project_id or principal.project_id
            if event.project_id != principal.project_id:
                reasons.append("project_id: is not the project that the caller's key is for")
        return reasons


def _broken_rules(event: Event, size_bytes: int, limits: Limits, server_name: str) -> list[str]:
    return [str(violation) for violation in violations(event, size_bytes, limits, server_name)]


def _set_aside(
    item: Frame | Event, received: bytes, reasons: Sequence[str], principal: Principal, limits: Limits, server_name: str
) -> QuarantineItem:
    """What the quarantine keeps: the bytes as they came, under the principal's tenant, or else the one that the event names."""
    raw = item.raw if isinstance(item, Frame) else received
    named = item.event if isinstance(item, Frame) and item.event is not None else item
    tenant_id, project_id = named.tenant_id, named.project_id
    if principal.tenant_id is not None and principal.tenant_id != tenant_id:
        # The project of a foreign tenant means nothing in the principal's own.
        project_id = "" if tenant_id else project_id
        tenant_id = principal.tenant_id
    if principal.project_id is not None:
        project_id = principal.project_id
    # Nobody can be named by what could not name a log either.
    if not _names_log(limits, server_name, tenant_id, ""):
        tenant_id = project_id = ""
    elif not _names_log(limits, server_name, tenant_id, project_id):
        project_id = ""
    event_id = named.event_id.encode()[: limits.id_bytes_max].decode(errors="ignore")
    return QuarantineItem(tenant_id, project_id, event_id, raw, tuple(reasons))


def _names_log(limits: Limits, server_name: str, tenant_id: str, project_id: str) -> bool:
    longest = max(len(tenant_id.encode()), len(project_id.encode()))
    return (
        tenant_id != ""
        and longest <= limits.id_bytes_max
        and origin_bytes(server_name, tenant_id, project_id) <= limits.origin_bytes_max
    )
