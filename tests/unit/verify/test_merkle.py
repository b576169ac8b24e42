"""The Merkle tree: the published test vectors of RFC 6962 (certificate-transparency), and the bounds of proofs."""

from __future__ import annotations

import pytest

from chaukas.verify.compact_range import CompactRange, root_of
from chaukas.verify.errors import VerificationError
from chaukas.verify.merkle import EMPTY_ROOT, leaf_hash, node_hash, verify_consistency, verify_inclusion

_INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
_LEAVES = [leaf_hash(bytes.fromhex(one)) for one in _INPUTS]
_NODES = {
    "01": "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "23": "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "45": "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "67": "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0123": "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4567": "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    **{str(number): leaf.hex() for number, leaf in enumerate(_LEAVES)},
}


def nodes(*names: str) -> list[bytes]:
    return [bytes.fromhex(_NODES[name]) for name in names]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int):
    """Roots over the well-known inputs are the published ones."""
    assert root_of(_LEAVES[:size]).hex() == _ROOTS[size]
    assert EMPTY_ROOT.hex() == _ROOTS[0]


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (0, 8, nodes("1", "23", "4567")),
        (5, 8, nodes("4", "67", "0123")),
        (2, 3, nodes("01")),
        (1, 5, nodes("0", "23", "4")),
        (4, 5, nodes("0123")),
        (6, 7, nodes("45", "0123")),
    ],
)
def test_published_inclusion_proofs(index: int, size: int, proof: list[bytes]):
    """The published audit paths are taken, and none of them at any other index."""
    root = bytes.fromhex(_ROOTS[size])
    verify_inclusion(_LEAVES[index], index, size, proof, root)
    for other in {*range(-1, size + 2)} - {index}:
        with pytest.raises(VerificationError):
            verify_inclusion(_LEAVES[index], other, size, proof, root)


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [
        (1, 1, []),
        (1, 8, nodes("1", "23", "4567")),
        (6, 8, nodes("45", "67", "0123")),
        (2, 5, nodes("23", "4")),
        (4, 7, [node_hash(*nodes("45", "6"))]),
        (3, 7, [*nodes("2", "3", "01"), node_hash(*nodes("45", "6"))]),
    ],
)
def test_published_consistency_proofs(old: int, new: int, proof: list[bytes]):
    """The published consistency proofs are taken, and none of them between other sizes."""
    verify_consistency(old, bytes.fromhex(_ROOTS[old]), new, bytes.fromhex(_ROOTS[new]), proof)
    if proof:
        for other in {*range(-1, new + 1)} - {old}:
            with pytest.raises(VerificationError):
                verify_consistency(other, bytes.fromhex(_ROOTS[max(other, 0)]), new, bytes.fromhex(_ROOTS[new]), proof)


def test_two_trees_of_one_size():
    """Two different roots of the same size are a contradiction, not a growth."""
    with pytest.raises(VerificationError, match="two different trees"):
        verify_consistency(3, bytes(32), 3, bytes.fromhex(_ROOTS[3]), [])


def test_the_empty_tree():
    """Every tree continues the empty one without a proof; a false empty root, and a proof from it, are refused."""
    root = bytes.fromhex(_ROOTS[5])
    verify_consistency(0, EMPTY_ROOT, 5, root, [])
    for old_root, proof in ((bytes(32), []), (EMPTY_ROOT, [root])):
        with pytest.raises(VerificationError):
            verify_consistency(0, old_root, 5, root, proof)


def test_a_node_is_no_leaf():
    """An inner node cannot be passed off as an entry: leaves and nodes are hashed apart."""
    left, right = nodes("01", "23")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_a_compact_range_has_a_hash_per_bit():
    """A range with another number of subtrees than its size has bits is a fault of the caller."""
    with pytest.raises(ValueError, match="2 complete subtrees, not 1"):
        CompactRange(3, [bytes(32)])
