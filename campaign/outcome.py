"""What a part of the campaign found: figures with the bounds they were held against, and problems. Becomes JSON and Markdown."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from campaign.plan import Plan

__all__ = ["Figure", "Outcome", "Stage", "percentile", "times"]

_STANDSTILL_S_MIN = 3.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else math.nan


def times(seconds: Sequence[float]) -> str:
    """Median, 99th percentile and longest of some durations, for a table."""
    median, high = percentile(seconds, 50) * 1_000, percentile(seconds, 99) * 1_000
    return f"{median:,.0f} / {high:,.0f} / {max(seconds, default=math.nan) * 1_000:,.0f} ms"


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the report."""

    what: str
    measured: str
    #: What it was held against; empty for what is only told.
    bound: str = ""
    met: bool = True


@dataclass(slots=True)
class Outcome:
    """One part."""

    part: str
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    took_s: float = 0.0


class Stage:
    """What a part works with: its plan and chance, a directory of its own, and where it tells what it found."""

    def __init__(self, part: str, plan: Plan, seed: int, directory: Path) -> None:
        self.plan, self.directory = plan, directory
        self.seed = seed
        self.chance = random.Random(f"{seed}-{part}")
        self.outcome = Outcome(part)
        self._began = time.monotonic()
        directory.mkdir(parents=True)

    def figure(self, what: str, measured: object) -> None:
        """Tell a figure that is held against nothing."""
        text = f"{measured:,}" if isinstance(measured, int) else str(measured)
        self.outcome.figures.append(Figure(what, text))

    def bounded(self, what: str, measured: str, bound: str, *, met: bool) -> None:
        """Tell a figure and whether it keeps its bound; one that does not is a problem."""
        self.outcome.figures.append(Figure(what, measured, bound, met))
        if not met:
            self.problem(f"{what}: {measured}, not {bound}")

    def none(self, what: str, count: int) -> None:
        """Tell the number of something that must not happen at all."""
        self.bounded(what, f"{count:,}", "0", met=count == 0)

    def problem(self, text: str) -> None:
        """Something that must not be."""
        self.outcome.problems.append(text)
        self.say(f"PROBLEM: {text}")

    def note(self, text: str) -> None:
        """Something that readers of the report should know."""
        self.outcome.notes.append(text)

    def note_standstill(self, longest_s: float) -> None:
        """Say that this process did not run for a while, as on a paused virtual machine. No bound is moved for it."""
        if longest_s > _STANDSTILL_S_MIN:
            self.note(f"for {longest_s:.1f} s the process that measures stood still, and so the machine; the times contain that")

    def say(self, text: str) -> None:
        """A line of progress with the minutes and seconds since the part began."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"[{self.outcome.part} {minutes:2d}:{seconds:02d}] {text}", file=sys.stderr, flush=True)

    def end(self) -> Outcome:
        """The outcome, with the time that it took."""
        self.outcome.took_s = round(time.monotonic() - self._began, 1)
        return self.outcome
