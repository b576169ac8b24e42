"""From an event's position to the step that it belongs to."""

from __future__ import annotations

from chaukas.server.explain.model import Explanation

__all__ = ["steps_by_position"]


def steps_by_position(explanation: Explanation) -> list[int]:
    """The step number of each position; every event belongs to exactly one step."""
    found = [0] * len(explanation.record.rows)
    for step in explanation.steps:
        for position in step.events:
            found[position] = step.number
    return found
