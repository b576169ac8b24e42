"""The growing edge of a log's tree: what a server remembers of it to append leaves and know the root, at most 2 KiB."""

from __future__ import annotations

from chaukas.verify.compact_range import CompactRange
from chaukas.verify.encodings import HASH_BYTES, SIZE_MAX

__all__ = ["Frontier"]

_SIZE_BYTES = 8


class Frontier(CompactRange):
    """A `CompactRange` (`append`, `extend`, `root`, `size`) that can be stored and copied.

    Call shape: `frontier = Frontier.from_bytes(stored) or Frontier()`, then in the transaction that appends entries
    `frontier.extend(leaf_hashes)` and store `frontier.to_bytes()`. If the transaction fails, go on from a copy taken before it,
    or read the stored one again.
    """

    __slots__ = ()

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        return Frontier(self.size, self.subtrees)

    def to_bytes(self) -> bytes:
        """The size as a big-endian 64-bit number, then the roots of the complete subtrees, largest first."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.subtrees)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """Read what `to_bytes` wrote. Raises `ValueError` if it is anything else."""
        size = int.from_bytes(data[:_SIZE_BYTES], "big")
        hashes = data[_SIZE_BYTES:]
        if len(data) < _SIZE_BYTES or size > SIZE_MAX or len(hashes) != size.bit_count() * HASH_BYTES:
            raise ValueError("not a stored frontier")
        return cls(size, [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)])
