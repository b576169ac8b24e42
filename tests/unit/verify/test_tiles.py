"""Paths of tiles, and bundles of entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.verify.errors import VerificationError
from chaukas.verify.tiles import TilePath, decode_bundle, encode_bundle, parse_tile_path, split_tile
from tests.strategies import unhurried


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TilePath(0, 1234067), "tile/0/x001/x234/067"),
        (TilePath(0, 0), "tile/0/000"),
        (TilePath(1, 999, 255), "tile/1/999.p/255"),
        (TilePath(63, 1000, 1), "tile/63/x001/000.p/1"),
        (TilePath(None, 5), "tile/entries/005"),
        (TilePath(None, 1000000, 17), "tile/entries/x001/x000/000.p/17"),
    ],
)
def test_paths_of_the_document(tile: TilePath, path: str):
    """Tiles stand where C2SP tlog-tiles says, and a path names one tile."""
    assert str(tile) == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/001", "tile/0/001/002",
        "tile/0/x001",
        "tile/64/000", "tile/00/000", "tile/-1/000", "tile/01/000", "tile/entries/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01",
        "tile/0/000.p/", "tile/0/000/", "/tile/0/000", "tile/0/000\n", "tile/0/\u0661\u0661\u0661", "tile/data/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ],
)  # fmt: skip
def test_other_paths_are_no_tiles(path: str):
    """What is not the canonical path of a tile is not served."""
    with pytest.raises(VerificationError):
        parse_tile_path(path)


@unhurried
@given(st.integers(0, 63) | st.none(), st.integers(0, (1 << 63) - 1), st.integers(1, 256))
def test_paths_are_read_back(level: int | None, number: int, width: int):
    """Every tile has a path, and its path leads back to it."""
    tile = TilePath(level, number, width)
    assert parse_tile_path(str(tile)) == tile


@unhurried
@given(st.text(alphabet="tile/0123x.pentris", max_size=40))
def test_any_path_is_read_or_refused(path: str):
    """Nothing but the canonical path of a tile is read as one."""
    try:
        assert str(parse_tile_path(path)) == path
    except VerificationError:
        return


@unhurried
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_bundles_are_read_back(entries: list[bytes]):
    """A bundle holds its entries, all of them and nothing else."""
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    for wrong in (data + b"\0", data[:-1], b"\xff" + data):
        with pytest.raises(VerificationError):
            decode_bundle(wrong, len(entries))
    with pytest.raises(VerificationError):
        decode_bundle(data, len(entries) + 1)


def test_limits():
    """Entries beyond 16 bits of length, tiles of another length, and tiles that cannot be are refused."""
    assert encode_bundle([b"x" * 65535])[:2] == b"\xff\xff"
    for call in (
        lambda: encode_bundle([b"x" * 65536]),
        lambda: split_tile(bytes(33), 1),
        lambda: TilePath(64, 0),
        lambda: TilePath(0, -1),
        lambda: TilePath(0, 0, 0),
        lambda: TilePath(0, 0, 257),
    ):
        with pytest.raises(VerificationError):
            call()
    assert split_tile(bytes(range(64)), 2) == [bytes(range(32)), bytes(range(32, 64))]
