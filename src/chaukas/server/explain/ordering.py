"""From events in any order to rows in one: the total order that everything else stands on."""

from __future__ import annotations

from collections.abc import Iterable

from chaukas.server.explain.model import Edge, EventRow, Record, StepKind
from chaukas.spec.common.v1 import events_pb2

__all__ = ["record_of"]

_NS_PER_S = 1_000_000_000
_NO_INDEX = 1 << 62

_T = events_pb2.EventType

#: Event type -> kind of step, edge, rank among events of the same instant (openers first, closers last).
_KINDS: dict[int, tuple[StepKind, Edge, int]] = {
    _T.EVENT_TYPE_SESSION_START: (StepKind.SESSION, Edge.START, 0),
    _T.EVENT_TYPE_SESSION_END: (StepKind.SESSION, Edge.END, 9),
    _T.EVENT_TYPE_AGENT_START: (StepKind.AGENT, Edge.START, 2),
    _T.EVENT_TYPE_AGENT_END: (StepKind.AGENT, Edge.END, 7),
    _T.EVENT_TYPE_AGENT_HANDOFF: (StepKind.HANDOFF, Edge.POINT, 6),
    _T.EVENT_TYPE_MODEL_INVOCATION_START: (StepKind.MODEL, Edge.START, 3),
    _T.EVENT_TYPE_MODEL_INVOCATION_END: (StepKind.MODEL, Edge.END, 5),
    _T.EVENT_TYPE_TOOL_CALL_START: (StepKind.TOOL, Edge.START, 3),
    _T.EVENT_TYPE_TOOL_CALL_END: (StepKind.TOOL, Edge.END, 5),
    _T.EVENT_TYPE_MCP_CALL_START: (StepKind.MCP, Edge.START, 4),
    _T.EVENT_TYPE_MCP_CALL_END: (StepKind.MCP, Edge.END, 4),
    _T.EVENT_TYPE_INPUT_RECEIVED: (StepKind.INPUT, Edge.POINT, 1),
    _T.EVENT_TYPE_OUTPUT_EMITTED: (StepKind.OUTPUT, Edge.POINT, 8),
    _T.EVENT_TYPE_ERROR: (StepKind.ERROR, Edge.POINT, 6),
    _T.EVENT_TYPE_RETRY: (StepKind.RETRY, Edge.POINT, 5),
    _T.EVENT_TYPE_POLICY_DECISION: (StepKind.POLICY, Edge.POINT, 2),
    _T.EVENT_TYPE_DATA_ACCESS: (StepKind.DATA_ACCESS, Edge.POINT, 4),
    _T.EVENT_TYPE_STATE_UPDATE: (StepKind.STATE, Edge.POINT, 4),
    _T.EVENT_TYPE_SYSTEM: (StepKind.SYSTEM, Edge.POINT, 4),
}
_UNKNOWN = (StepKind.UNKNOWN, Edge.POINT, 4)


def record_of(events: Iterable[events_pb2.Event]) -> Record:
    """The events in their explained order, each id once.

    The order is that of `QueryEvents` (DESIGN §6) as far as the events tell it: the client's timestamp, then the index in the
    log; events of one instant without an index stand with openers before closers, then by event id. An event without a timestamp
    stands at the time of its receipt. Of several copies with one (tenant, project, event id) the one with the lowest log index
    stays; copies that differ, which no store answers, are settled by their bytes.
    """
    has_received = "server_timestamp" in events_pb2.Event.DESCRIPTOR.fields_by_name
    kept: dict[tuple[str, str, str], tuple[tuple[int, int, int, str, str, str], EventRow]] = {}
    texts: dict[str, str] = {}
    count = 0
    for event in events:
        count += 1
        key, row = _row(event, has_received, texts)
        identity = (row.event_id, event.tenant_id, event.project_id)
        before = kept.get(identity)
        if before is None or _precedes(key, row, before):
            kept[identity] = (key, row)
    ordered = [row for _, row in sorted(kept.values(), key=_sort_key)]
    by_event_id: dict[str, int] = {}
    for position, row in enumerate(ordered):
        row.position = position
        by_event_id.setdefault(row.event_id, position)
    return Record(tuple(ordered), by_event_id, count - len(ordered))


def _sort_key(item: tuple[tuple[int, int, int, str, str, str], EventRow]) -> tuple[int, int, int, str, str, str]:
    return item[0]


def _precedes(
    key: tuple[int, int, int, str, str, str], row: EventRow, before: tuple[tuple[int, int, int, str, str, str], EventRow]
) -> bool:
    """Whether a copy is to be kept instead of the one seen before it."""
    other_key, other = before
    if (key[1], key[0]) != (other_key[1], other_key[0]):
        return (key[1], key[0]) < (other_key[1], other_key[0])
    if row.event == other.event:
        return False
    return row.event.SerializeToString(deterministic=True) < other.event.SerializeToString(deterministic=True)


def _row(
    event: events_pb2.Event, has_received: bool, texts: dict[str, str]
) -> tuple[tuple[int, int, int, str, str, str], EventRow]:
    """An event's fields, each read once: attribute access of protobuf messages is what reading a session costs.

    `texts` makes one string of equal ids: a message gives a new one each time, and a session repeats a few of them endlessly.
    """
    shared = texts.setdefault
    type_ = event.type
    kind, edge, rank = _KINDS.get(type_, _UNKNOWN)
    received_ns: int | None = None
    if has_received and event.HasField("server_timestamp"):
        stamp = event.server_timestamp
        received_ns = stamp.seconds * _NS_PER_S + stamp.nanos
    if event.HasField("timestamp"):
        stamp = event.timestamp
        time_ns = stamp.seconds * _NS_PER_S + stamp.nanos
    else:
        time_ns = received_ns or 0
    log_index = _log_index(event.worm_proof_id)
    event_id = event.event_id
    row = EventRow(
        position=-1,
        event=event,
        event_id=event_id,
        type=type_,
        kind=kind,
        edge=edge,
        status=event.status,
        time_ns=time_ns,
        session_id=shared(value := event.session_id, value),
        trace_id=shared(value := event.trace_id, value),
        span_id=shared(value := event.span_id, value),
        parent_span_id=shared(value := event.parent_span_id, value),
        agent_id=shared(value := event.agent_id, value),
        agent_name=shared(value := event.agent_name, value),
        invocation_id=event.invocation_id,
        response_id=event.response_id,
        content=event.WhichOneof("content") or "",
        log_index=log_index,
        received_ns=received_ns,
    )
    index = _NO_INDEX if log_index is None else log_index
    return (time_ns, index, rank, event_id, event.tenant_id, event.project_id), row


def _log_index(worm_proof_id: str) -> int | None:
    """The index of `<origin>#<index>`, None for anything else (a client of another server may have sent its own form)."""
    _, found, index = worm_proof_id.rpartition("#")
    return int(index) if found and index.isascii() and index.isdigit() and len(index) <= 18 else None
