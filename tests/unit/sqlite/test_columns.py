"""Columns of blocks: form and damage. What they select is a property test."""

from __future__ import annotations

import pytest
import zstandard

from chaukas.server.storage.sqlite.columns import ColumnSlice, SliceBuilder, mask_of

_DECOMPRESSOR = zstandard.ZstdDecompressor()


def _builder() -> SliceBuilder:
    builder = SliceBuilder()
    for number in range(3):
        builder.us.append(number)
        builder.sub.append(999 - number)
        builder.id_key.append((1 << 63) - 1 - number)
        builder.session.append(builder.session_numbers.setdefault(number * 7, len(builder.session_numbers)))
        builder.trace.append(builder.traces.setdefault(f"t{number}", len(builder.traces)))
        builder.span.append(0)
        builder.agent.append(builder.agents.setdefault("ä\x00\u2028", len(builder.agents)))
        builder.tagset.append(builder.tagsets.setdefault(("a", "a", ""), len(builder.tagsets)))
        builder.type.append(-(1 << 31))
        builder.status.append((1 << 31) - 1)
        builder.severity.append(0)
    return builder


#: The stored form of `_builder()`, frozen: blocks that were written once are read by every later version.
_FROZEN = (
    "0103000000de000000000000000000000001000000000000000200000000000000e703e603e503ffffffffffffff7ffeffff"
    "ffffffff7ffdffffffffffff7f00000100020001000200030000000000000001000100010001000100010000000080000000"
    "8000000080ffffff7fffffff7fffffff7f000000000000000000000000180000001300000004000000120000001100000000"
    "0000000000000007000000000000000e000000000000005b22222c227430222c227431222c227432225d5b22225d5b22222c"
    "22c3a45c7530303030e280a8225d5b5b5d2c5b2261222c2261222c22225d5d"
)


def test_the_stored_form_does_not_change():
    """The bytes of a slice are those of format 1: little-endian arrays in a fixed order, then the dictionaries."""
    assert _builder().encode().hex() == _FROZEN
    read = ColumnSlice(bytes.fromhex(_FROZEN), _DECOMPRESSOR)
    assert list(read.ints("id_key")) == _builder().id_key
    assert read.strings("agent") == ["", "ä\x00\u2028"]
    assert read.tagsets() == [[], ["a", "a", ""]]


@pytest.mark.parametrize("compressor", [None, zstandard.ZstdCompressor()])
def test_damage_is_not_read(compressor: zstandard.ZstdCompressor | None):
    """Columns that are cut short or of an unknown format are refused."""
    encoded = _builder().encode(compressor)
    assert ColumnSlice(encoded, _DECOMPRESSOR).events == 3
    with pytest.raises((ValueError, zstandard.ZstdError)):
        ColumnSlice(encoded[:-1], _DECOMPRESSOR)
    with pytest.raises(ValueError, match="unknown column format 2"):
        ColumnSlice(bytes([encoded[0] + 1]) + encoded[1:], _DECOMPRESSOR)


def test_masks_of_odd_numbers():
    """Numbers that have no bit of their own share one, so that a summary never hides them."""
    assert mask_of([]) == 0
    assert mask_of([0]) == 1
    assert mask_of([61]) == 1 << 61
    assert mask_of([62]) == mask_of([63]) == mask_of([-1]) == mask_of([1 << 31]) == 1 << 62
    assert mask_of(range(-5, 70)) == (1 << 63) - 1, "a mask is a positive 64-bit number"
