"""The Merkle tree of RFC 6962 §2.1 with SHA-256: hashes, inclusion proofs and consistency proofs.

All hashes are 32 bytes. A proof that does not show what it should raises `VerificationError`; nothing is returned as false.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

from chaukas.verify.encodings import HASH_BYTES, SIZE_MAX
from chaukas.verify.errors import VerificationError

__all__ = [
    "EMPTY_ROOT",
    "PROOF_HASHES_MAX",
    "check_empty_root",
    "leaf_hash",
    "node_hash",
    "root_from_inclusion_proof",
    "verify_consistency",
    "verify_inclusion",
]

#: Root of the tree without leaves: SHA-256 of nothing (RFC 6962 §2.1).
EMPTY_ROOT = sha256(b"").digest()
#: No proof in a tree of at most 2^63 - 1 leaves is longer than this (tlog-witness names the same bound).
PROOF_HASHES_MAX = 63


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def check_empty_root(size: int, root: bytes) -> None:
    """That a tree without leaves has the root of nothing. Raises `VerificationError`."""
    if size == 0 and root != EMPTY_ROOT:
        raise VerificationError("a tree of size 0 has a root other than that of the empty tree")


def _check_hashes(hashes: Sequence[bytes], what: str) -> None:
    if len(hashes) > PROOF_HASHES_MAX:
        raise VerificationError(f"{what} has {len(hashes)} hashes; no tree needs more than {PROOF_HASHES_MAX}")
    if any(len(one) != HASH_BYTES for one in hashes):
        raise VerificationError(f"{what} has a hash that is not {HASH_BYTES} bytes long")


def _siblings(at: int, last: int, hashes: Sequence[bytes], what: str) -> Iterator[tuple[bytes, bool]]:
    """Each hash of a proof with whether it stands on the left, from position `at` in a level whose last position is `last`.

    Raises `VerificationError` if the proof does not end exactly at the root.
    """
    for sibling in hashes:
        if last == 0:
            raise VerificationError(f"{what} is longer than the tree is high")
        on_left = at & 1 == 1 or at == last
        yield sibling, on_left
        while on_left and not at & 1 and at:  # a node on the right edge without a sibling stands for its ancestors too
            at >>= 1
            last >>= 1
        at >>= 1
        last >>= 1
    if last != 0:
        raise VerificationError(f"{what} ends before the root")


def root_from_inclusion_proof(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that `proof` leads to from the leaf hash `leaf` at `index` in a tree of `size` leaves (RFC 9162 §2.1.3.2).

    1. The index lies within the tree.
    2. From the leaf upwards, each hash of the proof is the sibling on the left or on the right, as the position says; the proof
       ends exactly at the root.
    """
    what = "the inclusion proof"
    _check_hashes([leaf, *proof], what)
    # 1.
    if not 0 <= index < size <= SIZE_MAX:
        raise VerificationError(f"index {index} lies outside a tree of {size} leaves")
    # 2.
    root = leaf
    for sibling, on_left in _siblings(index, size - 1, proof, what):
        root = node_hash(sibling, root) if on_left else node_hash(root, sibling)
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """That the leaf hash `leaf` stands at `index` in the tree of `size` leaves with this root. Raises `VerificationError`."""
    if root_from_inclusion_proof(leaf, index, size, proof) != root:
        raise VerificationError(
            f"the inclusion proof does not lead from the entry at index {index} to the root of {size} entries"
        )


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """That the tree of `new_size` leaves begins with the tree of `old_size` leaves (RFC 9162 §2.1.4.2).

    1. Sizes are in order; a tree of size zero has the root of nothing.
    2. From the empty tree, or between equal sizes, the proof is empty; equal sizes have equal roots.
    3. Starting from the largest complete subtree on the old right edge, each hash extends the new tree, and those on the left
       extend the old one as well; the proof ends exactly at the root.
    4. Both roots come out.

    Raises `VerificationError`.
    """
    what = "the consistency proof"
    _check_hashes([old_root, new_root, *proof], what)
    # 1.
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        raise VerificationError(f"a tree of {new_size} leaves cannot continue one of {old_size}")
    check_empty_root(old_size, old_root)
    check_empty_root(new_size, new_root)
    # 2.
    if old_size in (0, new_size):
        if proof:
            raise VerificationError(f"{what} must be empty here, and is not")
        if old_size == new_size and old_root != new_root:
            raise VerificationError(f"two different trees of {old_size} entries: one of the two views of this log is false")
        return
    # 3. A complete old tree is itself the first node, and the proof leaves it out.
    complete_levels = (old_size & -old_size).bit_length() - 1
    at, last = (old_size - 1) >> complete_levels, (new_size - 1) >> complete_levels
    hashes = proof if at else (old_root, *proof)
    if not hashes:
        raise VerificationError(f"{what} is empty")
    old = new = hashes[0]
    for sibling, on_left in _siblings(at, last, hashes[1:], what):
        if on_left:
            old = node_hash(sibling, old)
        new = node_hash(sibling, new) if on_left else node_hash(new, sibling)
    # 4.
    if old != old_root:
        raise VerificationError(f"{what} does not lead to the old root of {old_size} entries")
    if new != new_root:
        raise VerificationError(f"{what} does not lead to the new root of {new_size} entries")
