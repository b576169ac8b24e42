"""Proofs name the tiles that they need, each once, and the cache between them and the store keeps no wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaukas.server.errors import StorageError
from chaukas.server.storage.log_contract import LogReader, LogSnapshot, TileName
from chaukas.server.tlog.proving import HashPlan, TileNodes, consistency_plan, inclusion_plan, root_plan
from chaukas.server.tlog.tile_reading import TileCache, read_tile, with_tiles
from chaukas.server.tlog.tiling import TileEdge, read_edge
from chaukas.verify.errors import VerificationError
from chaukas.verify.tiles import tile_width
from tests.naive_tree import NaiveTree

_SIZE = 66_100
_ENTRIES = [number.to_bytes(4, "big") for number in range(_SIZE)]
_NAIVE = NaiveTree(_ENTRIES)
_T = TypeVar("_T")


class _Store:
    """As a driver keeps it: full tiles of level 0, the widest of the levels above. Counts what it is asked."""

    def __init__(self, size: int = _SIZE) -> None:
        self.size = size
        edge = TileEdge()
        full = edge.extend([sha256(b"\x00" + entry).digest() for entry in _ENTRIES[:size]])
        kept = [*full, *((path, hashes) for path, hashes in edge.partial_tiles() if path.level)]
        self.kept = {(path.level or 0, path.number): hashes for path, hashes in kept}
        self.questions = 0

    async def read(self, work: Callable[[LogSnapshot], _T]) -> _T:
        return work(_snapshot(self))

    def tiles(self, _log_id: int, names: Sequence[TileName]) -> list[bytes]:
        self.questions += bool(names)
        return [self.kept.get(name, b"") for name in names]

    def entries(self, _log_id: int, start: int, end: int) -> list[bytes]:
        return _ENTRIES[start : min(end, self.size)]


def _reader(store: _Store) -> LogReader:
    return store  # type: ignore[return-value]


def _snapshot(store: _Store) -> LogSnapshot:
    return store  # type: ignore[return-value]


@pytest.fixture(scope="module")
def kept() -> _Store:
    return _Store()


def _plans(size: int, other: int) -> list[tuple[HashPlan, list[bytes]]]:
    """Plans of each kind for a size and another number below it, with what RFC 6962 says of them."""
    return [
        (inclusion_plan(other, size), _NAIVE.path(other, size)),
        (consistency_plan(other, size), _NAIVE.proof(other, size)),
        (root_plan(size), [_NAIVE.root(size)]),
    ]


@settings(deadline=None)  # the naive tree hashes all leaves the first time
@given(st.integers(1, _SIZE), st.data())
def test_plans_lead_to_the_hashes_of_the_naive_tree(kept: _Store, size: int, data: st.DataObject) -> None:
    """For every size, index and older size the hashes are those of RFC 6962, whatever the cache holds already."""
    plans = _plans(size, data.draw(st.integers(0, size - 1)))
    found = TileCache(3).hashes(_snapshot(kept), 1, *(plan for plan, _ in plans))
    assert found == [expected for _, expected in plans]


@given(st.integers(1, 1 << 62), st.data())
def test_plans_name_few_tiles_that_exist(size: int, data: st.DataObject) -> None:
    """A plan reads at most two tiles a level, each once, in the width that it has in a tree of this size."""
    index = data.draw(st.integers(0, size - 1))
    for plan in (inclusion_plan(index, size), consistency_plan(index, size), root_plan(size)):
        tiles = plan.tiles()
        levels = [tile.level or 0 for tile in tiles]
        assert len(set(tiles)) == len(tiles)
        assert max(map(levels.count, levels), default=0) <= 2
        assert all(tile.width == tile_width(size, tile.level or 0, tile.number) > 0 for tile in tiles)


def test_several_plans_share_one_question() -> None:
    """Whatever a proof consists of, its tiles are asked for at once; what is remembered is not asked for again."""
    store, cache = _Store(), TileCache()
    cache.hashes(_snapshot(store), 1, inclusion_plan(70, _SIZE), consistency_plan(300, _SIZE), root_plan(300))
    assert store.questions == 1
    cache.hashes(_snapshot(store), 1, inclusion_plan(71, _SIZE))
    assert store.questions == 1
    cache.hashes(_snapshot(store), 2, inclusion_plan(71, _SIZE))
    assert store.questions == 2


def test_the_cache_is_bounded() -> None:
    """However many tiles are asked for, only so many are remembered, and the answers stay right."""
    store, cache = _Store(), TileCache(4)
    for index in range(0, _SIZE, 3_001):
        assert cache.hashes(_snapshot(store), 1, inclusion_plan(index, _SIZE)) == [_NAIVE.path(index, _SIZE)]
        assert len(cache) <= 4


def test_threads_share_the_cache(kept: _Store) -> None:
    """Proofs that are made in several threads at once, out of a cache that is too small for them, are right all the same."""
    cache, indexes = TileCache(3), [index % _SIZE for index in range(0, 40 * 7_919, 7_919)]

    def prove(index: int) -> list[list[bytes]]:
        return cache.hashes(_snapshot(kept), 1, inclusion_plan(index, _SIZE))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(prove, indexes)) == [[_NAIVE.path(index, _SIZE)] for index in indexes]
    assert len(cache) <= 3


def test_a_tile_that_was_forgotten_is_read_again() -> None:
    """After a wrong answer nothing of that log is taken from memory, and everything of the others."""
    store, cache = _Store(), TileCache()
    good = store.kept[0, 0]
    store.kept[0, 0] = bytes(len(good))
    assert cache.hashes(_snapshot(store), 1, inclusion_plan(3, _SIZE)) != [_NAIVE.path(3, _SIZE)]
    cache.hashes(_snapshot(store), 2, inclusion_plan(300, _SIZE))
    others = len(cache)
    store.kept[0, 0] = good
    cache.forget(1)
    assert 0 < len(cache) < others
    assert cache.hashes(_snapshot(store), 1, inclusion_plan(3, _SIZE)) == [_NAIVE.path(3, _SIZE)]


@pytest.mark.anyio
async def test_a_missing_tile_is_an_error() -> None:
    """A tile of an upper level that is gone is damage; one of level 0 is made from its entries, as far as there are any."""
    store = _Store()
    del store.kept[0, 5]
    assert TileCache().hashes(_snapshot(store), 1, inclusion_plan(1_300, _SIZE)) == [_NAIVE.path(1_300, _SIZE)]
    del store.kept[1, 0]
    with pytest.raises(StorageError, match="tile 0 of level 1 is missing"):
        TileCache().hashes(_snapshot(store), 1, inclusion_plan(1_300, _SIZE))
    with pytest.raises(StorageError, match="ends before"):
        await read_tile(_reader(store), 1, 0, 300, 256)


@pytest.mark.anyio
async def test_the_edge_is_read_for_every_size(kept: _Store) -> None:
    """The edge of the tree of any older size comes out of the tiles of a later one."""
    for size in (0, 1, 255, 256, 257, 65_535, 65_536, 65_537, _SIZE):
        edge = await with_tiles(_reader(kept), 1, lambda read, size=size: read_edge(size, read))  # type: ignore[misc]
        assert (edge.size, edge.root()) == (size, _NAIVE.root(size))


def test_a_short_tile_is_refused() -> None:
    """Nothing is folded from hashes that are not there."""
    with pytest.raises(VerificationError, match="less than 3 hashes"):
        TileNodes(bytes(64), 3)
