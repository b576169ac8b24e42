"""Union-find over step numbers that remembers by which evidence each join was made."""

from __future__ import annotations

from collections import defaultdict

from chaukas.server.explain.model import StitchBy

__all__ = ["Unions"]


class Unions:
    """Disjoint sets of steps. The smallest number of a set is its root, so that results do not depend on the order of joins."""

    __slots__ = ("_parents", "joins")

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))
        #: (evidence, shared value) -> the steps it joined, only where they were not joined before.
        self.joins: defaultdict[tuple[StitchBy, str], set[int]] = defaultdict(set)

    def root(self, number: int) -> int:
        """The representative of a step's set."""
        parents = self._parents
        root = number
        while parents[root] != root:
            root = parents[root]
        while parents[number] != root:
            parents[number], number = root, parents[number]
        return root

    def join(self, one: int, other: int, by: StitchBy, value: str) -> None:
        """Make one set of two; the evidence is remembered when they were two."""
        a, b = self.root(one), self.root(other)
        if a == b:
            return
        if a < b:
            self._parents[b] = a
        else:
            self._parents[a] = b
        self.joins[by, value].update((one, other))

    def copy(self) -> Unions:
        """An independent copy that goes on from here."""
        other = Unions(0)
        other._parents = list(self._parents)
        other.joins = defaultdict(set, {key: set(steps) for key, steps in self.joins.items()})
        return other
