"""Tiles and entry bundles (C2SP tlog-tiles): their paths and their bytes."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaukas.verify.encodings import HASH_BYTES, SIZE_MAX
from chaukas.verify.errors import VerificationError

__all__ = [
    "ENTRY_BYTES_MAX",
    "TILE_HEIGHT",
    "TILE_LEVEL_MAX",
    "TILE_WIDTH",
    "TilePath",
    "decode_bundle",
    "encode_bundle",
    "hashes_on_level",
    "number_path",
    "parse_tile_path",
    "split_tile",
    "tile_width",
    "tiles_of_tree",
]

#: Hashes of a full tile, and the levels of the tree that a tile spans.
TILE_WIDTH = 256
TILE_HEIGHT = 8
TILE_LEVEL_MAX = 63
#: An entry of a bundle has a length prefix of 16 bits.
ENTRY_BYTES_MAX = 0xFFFF

_NUMBER = r"(?P<number>(?:x[0-9]{3}/)*[0-9]{3})"
_PATH = re.compile(rf"tile/(?P<level>entries|0|[1-9][0-9]?)/{_NUMBER}(?:\.p/(?P<width>[1-9][0-9]{{0,2}}))?", re.ASCII)
_LENGTH = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class TilePath:
    """A tile: `level` from 0 to 63, or None for the entry bundle; its `number` in the level; `width` from 1 to 256."""

    level: int | None
    number: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= TILE_LEVEL_MAX:
            raise VerificationError(f"tile level {self.level} is not between 0 and {TILE_LEVEL_MAX}")
        if not 0 <= self.number <= SIZE_MAX or not 1 <= self.width <= TILE_WIDTH:
            raise VerificationError(f"no tile has number {self.number} and width {self.width}")

    def __str__(self) -> str:
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number_path(self.number)}{partial}"


def number_path(number: int) -> str:
    """A tile's number in groups of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03}")
    return "/".join(reversed(groups))


def parse_tile_path(path: str) -> TilePath:
    """Read a path below a log's prefix: `tile/0/x001/x234/067.p/5`, `tile/entries/000`. Raises `VerificationError`."""
    match = _PATH.fullmatch(path) if len(path) <= 100 else None
    if match is None:
        raise VerificationError("not the path of a tile")
    digits = match["number"].replace("x", "").replace("/", "")
    tile = TilePath(None if match["level"] == "entries" else int(match["level"]), int(digits), int(match["width"] or TILE_WIDTH))
    # One tile has one path: `x000/001`, and a width of 256 or more after `.p/`, are not.
    if str(tile) != path:
        raise VerificationError("not the canonical path of a tile")
    return tile


def hashes_on_level(size: int, level: int) -> int:
    """How many hashes the tiles of a level hold together in a tree of `size` leaves: floor(size / 256^level)."""
    return size >> TILE_HEIGHT * level


def tile_width(size: int, level: int, number: int) -> int:
    """The width of one tile in a tree of `size` leaves: 256 if it is full, 0 if the tree has no such tile."""
    return max(0, min(TILE_WIDTH, hashes_on_level(size, level) - number * TILE_WIDTH))


def tiles_of_tree(size: int, old_size: int = 0) -> Iterator[TilePath]:
    """The tiles of a tree of `size` leaves, level by level, left to right, the partial one of a level last.

    With `old_size`, only those that a tree of that size did not have in this width: what must be written when the tree grows.
    """
    level = 0
    while count := hashes_on_level(size, level):
        first = hashes_on_level(old_size, level) // TILE_WIDTH
        for number in range(first, (count + TILE_WIDTH - 1) // TILE_WIDTH):
            width = tile_width(size, level, number)
            if width != tile_width(old_size, level, number):
                yield TilePath(level, number, width)
        level += 1


def split_tile(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile of this width. Raises `VerificationError` if the length is another."""
    if len(data) != width * HASH_BYTES:
        raise VerificationError(f"a tile of width {width} has {width * HASH_BYTES} bytes, not {len(data)}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry after its length as a big-endian 16-bit number. An entry has at most 65,535 bytes."""
    if any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
        raise VerificationError(f"an entry has more than {ENTRY_BYTES_MAX} bytes and fits no bundle")
    return b"".join([_LENGTH.pack(len(entry)) + entry for entry in entries])


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle. Raises `VerificationError` if it holds fewer or more."""
    entries: list[bytes] = []
    at = 0
    for _ in range(width):
        if at + 2 > len(data):
            raise VerificationError(f"the entry bundle ends after {len(entries)} of {width} entries")
        start = at + 2
        at = start + (data[at] << 8 | data[at + 1])
        entries.append(data[start:at])
    if at != len(data):
        raise VerificationError(f"the entry bundle does not end with its entry {width}")
    return entries
