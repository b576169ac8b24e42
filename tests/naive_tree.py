"""The Merkle tree of RFC 6962 §2.1 as its text says it, recursively over all leaves: the oracle. It shares no code with ours."""

from __future__ import annotations

import hashlib


def _hash(prefix: int, *parts: bytes) -> bytes:
    digest = hashlib.new("sha256")
    digest.update(prefix.to_bytes(1, "big"))
    for part in parts:
        digest.update(part)
    return digest.digest()


def _k(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class NaiveTree:
    """A tree over entries, with the functions MTH, PATH and PROOF of RFC 6962."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self._known: dict[tuple[int, int], bytes] = {}

    def mth(self, start: int, end: int) -> bytes:
        if (start, end) not in self._known:
            n = end - start
            if n == 0:
                value = hashlib.new("sha256").digest()
            elif n == 1:
                value = _hash(0, self.entries[start])
            else:
                middle = start + _k(n)
                value = _hash(1, self.mth(start, middle), self.mth(middle, end))
            self._known[start, end] = value
        return self._known[start, end]

    def root(self, size: int) -> bytes:
        return self.mth(0, size)

    def path(self, m: int, size: int) -> list[bytes]:
        return self._path(m, 0, size)

    def _path(self, m: int, start: int, end: int) -> list[bytes]:
        n = end - start
        if n == 1:
            return []
        k = _k(n)
        if m < k:
            return [*self._path(m, start, start + k), self.mth(start + k, end)]
        return [*self._path(m - k, start + k, end), self.mth(start, start + k)]

    def proof(self, m: int, size: int) -> list[bytes]:
        return [] if m in (0, size) else self._subproof(m, 0, size, whole=True)

    def _subproof(self, m: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        n = end - start
        if m == n:
            return [] if whole else [self.mth(start, end)]
        k = _k(n)
        if m <= k:
            return [*self._subproof(m, start, start + k, whole=whole), self.mth(start + k, end)]
        return [*self._subproof(m - k, start + k, end, whole=False), self.mth(start, start + k)]
