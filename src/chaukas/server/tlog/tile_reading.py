"""Tiles for the pure functions of this room, from a store.

A plan names the tiles that it needs, the snapshot of the store that the rest of the proof comes from gives them, and what was
hashed of them is remembered: a tile of a given width never changes. The partial tile of level 0 is kept nowhere: its hashes are
made from the entries.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TypeVar

from chaukas.server.errors import StorageError
from chaukas.server.storage.log_contract import LogReader, LogSnapshot, TileName
from chaukas.server.tlog.proving import HashPlan, TileNodes
from chaukas.server.tlog.tiling import ReadTile
from chaukas.verify.encodings import HASH_BYTES
from chaukas.verify.tiles import TILE_WIDTH, TilePath

__all__ = ["TileCache", "leaf_hashes", "read_tile", "with_tiles"]

#: Tiles that are remembered with their inner nodes, at most 16 KiB each.
_TILES_MAX = 512

_T = TypeVar("_T")


class TileCache:
    """The tiles of all logs that proofs asked for lately. Snapshots are read in threads, so threads share it."""

    def __init__(self, tiles_max: int = _TILES_MAX) -> None:
        self._tiles_max = tiles_max
        #: By log, level, number and width.
        self._tiles: OrderedDict[tuple[int, int, int, int], TileNodes] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._tiles)

    def hashes(self, snapshot: LogSnapshot, log_id: int, *plans: HashPlan) -> list[list[bytes]]:
        """The hashes of several plans for one log, from at most one question for tiles.

        A tile that several of them need is read and hashed once, in the width of the largest tree. Raises `StorageError` when a
        tile is missing or the log is not that large.
        """
        widths: dict[TileName, int] = {}
        for plan in plans:
            for tile in plan.tiles():
                name = tile.level or 0, tile.number
                widths[name] = max(tile.width, widths.get(name, 0))
        nodes = self._found(log_id, widths)
        missing = [TilePath(*name, width) for name, width in widths.items() if name not in nodes]
        read = {
            (tile.level or 0, tile.number): TileNodes(hashes, tile.width)
            for tile, hashes in zip(missing, _read_tiles(snapshot, log_id, missing), strict=True)
        }
        self._remember(log_id, widths, read)
        nodes |= read
        return [plan.hashes(lambda level, number: nodes[level, number]) for plan in plans]

    def forget(self, log_id: int) -> None:
        """Read the tiles of a log again: what they led to was wrong, and somebody may have mended the store meanwhile."""
        with self._lock:
            for key in [key for key in self._tiles if key[0] == log_id]:
                del self._tiles[key]

    def _found(self, log_id: int, widths: Mapping[TileName, int]) -> dict[TileName, TileNodes]:
        """Those of the tiles that are remembered."""
        found: dict[TileName, TileNodes] = {}
        with self._lock:
            for name, width in widths.items():
                key = (log_id, *name, width)
                if key in self._tiles:
                    self._tiles.move_to_end(key)
                    found[name] = self._tiles[key]
        return found

    def _remember(self, log_id: int, widths: Mapping[TileName, int], tiles: Mapping[TileName, TileNodes]) -> None:
        with self._lock:
            for name, nodes in tiles.items():
                self._tiles[log_id, *name, widths[name]] = nodes
            while len(self._tiles) > self._tiles_max:
                self._tiles.popitem(last=False)


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
    kept = dict(zip(widths, await store.read(lambda snapshot: _read_tiles(snapshot, log_id, tiles)), strict=True))
    return work(lambda level, number, width: kept[level, number][: width * HASH_BYTES])


async def read_tile(store: LogReader, log_id: int, level: int, number: int, width: int) -> bytes:
    """The hashes of one tile. Raises `StorageError` when the log is not that large."""
    (hashes,) = await store.read(lambda snapshot: _read_tiles(snapshot, log_id, [TilePath(level, number, width)]))
    return hashes


def leaf_hashes(entries: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1: SHA-256(0x00 ‖ entry) of each."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def _read_tiles(snapshot: LogSnapshot, log_id: int, tiles: list[TilePath]) -> list[bytes]:
    """The hashes of each tile, in order, in its width exactly."""
    if not tiles:
        return []
    kept = snapshot.tiles(log_id, [(tile.level or 0, tile.number) for tile in tiles])
    return [
        hashes[: tile.width * HASH_BYTES]
        if len(hashes) >= tile.width * HASH_BYTES
        else _made_tile(snapshot, log_id, (tile.level or 0, tile.number), tile.width)
        for tile, hashes in zip(tiles, kept, strict=True)
    ]


def _made_tile(snapshot: LogSnapshot, log_id: int, name: TileName, width: int) -> bytes:
    level, number = name
    if level:
        raise StorageError(f"the tree of a log is damaged: tile {number} of level {level} is missing")
    start = number * TILE_WIDTH
    entries = snapshot.entries(log_id, start, start + width)
    if len(entries) != width:
        raise StorageError(f"the log ends before entry {start + width}")
    return b"".join(leaf_hashes(entries))
