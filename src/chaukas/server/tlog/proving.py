"""Inclusion and consistency proofs for any place and size, from tiles (RFC 6962 §2.1.1, §2.1.2; C2SP tlog-tiles).

Which hashes a proof consists of follows from sizes and indexes alone. So each proof has a plan, made of numbers: it names the
tiles that have to be read, at most two a level, and then makes the hashes from them. Tiles are not trusted blindly: whoever hands
a proof out should run `verify_inclusion` or `verify_consistency` over it first, which costs some microseconds and finds a damaged
tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

from chaukas.server.tlog.tiling import ReadTile
from chaukas.verify.compact_range import fold_right
from chaukas.verify.encodings import HASH_BYTES
from chaukas.verify.errors import VerificationError
from chaukas.verify.tiles import TILE_HEIGHT, TILE_WIDTH, TilePath, tile_width

__all__ = [
    "HashPlan",
    "TileHashes",
    "TileNodes",
    "consistency_plan",
    "inclusion_plan",
    "prove_consistency",
    "prove_inclusion",
    "root_of_size",
    "root_plan",
]


class TileHashes(Protocol):
    """One tile, as a proof asks it."""

    def node(self, height: int, at: int) -> bytes:
        """The root of the complete subtree number `at` over 2^height hashes of the tile each, 0 ≤ height < 8."""
        ...


class TileNodes:
    """A tile whose inner nodes are remembered once they are hashed: 32 bytes each, at most 16 KiB in all.

    Threads may share it: what is hashed takes the place of what was known at once, and whoever does so hashes the same.
    """

    __slots__ = ("_levels",)

    def __init__(self, hashes: bytes, width: int) -> None:
        """`hashes` may be those of a wider tile. Raises `VerificationError` if there are less than `width`."""
        if len(hashes) < width * HASH_BYTES:
            raise VerificationError(f"a tile has {len(hashes)} bytes, less than {width} hashes")
        self._levels: tuple[bytes, ...] = (hashes[: width * HASH_BYTES],)

    def node(self, height: int, at: int) -> bytes:
        """See `TileHashes.node`."""
        levels = self._levels
        while len(levels) <= height:
            below = levels[-1]
            # A hash at the end without a sibling has no complete subtree above it.
            whole = range(0, len(below) - HASH_BYTES, 2 * HASH_BYTES)
            levels += (b"".join([sha256(b"\x01" + below[left : left + 2 * HASH_BYTES]).digest() for left in whole]),)
            self._levels = levels
        return levels[height][at * HASH_BYTES : (at + 1) * HASH_BYTES]


class _Subtree(NamedTuple):
    """A complete subtree within one tile: 2^height of its hashes, subtree number `at` of that height."""

    level: int
    number: int
    height: int
    at: int


@dataclass(frozen=True, slots=True)
class HashPlan:
    """How some hashes of a tree come out of its tiles: each is folded from complete subtrees, largest first."""

    size: int
    parts: tuple[tuple[_Subtree, ...], ...]

    def tiles(self) -> list[TilePath]:
        """The tiles that are read, each once, in the width that they have in a tree of this size."""
        names = dict.fromkeys((subtree.level, subtree.number) for part in self.parts for subtree in part)
        return [TilePath(level, number, tile_width(self.size, level, number)) for level, number in names]

    def hashes(self, tile: Callable[[int, int], TileHashes]) -> list[bytes]:
        """The hashes; `tile(level, number)` is one of those that `tiles` names, or that of a later tree."""
        return [fold_right([tile(one.level, one.number).node(one.height, one.at) for one in part]) for part in self.parts]


def inclusion_plan(index: int, size: int) -> HashPlan:
    """For the inclusion proof of the leaf at `index` in the tree of `size` leaves, from its sibling to the root's child.

    Raises `ValueError` if the index lies outside.
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} lies outside a tree of {size} leaves")
    return _plan(size, list(_inclusion_spans(index, 0, size))[::-1])


def consistency_plan(old_size: int, new_size: int) -> HashPlan:
    """For the consistency proof between the trees of `old_size` and `new_size` leaves; empty from 0 and between equal sizes.

    The tiles are those of the tree of `new_size`. Raises `ValueError` if the sizes are not in order.
    """
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a tree of {new_size} leaves does not continue one of {old_size}")
    spans = [] if old_size in (0, new_size) else list(_consistency_spans(old_size, new_size))
    return _plan(new_size, spans[::-1])


def root_plan(size: int) -> HashPlan:
    """For the root of the tree of `size` leaves, the only hash; `size` may be any up to that of the stored tree."""
    return _plan(size, [(0, size)])


def prove_inclusion(index: int, size: int, read_tile: ReadTile) -> list[bytes]:
    """The inclusion proof of the leaf at `index` in the tree of `size` leaves, from the leaf's sibling to the root's child.

    `read_tile(level, number, width)` returns 32 bytes for each of `width` hashes; it may return a wider tile, that of a later
    tree. Raises `ValueError` if the index lies outside, `VerificationError` if a tile is too short.
    """
    return _made(inclusion_plan(index, size), read_tile)


def prove_consistency(old_size: int, new_size: int, read_tile: ReadTile) -> list[bytes]:
    """The consistency proof between the trees of `old_size` and `new_size` leaves; empty from 0 and between equal sizes.

    `read_tile` as for `prove_inclusion`, for the tree of `new_size`. Raises `ValueError` if the sizes are not in order.
    """
    return _made(consistency_plan(old_size, new_size), read_tile)


def root_of_size(size: int, read_tile: ReadTile) -> bytes:
    """The root of the tree of `size` leaves; `size` may be any up to that of the stored tree."""
    return _made(root_plan(size), read_tile)[0]


def _made(plan: HashPlan, read_tile: ReadTile) -> list[bytes]:
    nodes = {
        (tile.level or 0, tile.number): TileNodes(read_tile(tile.level or 0, tile.number, tile.width), tile.width)
        for tile in plan.tiles()
    }
    return plan.hashes(lambda level, number: nodes[level, number])


def _split(start: int, end: int) -> int:
    """Where RFC 6962 §2.1 cuts a range of at least two leaves: after the largest power of two below its length."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _inclusion_spans(index: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges of leaves that an inclusion proof consists of, from the root's child down (RFC 6962 §2.1.1)."""
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            yield middle, end
            end = middle
        else:
            yield start, middle
            start = middle


def _consistency_spans(old_size: int, new_size: int) -> Iterator[tuple[int, int]]:
    """The ranges of leaves that a consistency proof consists of, from the root's child down (RFC 6962 §2.1.2)."""
    start, end = 0, new_size
    while old_size != end:
        middle = _split(start, end)
        if old_size <= middle:
            yield middle, end
            end = middle
        else:
            yield start, middle
            start = middle
    if start:  # The old tree as a whole is known to whoever asks, and left out.
        yield start, end


def _plan(size: int, spans: list[tuple[int, int]]) -> HashPlan:
    return HashPlan(size, tuple(tuple(_subtrees(*span)) for span in spans))


def _subtrees(start: int, end: int) -> Iterator[_Subtree]:
    """The complete subtrees of a range that RFC 6962's cuts lead to, each where it lies in its tile."""
    while start < end:
        height = (end - start).bit_length() - 1
        level, rest = divmod(height, TILE_HEIGHT)
        number, at = divmod(start >> height, TILE_WIDTH >> rest)
        yield _Subtree(level, number, rest, at)
        start += 1 << height
