"""The root of many leaves in little memory: the complete subtrees that a tree of a given size is made of, one per set bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from chaukas.verify.merkle import EMPTY_ROOT, node_hash

__all__ = ["CompactRange", "fold_right", "fold_subtree", "root_of"]


def fold_subtree(hashes: Sequence[bytes]) -> bytes:
    """The root of a complete subtree from its 2^k hashes on one level, k ≥ 0."""
    level = hashes
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return level[0]


def fold_right(subtrees: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size, largest first (RFC 6962 §2.1); the empty root for none."""
    if not subtrees:
        return EMPTY_ROOT
    root = subtrees[-1]
    for subtree in reversed(subtrees[:-1]):
        root = node_hash(subtree, root)
    return root


class CompactRange:
    """A tree that only grows, remembered by its complete subtrees: at most 63 hashes.

    `size` is the number of leaves, `subtrees` the roots of the complete subtrees, largest first: one for each set bit of `size`.
    """

    __slots__ = ("size", "subtrees")

    def __init__(self, size: int = 0, subtrees: Sequence[bytes] = ()) -> None:
        if len(subtrees) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees, not {len(subtrees)}")
        self.size = size
        self.subtrees: list[bytes] = list(subtrees)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash on the right."""
        self._add(leaf, 0)

    def _add(self, subtree: bytes, level: int) -> None:
        """Add a complete subtree of 2^level leaves; `size` must be a multiple of 2^level."""
        carry = self.size >> level
        while carry & 1:
            subtree = node_hash(self.subtrees.pop(), subtree)
            carry >>= 1
        self.subtrees.append(subtree)
        self.size += 1 << level

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add many leaf hashes; whole aligned subtrees are hashed level by level, which is what makes it fast."""
        at, end = 0, len(leaves)
        while at < end:
            level = _aligned_level(self.size, end - at)
            step = 1 << level
            self._add(fold_subtree(leaves[at : at + step]), level)
            at += step

    def root(self) -> bytes:
        """RFC 6962 §2.1: the root of the tree as it is now."""
        return fold_right(self.subtrees)


def _aligned_level(size: int, room: int) -> int:
    """The level of the largest complete subtree that may begin at `size` and has at most `room` leaves."""
    level = room.bit_length() - 1
    if size:
        level = min(level, (size & -size).bit_length() - 1)
    return level


def root_of(leaves: Iterable[bytes], chunk: int = 4096) -> bytes:
    """The root of a tree from all its leaf hashes in order."""
    whole = CompactRange()
    for part in _chunks(leaves, chunk):
        whole.extend(part)
    return whole.root()


def _chunks(leaves: Iterable[bytes], chunk: int) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for leaf in leaves:
        part.append(leaf)
        if len(part) == chunk:
            yield part
            part = []
    if part:
        yield part
