"""The tree over a log's entries, made again, and compared with the tiles that are kept.

Entries come in blocks of 1,024, which are four tiles of level 0 (C2SP tlog-tiles), so the tree is known at every block by the
complete subtrees over its full tiles. The root at any size follows from the block below it and the at most 1,023 entries behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import apsw

from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS
from chaukas.server.storage.sqlite.verification.findings import Findings
from chaukas.verify.compact_range import CompactRange, fold_right, fold_subtree
from chaukas.verify.encodings import HASH_BYTES
from chaukas.verify.tiles import TILE_WIDTH, hashes_on_level, split_tile, tiles_of_tree

__all__ = ["LogTree", "root_behind"]

_LEVEL_BITS = 36
_TILE_BYTES = TILE_WIDTH * HASH_BYTES

_SQL_TILES = "SELECT place, hashes FROM tiles WHERE place BETWEEN ? AND ?"
_SQL_PLACES = "SELECT place FROM tiles WHERE place BETWEEN ? AND ?"
_SQL_COUNT = "SELECT count(*) FROM tiles WHERE place BETWEEN ? AND ?"


def root_behind(subtrees: Sequence[bytes], leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1: the root of a tree of full tiles, whose complete subtrees are given, and the leaves behind them."""
    tiles = CompactRange()
    full = len(leaves) // TILE_WIDTH * TILE_WIDTH
    if full:
        # Four tiles make a block: fewer than four behind a block never complete a subtree that began before it.
        tiles.extend([fold_subtree(leaves[at : at + TILE_WIDTH]) for at in range(0, full, TILE_WIDTH)])
    rest = CompactRange()
    rest.extend(leaves[full:])
    return fold_right([*subtrees, *tiles.subtrees, *rest.subtrees])


class LogTree:
    """One log's tree as far as whole blocks of its entries were read."""

    def __init__(self, log_no: int, origin: str) -> None:
        self._log_no = log_no
        self._origin = origin
        #: The tree whose leaves are the roots of the full tiles of level 0.
        self._tiles = CompactRange()
        #: Hashes of the last tile of level 1 and above.
        self._levels: list[bytearray] = []
        #: The complete subtrees at each block, by its number.
        self._at_block: list[bytes] = [b""]
        #: SHA-256 of tiles that were not kept yet when they were made, by place; and such tiles above level 0.
        self._waiting: dict[int, bytes] = {}
        self._upper: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """Entries in whole tiles so far."""
        return self._tiles.size * TILE_WIDTH

    def extend(self, database: apsw.Connection, leaves: Sequence[bytes], head_size: int, findings: Findings) -> None:
        """Append the leaf hashes of whole tiles of one block, and compare these tiles with those that are kept."""
        number = self._tiles.size
        start = self._place(0, number)
        kept = dict(fetch(database, _SQL_TILES, (start, start + len(leaves) // TILE_WIDTH - 1)))
        for at in range(0, len(leaves), TILE_WIDTH):
            tile = leaves[at : at + TILE_WIDTH]
            self._compare(0, number, b"".join(tile), kept.get(self._place(0, number)), head_size, findings)
            root = fold_subtree(tile)
            self._tiles.append(root)
            self._lift(database, 1, number, root, head_size, findings)
            number += 1
        if not number % (EVENTS_PER_BLOCK // TILE_WIDTH):
            self._at_block.append(b"".join(self._tiles.subtrees))

    def _lift(self, database: apsw.Connection, level: int, at: int, root: bytes, head_size: int, findings: Findings) -> None:
        """Append a hash to a tile above level 0; `at` is its position in the level."""
        if level > len(self._levels):
            self._levels.append(bytearray())
        tile = self._levels[level - 1]
        tile += root
        if len(tile) < _TILE_BYTES:
            return
        whole, number = bytes(tile), at // TILE_WIDTH
        tile.clear()
        place = self._place(level, number)
        kept = dict(fetch(database, _SQL_TILES, (place, place))).get(place)
        self._compare(level, number, whole, kept, head_size, findings)
        self._lift(database, level + 1, number, fold_subtree(split_tile(whole, TILE_WIDTH)), head_size, findings)

    def _compare(self, level: int, number: int, tile: bytes, kept: bytes | None, head_size: int, findings: Findings) -> None:
        end = (number + 1) << 8 * (level + 1)
        if end > head_size:
            # Not signed yet: the tile stands there when the head over it does.
            place = self._place(level, number)
            self._waiting[place] = sha256(tile).digest()
            if level:
                self._upper[place] = tile
        elif kept != tile:
            self._report(findings, level, number, missing=kept is None)

    def _report(self, findings: Findings, level: int, number: int, *, missing: bool) -> None:
        what = "is missing" if missing else "does not hold the hashes of the entries"
        findings.add("tiles", f"tile {number} of level {level} {what}", self._origin, number << 8 * (level + 1))

    def look_again(self, database: apsw.Connection, head_size: int, findings: Findings) -> None:
        """Compare the tiles that were not kept yet when they were made here, and are below the newest head now."""
        for place, digest in [item for item in self._waiting.items() if self._end(item[0]) <= head_size]:
            for _, kept in fetch(database, _SQL_TILES, (place, place)):
                if sha256(kept).digest() != digest:
                    self._report(findings, *self._name(place), missing=False)
                break
            else:
                self._report(findings, *self._name(place), missing=True)
            del self._waiting[place]
            self._upper.pop(place, None)

    def settle(self, database: apsw.Connection, head_size: int, findings: Findings) -> None:
        """Compare the last tiles of each level, and see that there are no others."""
        names = [path for path in tiles_of_tree(head_size) if path.level or path.width == TILE_WIDTH]
        for path in names:
            if path.level and path.width < TILE_WIDTH:
                place = self._place(path.level, path.number)
                kept = dict(fetch(database, _SQL_TILES, (place, place))).get(place)
                if kept != self._hashes(path.level, path.number)[: path.width * HASH_BYTES]:
                    self._report(findings, path.level, path.number, missing=kept is None)
        first, last = self._log_no << INDEX_BITS, ((self._log_no + 1) << INDEX_BITS) - 1
        ((count,),) = fetch(database, _SQL_COUNT, (first, last))
        if count > len(names):
            expected = {self._place(path.level or 0, path.number) for path in names}
            for (place,) in fetch(database, _SQL_PLACES, (first, last)):
                if place not in expected:
                    level, number = self._name(place)
                    findings.add("tiles", f"tile {number} of level {level} belongs to no tree of the log", self._origin)

    def _hashes(self, level: int, number: int) -> bytes:
        """Those of a tile above level 0 that is the last of its level, or was so when the newest head was signed."""
        whole = self._upper.get(self._place(level, number))
        if whole is not None:
            return whole
        at_end = hashes_on_level(self.size, level) // TILE_WIDTH == number and level <= len(self._levels)
        return bytes(self._levels[level - 1]) if at_end else b""

    def copy(self) -> LogTree:
        """An independent copy, which may be extended by the part of a block."""
        other = LogTree(self._log_no, self._origin)
        other._tiles = CompactRange(self._tiles.size, self._tiles.subtrees)
        other._levels = [bytearray(level) for level in self._levels]
        other._at_block = list(self._at_block)
        other._waiting, other._upper = dict(self._waiting), dict(self._upper)
        return other

    def root(self, size: int, leaves: Callable[[int, int], list[bytes]]) -> bytes:
        """The root at a size that was read; `leaves(start, end)` reads leaf hashes again, at most 1,023 behind the tree's end."""
        block = min(size // EVENTS_PER_BLOCK, len(self._at_block) - 1)
        return root_behind(list(_hashes_of(self._at_block[block])), leaves(block * EVENTS_PER_BLOCK, size))

    def _place(self, level: int, number: int) -> int:
        return self._log_no << INDEX_BITS | level << _LEVEL_BITS | number

    @staticmethod
    def _name(place: int) -> tuple[int, int]:
        return place >> _LEVEL_BITS & 0xF, place & (1 << _LEVEL_BITS) - 1

    def _end(self, place: int) -> int:
        """The size of the tree that has a tile whole."""
        level, number = self._name(place)
        return (number + 1) << 8 * (level + 1)

    def as_json(self) -> dict[str, Any]:
        """For the position of a verification that goes on later."""
        return {
            "size": self._tiles.size,
            "levels": [level.hex() for level in self._levels],
            "at_block": [subtrees.hex() for subtrees in self._at_block],
            "waiting": _hex(self._waiting),
            "upper": _hex(self._upper),
        }

    @classmethod
    def from_json(cls, log_no: int, origin: str, value: dict[str, Any]) -> LogTree:
        """What `as_json` wrote."""
        tree = cls(log_no, origin)
        tree._at_block = [bytes.fromhex(each) for each in value["at_block"]]
        tree._tiles = CompactRange(value["size"], list(_hashes_of(tree._at_block[-1])))
        tree._levels = [bytearray.fromhex(each) for each in value["levels"]]
        tree._waiting = {int(place): bytes.fromhex(each) for place, each in value["waiting"].items()}
        tree._upper = {int(place): bytes.fromhex(each) for place, each in value["upper"].items()}
        return tree


def _hashes_of(packed: bytes) -> Iterator[bytes]:
    return (packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES))


def _hex(tiles: dict[int, bytes]) -> dict[str, str]:
    return {str(place): tile.hex() for place, tile in tiles.items()}
