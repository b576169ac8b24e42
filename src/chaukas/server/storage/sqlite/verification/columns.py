"""Blocks, their columns and the slices of an open block, made again from the events and compared byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import apsw
import zstandard

from chaukas.server.storage.sqlite.blocks import BLOCK_BITS
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK, SliceBuilder, mask_of
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS
from chaukas.server.storage.sqlite.verification.entries import Block, strictly_decompressed
from chaukas.server.storage.sqlite.verification.findings import Findings

__all__ = ["check_block", "check_block_rows"]

_Value = TypeVar("_Value")
#: Format byte, number of events, decoded size; see `columns.SliceBuilder.encode`.
_HEADER_BYTES = 9
_COMPRESSED = 0x80

_SQL_SUMMARY = "SELECT events, min_us, max_us, types, statuses, severities FROM blocks WHERE place = ?"
_SQL_SEALED = "SELECT columns FROM block_columns WHERE place = ?"
_SQL_TAIL = "SELECT place, columns FROM tail WHERE place >= ? AND place < ? ORDER BY place"
_SQL_COUNTS = (
    "SELECT (SELECT count(*) FROM blocks WHERE place >= ?1 AND place < ?2),"
    " (SELECT count(*) FROM block_columns WHERE place >= ?1 AND place < ?2),"
    " (SELECT count(*) FROM tail WHERE place >= ?3 AND place < ?4)"
)


def check_block(
    database: apsw.Connection, log_no: int, origin: str, block: Block, session_numbers: list[int], findings: Findings
) -> None:
    """Compare summary and columns of one block; `session_numbers` has one number per entry, 0 for none."""
    place = log_no << BLOCK_BITS | block.first_index // EVENTS_PER_BLOCK
    whole = _built(block, session_numbers, 0, len(block.leaves))
    summary = (
        len(whole.us), min(whole.us), max(whole.us),
        mask_of(set(whole.type)), mask_of(set(whole.status)), mask_of(set(whole.severity)),
    )  # fmt: skip
    if fetch(database, _SQL_SUMMARY, (place,)) != [summary]:
        findings.add("blocks", "the summary is not that of the entries", origin, block.first_index)
    sealed = [columns for (columns,) in fetch(database, _SQL_SEALED, (place,))]
    start = log_no << INDEX_BITS | block.first_index
    slices = fetch(database, _SQL_TAIL, (start, start + EVENTS_PER_BLOCK))
    if len(block.leaves) == EVENTS_PER_BLOCK:
        if not sealed or not _same(sealed[0], whole.encode()):
            what = "do not say what the events say" if sealed else "of a full block are missing"
            findings.add("block_columns", f"the columns {what}", origin, block.first_index)
        if slices:
            findings.add("tail", "a full block has slices", origin, block.first_index)
        return
    if sealed:
        findings.add("block_columns", "a block that is not full is sealed", origin, block.first_index)
    _check_slices(block, session_numbers, [(each - start, blob) for each, blob in slices], origin, findings)


def _check_slices(
    block: Block, session_numbers: list[int], slices: list[tuple[int, bytes]], origin: str, findings: Findings
) -> None:
    """The slices of an open block follow each other without a gap, one for each commit."""
    end, follow = 0, True
    for start, blob in slices:
        events = int.from_bytes(blob[1:5], "little")
        follow = start == end and 0 < events <= len(block.leaves) - start
        if not follow:
            break
        if not _same(blob, _built(block, session_numbers, start, start + events).encode()):
            findings.add("tail", "the columns do not say what the events say", origin, block.first_index + start)
        end += events
    if not follow or end != len(block.leaves):
        findings.add(
            "tail", "the columns of an open block are missing or do not follow each other", origin, block.first_index + end
        )


def check_block_rows(database: apsw.Connection, log_no: int, origin: str, size: int, findings: Findings) -> None:
    """That the log has no rows of blocks beyond its end."""
    first, behind = log_no << BLOCK_BITS, (log_no + 1) << BLOCK_BITS
    open_at = log_no << INDEX_BITS | size // EVENTS_PER_BLOCK * EVENTS_PER_BLOCK
    ((blocks, sealed, before),) = fetch(database, _SQL_COUNTS, (first, behind, log_no << INDEX_BITS, open_at))
    ((_, _, after),) = fetch(database, _SQL_COUNTS, (first, first, open_at + EVENTS_PER_BLOCK, (log_no + 1) << INDEX_BITS))
    full = size // EVENTS_PER_BLOCK
    for table, extra in (
        ("blocks", blocks - full - (size % EVENTS_PER_BLOCK > 0)), ("block_columns", sealed - full), ("tail", before + after),
    ):  # fmt: skip
        if extra > 0:
            findings.add(table, f"{extra} rows belong to no block of the log", origin, count=extra)


def _built(block: Block, session_numbers: list[int], start: int, end: int) -> SliceBuilder:
    columns = SliceBuilder()
    if block.all_events:
        _, _, traces, spans, agents, tags, types, statuses, severities, us, sub = zip(*block.events[start:end], strict=True)
        columns.us, columns.sub = list(us), list(sub)
        columns.type, columns.status, columns.severity = list(types), list(statuses), list(severities)
        columns.session = _numbered(session_numbers[start:end], columns.session_numbers)
        columns.trace = _numbered(traces, columns.traces)
        columns.span = _numbered(spans, columns.spans)
        columns.agent = _numbered(agents, columns.agents)
        columns.tagset = _numbered(tags, columns.tagsets)
        columns.id_key = block.id_keys[start:end]
        return columns
    for at in range(start, end):
        event = block.events[at]
        if event is None:
            columns.add_gap(block.received_at_ns[at] // 1_000, 1)
            continue
        columns.us.append(event.us)
        columns.sub.append(event.sub)
        columns.id_key.append(block.id_keys[at])
        columns.type.append(event.type)
        columns.status.append(event.status)
        columns.severity.append(event.severity)
        number, numbers = session_numbers[at], columns.session_numbers
        columns.session.append(numbers.setdefault(number, len(numbers)))
        columns.trace.append(columns.traces.setdefault(event.trace_id, len(columns.traces)))
        columns.span.append(columns.spans.setdefault(event.span_id, len(columns.spans)))
        columns.agent.append(columns.agents.setdefault(event.agent_id, len(columns.agents)))
        columns.tagset.append(columns.tagsets.setdefault(event.tags, len(columns.tagsets)))
    return columns


def _numbered(values: Iterable[_Value], known: dict[_Value, int]) -> list[int]:
    return [known.setdefault(value, len(known)) for value in values]


def _same(kept: bytes, made: bytes) -> bool:
    """Whether kept columns are these, compressed or not."""
    if not kept or not kept[0] & _COMPRESSED:
        return kept == made
    if kept[0] & ~_COMPRESSED != made[0] or kept[1:_HEADER_BYTES] != made[1:_HEADER_BYTES]:
        return False
    try:
        return strictly_decompressed(zstandard.ZstdDecompressor(), kept[_HEADER_BYTES:]) == made[_HEADER_BYTES:]
    except zstandard.ZstdError:
        return False
