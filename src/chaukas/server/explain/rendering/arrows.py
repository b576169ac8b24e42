"""Evidence between events as arrows between steps, for the chart."""

from __future__ import annotations

from collections.abc import Iterable

from chaukas.server.explain.evidence import Evidence, EvidenceType
from chaukas.server.explain.evidence_graph import Evidenced
from chaukas.server.explain.model import StepKind
from chaukas.server.explain.rendering.mermaid import Arrow

__all__ = ["arrows_of"]

_STRENGTH = {kind: place for place, kind in enumerate(EvidenceType)}
_FRAMES = frozenset({StepKind.SESSION, StepKind.STATE})


def arrows_of(evidenced: Evidenced, edges: Iterable[Evidence]) -> list[Arrow]:
    """One arrow for each pair of steps, of its strongest evidence. That a step stands under another's span is no arrow."""
    steps = evidenced.explanation.steps
    best: dict[tuple[int, int], EvidenceType] = {}
    for edge in edges:
        pair = evidenced.step_of[edge.cause], evidenced.step_of[edge.effect]
        if pair[0] == pair[1] or steps[pair[0]].kind in _FRAMES or all(basis.by == "parent" for basis in edge.bases):
            continue
        known = best.get(pair)
        if known is None or _STRENGTH[edge.type] < _STRENGTH[known]:
            best[pair] = edge.type
    return [
        Arrow(cause, effect, str(kind), dotted=kind in (EvidenceType.CONTEXT, EvidenceType.TIME))
        for (cause, effect), kind in sorted(best.items())
    ]
