"""Tiles for the pure functions of this room, from a store that answers asynchronously.

A plan names the tiles that it needs, the store gives them in one question, and what was hashed of them is remembered: a tile of a
given width never changes. The partial tile of level 0 is kept nowhere: its hashes are made from the entries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

from chaukas.server.errors import StorageError
from chaukas.server.storage.log_contract import LogReader, TileName
from chaukas.server.tlog.proving import HashPlan, TileNodes
from chaukas.server.tlog.tiling import ReadTile
from chaukas.verify.encodings import HASH_BYTES
from chaukas.verify.tiles import TILE_WIDTH, TilePath

__all__ = ["TileCache", "leaf_hashes", "read_tile", "with_tiles"]

#: Tiles that are remembered with their inner nodes, at most 16 KiB each.
_TILES_MAX = 512

_T = TypeVar("_T")


class TileCache:
    """The tiles of all logs that proofs asked for lately. It belongs to one event loop."""

    def __init__(self, tiles_max: int = _TILES_MAX) -> None:
        self._tiles_max = tiles_max
        self._tiles: OrderedDict[tuple[int, TilePath], TileNodes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tiles)

    async def hashes(self, store: LogReader, log_id: int, *plans: HashPlan) -> list[list[bytes]]:
        """The hashes of several plans for one log, from at most one question for tiles.

        Raises `StorageError` when a tile is missing or the log is not that large.
        """
        found: dict[TilePath, TileNodes] = {}
        missing: list[TilePath] = []
        wanted = [plan.tiles() for plan in plans]
        for tile in dict.fromkeys(tile for tiles in wanted for tile in tiles):
            nodes = self._tiles.get((log_id, tile))
            if nodes is None:
                missing.append(tile)
            else:
                self._tiles.move_to_end((log_id, tile))
                found[tile] = nodes
        for tile, hashes in zip(missing, await _read_tiles(store, log_id, missing), strict=True):
            found[tile] = self._tiles[log_id, tile] = TileNodes(hashes, tile.width)
        while len(self._tiles) > self._tiles_max:
            self._tiles.popitem(last=False)
        by_plan = [{(tile.level or 0, tile.number): found[tile] for tile in tiles} for tiles in wanted]
        return [
            plan.hashes(lambda level, number, nodes=nodes: nodes[level, number])  # type: ignore[misc]
            for plan, nodes in zip(plans, by_plan, strict=True)
        ]

    def forget(self, log_id: int) -> None:
        """Read the tiles of a log again: what they led to was wrong, and somebody may have mended the store meanwhile."""
        for key in [key for key in self._tiles if key[0] == log_id]:
            del self._tiles[key]


async def with_tiles(store: LogReader, log_id: int, work: Callable[[ReadTile], _T]) -> _T:
    """Run `work`, whose reading must not depend on what it reads, with the stored tiles of a log.

    It runs twice: over tiles of zeros, which tells their names, then over the tiles that the store gave for them. That is for
    work that hashes little; a proof has a plan. Raises `StorageError` when a tile is missing, and what `work` raises.
    """
    widths: dict[TileName, int] = {}

    def note(level: int, number: int, width: int) -> bytes:
        widths[level, number] = max(width, widths.get((level, number), 0))
        return bytes(width * HASH_BYTES)

    work(note)
    tiles = [TilePath(*name, width) for name, width in widths.items()]
    kept = dict(zip(widths, await _read_tiles(store, log_id, tiles), strict=True))
    return work(lambda level, number, width: kept[level, number][: width * HASH_BYTES])


async def read_tile(store: LogReader, log_id: int, level: int, number: int, width: int) -> bytes:
    """The hashes of one tile. Raises `StorageError` when the log is not that large."""
    (hashes,) = await _read_tiles(store, log_id, [TilePath(level, number, width)])
    return hashes


def leaf_hashes(entries: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1: SHA-256(0x00 ‖ entry) of each."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


async def _read_tiles(store: LogReader, log_id: int, tiles: list[TilePath]) -> list[bytes]:
    """The hashes of each tile, in order, in its width exactly."""
    if not tiles:
        return []
    kept = await store.tiles(log_id, [(tile.level or 0, tile.number) for tile in tiles])
    return [
        hashes[: tile.width * HASH_BYTES]
        if len(hashes) >= tile.width * HASH_BYTES
        else await _made_tile(store, log_id, (tile.level or 0, tile.number), tile.width)
        for tile, hashes in zip(tiles, kept, strict=True)
    ]


async def _made_tile(store: LogReader, log_id: int, name: TileName, width: int) -> bytes:
    level, number = name
    if level:
        raise StorageError(f"the tree of a log is damaged: tile {number} of level {level} is missing")
    start = number * TILE_WIDTH
    entries = await store.entries(log_id, start, start + width)
    if len(entries) != width:
        raise StorageError(f"the log ends before entry {start + width}")
    return b"".join(leaf_hashes(entries))
