"""One event of the memory store: what it matches, where it stands, and how it is answered."""

from __future__ import annotations

from chaukas.server.storage.contract import ArrivalPoint, EventFilter, EventRecord, Position, StoredEvent
from chaukas.server.testing.memory_journal import KeptEvent

__all__ = ["answer_of", "arrival_of", "passes", "position_of", "session_of"]


def passes(record: EventRecord, wanted: EventFilter) -> bool:
    """Whether a record passes a filter, condition by condition."""
    at_ns = record.timestamp_us * 1_000 + record.timestamp_sub_ns
    return (
        wanted.tenant_id in (None, record.tenant_id)
        and wanted.project_id in (None, record.project_id)
        and wanted.session_id in (None, record.session_id)
        and wanted.agent_id in (None, record.agent_id)
        and wanted.span_id in (None, record.span_id)
        and wanted.trace_id in (None, record.trace_id)
        and (not wanted.types or record.type in wanted.types)
        and (not wanted.statuses or record.status in wanted.statuses)
        and (not wanted.severities or record.severity in wanted.severities)
        and wanted.tags <= set(record.tags)
        and (wanted.start_ns is None or wanted.start_ns <= at_ns)
        and (wanted.end_ns is None or at_ns < wanted.end_ns)
        and (wanted.text is None or wanted.text.matches(record.stored))
    )


def position_of(event: KeptEvent) -> Position:
    """Its place in the order of answers."""
    return Position(event.record.timestamp_us, event.record.timestamp_sub_ns, event.log_id, event.index)


def arrival_of(event: KeptEvent) -> ArrivalPoint:
    """The point right behind the event."""
    return ArrivalPoint(event.received_at_ns, event.log_id, event.index + 1)


def session_of(event: KeptEvent) -> tuple[str, str]:
    """Log and id of its session."""
    return event.origin, event.record.session_id


def answer_of(event: KeptEvent) -> StoredEvent:
    """The event as a question is answered with it."""
    return StoredEvent(
        position=position_of(event),
        origin=event.origin,
        stored=event.record.stored,
        received_at_ns=event.received_at_ns,
        leaf_hash_before=event.leaf_hash_before,
    )
