"""Rows as the columns of a block hold them, filters over them, and the obvious way to tell whether they match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from chaukas.server.storage.contract import EventFilter
from chaukas.server.storage.sqlite.columns import SliceBuilder

__all__ = ["Row", "filters", "matches", "rows", "slice_of"]

_names = st.sampled_from(["", "a", "b", "ä\x00", "🤖"]) | st.text(max_size=4)
_numbers = st.integers(-2, 3) | st.integers(58, 66) | st.sampled_from([-(1 << 31), (1 << 31) - 1])
_microseconds = st.integers(-3, 3) | st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@dataclass(frozen=True, slots=True)
class Row:
    """One event's columns."""

    us: int
    sub: int
    id_key: int
    session_no: int
    trace: str
    span: str
    agent: str
    tags: tuple[str, ...]
    type: int
    status: int
    severity: int

    @property
    def at_ns(self) -> int:
        """The timestamp in nanoseconds."""
        return self.us * 1_000 + self.sub


rows = st.builds(
    Row,
    us=_microseconds,
    sub=st.sampled_from([0, 1, 999]),
    id_key=st.integers(0, (1 << 63) - 1),
    session_no=st.integers(0, 4),
    trace=_names,
    span=_names,
    agent=_names,
    tags=st.lists(_names, max_size=3).map(tuple),
    type=_numbers,
    status=_numbers,
    severity=_numbers,
)
_some_numbers = st.frozensets(_numbers, max_size=2)
_moments = st.none() | st.integers(-4_000, 4_000) | st.integers(-(1 << 70), 1 << 70)
filters = st.builds(
    EventFilter,
    span_id=st.none() | _names,
    trace_id=st.none() | _names,
    agent_id=st.none() | _names,
    types=_some_numbers,
    statuses=_some_numbers,
    severities=_some_numbers,
    tags=st.frozensets(_names, max_size=2),
    start_ns=_moments,
    end_ns=_moments,
)


def matches(row: Row, wanted: EventFilter, session_no: int | None) -> bool:
    """Read the contract of `EventFilter` aloud."""
    return (
        session_no in (None, row.session_no)
        and wanted.span_id in (None, row.span)
        and wanted.trace_id in (None, row.trace)
        and wanted.agent_id in (None, row.agent)
        and (not wanted.types or row.type in wanted.types)
        and (not wanted.statuses or row.status in wanted.statuses)
        and (not wanted.severities or row.severity in wanted.severities)
        and wanted.tags <= set(row.tags)
        and (wanted.start_ns is None or row.at_ns >= wanted.start_ns)
        and (wanted.end_ns is None or row.at_ns < wanted.end_ns)
    )


def slice_of(chosen: Sequence[Row]) -> SliceBuilder:
    """The columns of these rows, as the appender collects them."""
    columns = SliceBuilder()
    for row in chosen:
        columns.us.append(row.us)
        columns.sub.append(row.sub)
        columns.id_key.append(row.id_key)
        columns.type.append(row.type)
        columns.status.append(row.status)
        columns.severity.append(row.severity)
        columns.session.append(columns.session_numbers.setdefault(row.session_no, len(columns.session_numbers)))
        columns.trace.append(columns.traces.setdefault(row.trace, len(columns.traces)))
        columns.span.append(columns.spans.setdefault(row.span, len(columns.spans)))
        columns.agent.append(columns.agents.setdefault(row.agent, len(columns.agents)))
        columns.tagset.append(columns.tagsets.setdefault(row.tags, len(columns.tagsets)))
    return columns
