"""Trees, tiles and proofs against a naive recursive tree and against implementations from the package index."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from chaukas.server.tlog.proving import prove_consistency, prove_inclusion, root_of_size
from chaukas.server.tlog.tiling import TileEdge, read_edge, tile_root
from chaukas.verify.compact_range import CompactRange, root_of
from chaukas.verify.errors import VerificationError
from chaukas.verify.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from chaukas.verify.tiles import tile_width, tiles_of_tree
from tests.naive_tree import NaiveTree
from tests.strategies import unhurried

_SIZE_MAX = 1400  # beyond five full tiles of level 0
_ENTRIES = [number.to_bytes(3, "big") * (number % 7) for number in range(_SIZE_MAX)]
_LEAVES = [leaf_hash(entry) for entry in _ENTRIES]
_NAIVE = NaiveTree(_ENTRIES)

sizes = st.integers(1, _SIZE_MAX) | st.sampled_from([1, 2, 3, 255, 256, 257, 511, 512, 513, 1024, 1025, _SIZE_MAX])
ordered_sizes = st.tuples(sizes, sizes).map(lambda pair: tuple(sorted(pair)))


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(sizes)
    return draw(st.integers(0, size - 1)), size


@cache
def tiles_to(size: int) -> dict[tuple[int, int], bytes]:
    """All tiles of a tree, each in its widest form, made by appending in uneven pieces."""
    edge = TileEdge()
    found: dict[tuple[int, int], bytes] = {}
    pieces = random.Random(size)
    while edge.size < size:
        for path, tile in edge.extend(_LEAVES[edge.size : min(size, edge.size + pieces.randrange(1, 400))]):
            assert path.level is not None
            found[path.level, path.number] = tile
    found.update({(path.level or 0, path.number): tile for path, tile in edge.partial_tiles()})
    return found


def reader(size: int) -> Callable[[int, int, int], bytes]:
    """Reads exactly the width that is asked for, and refuses what the tree does not have."""
    tiles = tiles_to(size)

    def read(level: int, number: int, width: int) -> bytes:
        assert 1 <= width <= tile_width(size, level, number)
        return tiles[level, number][: 32 * width]

    return read


@unhurried
@given(sizes)
def test_roots_agree_however_they_are_computed(size: int):
    """One tree has one root: leaf by leaf, in bulk, from tiles, from the edge alone, and as the RFC's text says it."""
    expected = _NAIVE.root(size)
    one_by_one, in_bulk = CompactRange(), CompactRange()
    for leaf in _LEAVES[:size]:
        one_by_one.append(leaf)
    in_bulk.extend(_LEAVES[: size // 3])
    in_bulk.extend(_LEAVES[size // 3 : size])
    assert one_by_one.root() == in_bulk.root() == expected
    assert (one_by_one.size, one_by_one.subtrees) == (in_bulk.size, in_bulk.subtrees)
    assert CompactRange(in_bulk.size, in_bulk.subtrees).root() == expected
    assert root_of(iter(_LEAVES[:size]), chunk=100) == expected
    assert root_of_size(size, reader(size)) == expected
    assert read_edge(size, reader(size)).root() == expected


@unhurried
@given(places())
def test_inclusion_proofs_are_those_of_the_rfc(place: tuple[int, int]):
    """Every leaf of every tree has exactly the proof that RFC 6962 gives it, and the verifier takes it."""
    index, size = place
    proof = prove_inclusion(index, size, reader(size))
    assert proof == _NAIVE.path(index, size)
    verify_inclusion(_LEAVES[index], index, size, proof, _NAIVE.root(size))
    # A later tree's wider tiles serve an older tree as well.
    assert prove_inclusion(index, size, lambda level, number, _: tiles_to(_SIZE_MAX)[level, number]) == proof


@unhurried
@given(ordered_sizes)
def test_consistency_proofs_are_those_of_the_rfc(pair: tuple[int, int]):
    """Every tree is proven to be the beginning of every later one, with exactly the proof of RFC 6962."""
    old, new = pair
    proof = prove_consistency(old, new, reader(new))
    assert proof == _NAIVE.proof(old, new)
    verify_consistency(old, _NAIVE.root(old), new, _NAIVE.root(new), proof)
    verify_consistency(0, EMPTY_ROOT, new, _NAIVE.root(new), [])


@unhurried
@given(places(), st.data())
def test_no_other_inclusion_proof_is_taken(place: tuple[int, int], data: st.DataObject):
    """A changed leaf, root, place or proof proves nothing."""
    index, size = place
    proof, root, leaf = _NAIVE.path(index, size), _NAIVE.root(size), _LEAVES[index]
    change = data.draw(st.sampled_from(["leaf", "root", "index", "flip", "drop", "add", "swap"]))
    if change == "leaf":
        leaf = leaf_hash(b"another entry")
    elif change == "root":
        root = leaf_hash(b"another root")
    elif change == "index":
        index = data.draw(st.integers(-1, size + 1).filter(lambda other: other != place[0]))
    elif change == "add":
        proof.insert(data.draw(st.integers(0, len(proof))), data.draw(st.sampled_from([bytes(32), leaf, root])))
    elif not proof:
        return
    elif change == "flip":
        at, byte, bit = data.draw(st.tuples(st.integers(0, len(proof) - 1), st.integers(0, 31), st.integers(0, 7)))
        proof[at] = proof[at][:byte] + bytes((proof[at][byte] ^ 1 << bit,)) + proof[at][byte + 1 :]
    elif change == "drop":
        proof.pop(data.draw(st.integers(0, len(proof) - 1)))
    else:
        turned = data.draw(st.permutations(proof))
        if turned == proof:
            return
        proof = turned
    with pytest.raises(VerificationError):
        verify_inclusion(leaf, index, size, proof, root)


@unhurried
@given(ordered_sizes, st.data())
def test_no_other_consistency_proof_is_taken(pair: tuple[int, int], data: st.DataObject):
    """A rewritten history has no consistency proof: roots, sizes and hashes that are not the log's are refused."""
    old, new = pair
    proof, old_root, new_root = _NAIVE.proof(old, new), _NAIVE.root(old), _NAIVE.root(new)
    change = data.draw(st.sampled_from(["old root", "new root", "flip", "drop", "add"]))
    if change == "old root":
        old_root = leaf_hash(b"another root")
    elif change == "new root":
        new_root = leaf_hash(b"another root")
    elif change == "add":
        proof.insert(data.draw(st.integers(0, len(proof))), data.draw(st.sampled_from([bytes(32), old_root, new_root])))
    elif not proof:
        return
    elif change == "flip":
        at, byte = data.draw(st.tuples(st.integers(0, len(proof) - 1), st.integers(0, 31)))
        proof[at] = proof[at][:byte] + bytes((proof[at][byte] ^ 1,)) + proof[at][byte + 1 :]
    else:
        proof.pop(data.draw(st.integers(0, len(proof) - 1)))
    with pytest.raises(VerificationError):
        verify_consistency(old, old_root, new, new_root, proof)


@unhurried
@given(st.integers(-2, 1 << 70), st.integers(-2, 1 << 70), st.lists(st.binary(max_size=33), max_size=70), st.binary(max_size=33))
def test_verifiers_raise_nothing_but_their_own_error(first: int, second: int, proof: list[bytes], root: bytes):
    """Whatever numbers and hashes come from outside, the answer is yes or `VerificationError`."""
    for call in (
        lambda: verify_inclusion(root, first, second, proof, root),
        lambda: verify_consistency(first, root, second, root, proof),
    ):
        try:
            call()
        except VerificationError:
            continue


@unhurried
@given(ordered_sizes)
def test_tiles_that_a_growing_tree_needs(pair: tuple[int, int]):
    """From one size to the next exactly the tiles that are new or wider are written, and every upper hash is its tile's root."""
    old, new = pair
    every = {(path.level, path.number): path.width for path in tiles_of_tree(new)}
    before = {(path.level, path.number): path.width for path in tiles_of_tree(old)}
    assert {(path.level, path.number): path.width for path in tiles_of_tree(new, old)} == {
        place: width for place, width in every.items() if before.get(place) != width
    }
    tiles = tiles_to(new)
    assert {place: len(tile) // 32 for place, tile in tiles.items()} == every
    for (level, number), tile in tiles.items():
        if len(tile) == 8192:
            assert tile_root(tile) == tiles[level + 1, number // 256][number % 256 * 32 :][:32]


def test_the_sizes_that_the_document_names():
    """Trees of 70,000 and of 256 leaves have the tiles that C2SP tlog-tiles, "Partial Tiles", counts."""
    counted: dict[tuple[int, int], int] = {}
    for path in tiles_of_tree(70_000):
        assert path.level is not None
        counted[path.level, path.width] = counted.get((path.level, path.width), 0) + 1
    assert counted == {(0, 256): 273, (0, 112): 1, (1, 256): 1, (1, 17): 1, (2, 1): 1}
    assert [str(path) for path in tiles_of_tree(256)] == ["tile/0/000", "tile/1/000.p/1"]


@unhurried
@given(ordered_sizes, st.data())
def test_pymerkle_agrees(pair: tuple[int, int], data: st.DataObject):
    """An implementation that knows nothing of ours computes the same roots and paths, and takes our proofs."""
    old, new = pair
    index = data.draw(st.integers(0, new - 1))
    tree = InmemoryTree(algorithm="sha256")
    tree.append_entries(_ENTRIES[:new])
    assert tree.get_root(new) == root_of_size(new, reader(new)) == _NAIVE.root(new)
    assert tree.get_root(old) == root_of_size(old, reader(new))
    # It lists a path in an order of its own, beginning with what is proven; the hashes are the same.
    inclusion = tree.prove_inclusion(index + 1, new)
    assert set(inclusion.path) == {_LEAVES[index], *prove_inclusion(index, new, reader(new))}
    inclusion.verify(_LEAVES[index], root_of_size(new, reader(new)))
    # Its consistency proofs are of another form, but prove the same two roots.
    tree.prove_consistency(old, new).verify(root_of_size(old, reader(old)), root_of_size(new, reader(new)))
