"""The whole explanation of a list of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from chaukas.server.explain.findings import RULES, find_all
from chaukas.server.explain.model import Explanation, Finder
from chaukas.server.explain.steps import structure_of
from chaukas.spec.common.v1 import events_pb2

__all__ = ["explain"]


def explain(events: Iterable[events_pb2.Event], finders: Sequence[Finder] = RULES) -> Explanation:
    """Runs, steps, sessions and findings of a list of events, in any order and with any duplicates.

    `finders` are the rules to apply: the catalogue, `[*RULES, mine]` to add to it, or fewer. Deterministic and without I/O; the
    events are read, never changed. Raises ValueError when a finder reports a code that is not its own.
    """
    structure = structure_of(events)
    return replace(structure, findings=find_all(structure, finders))
