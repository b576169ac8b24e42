"""How the tiles of a tree grow (C2SP tlog-tiles). Tiles are the tree; everything else of it can be derived from them.

Which tiles a tree of a given size has: `chaukas.verify.tiles.tiles_of_tree(size, old_size)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chaukas.verify.compact_range import fold_right, fold_subtree
from chaukas.verify.encodings import HASH_BYTES
from chaukas.verify.errors import VerificationError
from chaukas.verify.tiles import TILE_HEIGHT, TILE_WIDTH, TilePath, hashes_on_level, split_tile

__all__ = ["ReadTile", "TileEdge", "read_edge", "tile_root"]

#: (level, number, width) to 32 bytes for each of `width` hashes; of a wider tile the first hashes count.
ReadTile = Callable[[int, int, int], bytes]


def tile_root(tile: bytes) -> bytes:
    """The hash that a full tile of 8,192 bytes has in the level above it. Raises `VerificationError` if it is not full."""
    return fold_subtree(split_tile(tile, TILE_WIDTH))


class TileEdge:
    """The partial tiles at the right edge of a tree, one per level: all that appending needs to know, at most 8 KiB a level.

    Call shape: `edge = read_edge(size, read_tile)` once; then in the transaction that appends entries
    `full = edge.extend(leaf_hashes)`, write the full tiles, and write or keep `edge.partial_tiles()`. Like the frontier it knows
    the root, so one of the two is enough. If the transaction fails, forget the edge and read it again.
    """

    __slots__ = ("_levels", "size")

    def __init__(self, size: int = 0, partial_tiles: Sequence[bytes] = ()) -> None:
        """`partial_tiles[level]` are the hashes of the level's partial tile, empty where the level ends with a full one."""
        self.size = size
        self._levels = [bytearray(tile) for tile in partial_tiles]
        while hashes_on_level(size, len(self._levels)):
            self._levels.append(bytearray())
        for level, tile in enumerate(self._levels):
            if len(tile) != hashes_on_level(size, level) % TILE_WIDTH * HASH_BYTES:
                raise VerificationError(f"the partial tile of level {level} does not belong to a tree of {size} leaves")

    def extend(self, leaf_hashes: Sequence[bytes]) -> list[tuple[TilePath, bytes]]:
        """Append leaves; returns the tiles that became full by it, lower levels before the higher ones that they complete."""
        full: list[tuple[TilePath, bytes]] = []
        self._append(0, leaf_hashes, full)
        self.size += len(leaf_hashes)
        return full

    def _append(self, level: int, hashes: Sequence[bytes], full: list[tuple[TilePath, bytes]]) -> None:
        if level == len(self._levels):
            self._levels.append(bytearray())
        tile = self._levels[level]
        at, roots = 0, []
        number = hashes_on_level(self.size, level) // TILE_WIDTH
        while at < len(hashes):
            room = TILE_WIDTH - len(tile) // HASH_BYTES
            tile += b"".join(hashes[at : at + room])
            at += room
            if len(tile) == TILE_WIDTH * HASH_BYTES:
                done = bytes(tile)
                full.append((TilePath(level, number), done))
                roots.append(tile_root(done))
                number += 1
                tile.clear()
        if roots:
            self._append(level + 1, roots, full)

    def partial_tiles(self) -> list[tuple[TilePath, bytes]]:
        """The partial tiles of the tree as it is now, those of width 0 left out: they do not exist."""
        return [
            (TilePath(level, hashes_on_level(self.size, level) // TILE_WIDTH, len(tile) // HASH_BYTES), bytes(tile))
            for level, tile in enumerate(self._levels)
            if tile
        ]

    def root(self) -> bytes:
        """RFC 6962 §2.1: the root of the tree as it is now."""
        subtrees: list[bytes] = []
        for tile in reversed(self._levels):
            subtrees += _complete_subtrees(split_tile(bytes(tile), len(tile) // HASH_BYTES))
        return fold_right(subtrees)


def _complete_subtrees(hashes: Sequence[bytes]) -> Iterator[bytes]:
    """The roots of the complete subtrees over up to 255 hashes of one level, largest first."""
    at = 0
    for height in reversed(range(TILE_HEIGHT)):
        if len(hashes) >> height & 1:
            yield fold_subtree(hashes[at : at + (1 << height)])
            at += 1 << height


def read_edge(size: int, read_tile: ReadTile) -> TileEdge:
    """The edge of a stored tree of `size` leaves. Raises `VerificationError` if a tile is too short."""
    partial: list[bytes] = []
    level = 0
    while count := hashes_on_level(size, level):
        width = count % TILE_WIDTH
        partial.append(read_tile(level, count // TILE_WIDTH, width)[: width * HASH_BYTES] if width else b"")
        level += 1
    return TileEdge(size, partial)
