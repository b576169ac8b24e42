"""Columns and summaries of the SQLite driver against reading row by row."""

from __future__ import annotations

from array import array

import apsw
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.storage.contract import EventFilter
from chaukas.server.storage.sqlite import blocks
from chaukas.server.storage.sqlite.blocks import BLOCK_BITS, BlockReader, write_slice
from chaukas.server.storage.sqlite.columns import ColumnSlice, SliceBuilder, mask_of
from chaukas.server.storage.sqlite.reader import _SQL_BLOCKS_OF_LOG, _SQL_BLOCKS_POSTED, _time_bounds
from tests.property.sqlite_rows import Row, filters, matches, rows, slice_of
from tests.strategies import unhurried
from tests.unit.sqlite.record import empty_record

_COMPRESSOR = zstandard.ZstdCompressor()
_DECOMPRESSOR = zstandard.ZstdDecompressor()
_sessions = st.none() | st.integers(0, 5)
_EVENTS_PER_BLOCK = 8


def _rows_of(columns: ColumnSlice) -> list[Row]:
    sessions, tagsets = columns.session_numbers(), columns.tagsets()
    strings = {name: columns.strings(name) for name in ("trace", "span", "agent")}
    ints = {
        name: columns.ints(name)
        for name in ("us", "sub", "id_key", "session", "trace", "span", "agent", "tagset", "type", "status", "severity")
    }
    return [
        Row(
            ints["us"][at],
            ints["sub"][at],
            ints["id_key"][at],
            sessions[ints["session"][at]],
            strings["trace"][ints["trace"][at]],
            strings["span"][ints["span"][at]],
            strings["agent"][ints["agent"][at]],
            tuple(tagsets[ints["tagset"][at]]),
            ints["type"][at],
            ints["status"][at],
            ints["severity"][at],
        )
        for at in range(columns.events)
    ]


@unhurried
@given(chosen=st.lists(rows, max_size=20), compressor=st.sampled_from([None, _COMPRESSOR]))
def test_columns_are_read_as_written(chosen: list[Row], compressor: zstandard.ZstdCompressor | None):
    """Every value of every column comes back, compressed or not."""
    columns = ColumnSlice(slice_of(chosen).encode(compressor), _DECOMPRESSOR)
    assert _rows_of(columns) == chosen


@unhurried
@given(parts=st.lists(st.lists(rows, max_size=8), max_size=5))
def test_merged_slices_hold_the_same_rows(parts: list[list[Row]]):
    """Sealing a block, which joins slices and numbers their strings anew, changes no row."""
    whole = SliceBuilder()
    for part in parts:
        whole.extend(ColumnSlice(slice_of(part).encode(), _DECOMPRESSOR))
    assert _rows_of(ColumnSlice(whole.encode(_COMPRESSOR), _DECOMPRESSOR)) == [row for part in parts for row in part]


@unhurried
@given(chosen=st.lists(rows, max_size=20), wanted=filters, session_no=_sessions)
def test_selecting_is_reading_every_row(chosen: list[Row], wanted: EventFilter, session_no: int | None):
    """A filter selects exactly the rows that match it, in their order."""
    columns = ColumnSlice(slice_of(chosen).encode(), _DECOMPRESSOR)
    expected = [at for at, row in enumerate(chosen) if matches(row, wanted, session_no)]
    assert list(columns.select(wanted, session_no)) == expected


@unhurried
@given(first=st.frozensets(st.integers(-70, 70)), second=st.frozensets(st.integers(-70, 70)))
def test_masks_never_say_no_wrongly(first: frozenset[int], second: frozenset[int]):
    """Sets that share a number have masks that share a bit."""
    if first & second:
        assert mask_of(first) & mask_of(second)


@unhurried
@given(parts=st.lists(st.lists(rows, min_size=1, max_size=8), min_size=1, max_size=4), wanted=filters)
def test_summaries_never_say_no_wrongly(parts: list[list[Row]], wanted: EventFilter):
    """However a block was filled and sealed, its summary lets every question in that one of its rows answers."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(blocks, "EVENTS_PER_BLOCK", _EVENTS_PER_BLOCK)
        database = empty_record()
        written: dict[int, list[Row]] = {}
        for index, row in enumerate(each for part in parts for each in part):
            written.setdefault(index // _EVENTS_PER_BLOCK, []).append(row)
        index = 0
        for part in parts:
            rest = list(part)
            while rest:
                room = _EVENTS_PER_BLOCK - index % _EVENTS_PER_BLOCK
                write_slice(database, _COMPRESSOR, 9, index, slice_of(rest[:room]))
                index += len(rest[:room])
                rest = rest[room:]
        earliest, latest = _time_bounds(wanted)
        masks = (mask_of(wanted.types), mask_of(wanted.statuses), mask_of(wanted.severities))
        first = 9 << BLOCK_BITS
        scan = (first, first | ((1 << BLOCK_BITS) - 1), latest, earliest, *masks)
        let_in = {place - first for place, _, _ in database.execute(_SQL_BLOCKS_OF_LOG, scan)}
        for block_no, held in written.items():
            slices = BlockReader().columns_of(database, 9, block_no)
            assert [row for columns in slices for row in _rows_of(columns)] == held
            posted = apsw.carray(array("q", [first | block_no]))
            asked = database.execute(_SQL_BLOCKS_POSTED, (posted, latest, earliest, *masks)).fetchall()
            assert bool(asked) == (block_no in let_in), "both ways to ask for a block use the same summary"
            if any(matches(row, wanted, None) for row in held):
                assert block_no in let_in
