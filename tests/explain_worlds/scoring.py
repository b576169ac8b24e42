"""How well an evidence graph tells the truth of a world: edges that are right, missed and wrongly claimed, by type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .record import CONTENT, EXPLICIT, Edge, Truth

__all__ = ["Score", "score"]


@dataclass
class Score:
    """Counts for one type of edge; `missed` and `wrong` keep the edges themselves, with the seed of their world."""

    right: int = 0
    missed: list[tuple[int, Edge]] = field(default_factory=list)
    wrong: list[tuple[int, Edge]] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Share of the claimed edges that are true."""
        return self.right / (self.right + len(self.wrong))

    @property
    def recall(self) -> float:
        """Share of the true edges that are claimed."""
        return self.right / (self.right + len(self.missed))


def score(scores: dict[str, Score], seed: int, truth: Truth, claimed: Iterable[tuple[Edge, bool]]) -> None:
    """Add a world to the scores. `claimed` are edges by event ids, each with whether it is called ambiguous."""
    edges = dict(claimed)
    for kind in (EXPLICIT, CONTENT):
        total = scores.setdefault(kind, Score())
        must = {edge for edge in truth.edges if edge[2] == kind}
        total.right += len(must & edges.keys())
        total.missed += [(seed, edge) for edge in sorted(must - edges.keys())]
        some = {each for each in truth.either if any(edge[2] == kind for edge in each) and not each & must}
        total.right += sum(1 for each in some if each & edges.keys())
        total.missed += [(seed, min(each)) for each in some if not each & edges.keys()]
        fair = must | truth.open_edges | {edge for each in truth.either for edge in each}
        for edge, ambiguous in sorted(edges.items()):
            if edge[2] == kind and edge not in fair and not (ambiguous and edge in truth.rivals):
                total.wrong.append((seed, edge))
