"""Cells and tables in Markdown: medians with what the runs ranged over, each beside its goal."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.figures import Figures

__all__ = ["NOTHING", "Goal", "cell", "goal_cells", "number", "table"]

#: Stands in a cell for which there is no figure or no goal.
NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a median."""

    row: str
    metric: str
    relation: str
    bound: float
    #: How tables show it.
    text: str

    def verdict(self, figures: Figures) -> str:
        """`met`, `missed`, or nothing when it was not measured."""
        compare: Callable[[float, float], bool] = operator.ge if self.relation == ">=" else operator.le
        value = figures.median(self.row, self.metric)
        if value is None:
            return ""
        return "met" if compare(value, self.bound) else "**missed**"


def number(value: float) -> str:
    """Three digits or more."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(figures: Figures, row: str, metric: str, unit: str = "") -> str:
    """Median, and what the runs ranged over; `NOTHING` when nothing was measured."""
    values = figures.values(row, metric)
    if not values:
        return NOTHING
    text = number(statistics.median(values)) + unit
    if len(values) > 1 and number(min(values)) != number(max(values)):
        text += f" ({number(min(values))} to {number(max(values))})"
    return text


def goal_cells(goals: Iterable[Goal], figures: Figures, row: str, metric: str) -> tuple[str, str]:
    """The goal of a figure, and whether it was met."""
    for goal in goals:
        if (goal.row, goal.metric) == (row, metric):
            return goal.text, goal.verdict(figures)
    return NOTHING, ""


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table, with an empty one behind it."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]
