"""What was measured: a flat list of values, one for each row, metric and run, that becomes JSON and tables."""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["Figure", "Figures"]


@dataclass(frozen=True)
class Figure:
    """One value of one run; `context` says under what circumstances."""

    row: str
    metric: str
    run: int
    value: float
    context: dict[str, Any] = field(default_factory=dict)


class Figures:
    """Collects figures and tells on standard error what is going on."""

    def __init__(self, machine: dict[str, Any], settings: dict[str, Any]) -> None:
        self.machine, self.settings = machine, settings
        self.all: list[Figure] = []
        self.warnings: list[str] = []
        self._began = time.monotonic()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        document = json.loads(path.read_text())
        figures = cls(document["machine"], document["settings"])
        figures.warnings = document["warnings"]
        figures.all = [Figure(**figure) for figure in document["figures"]]
        return figures

    def take(self, later: Figures) -> None:
        """Put the rows of a later run beside these, in the place of those that both have. The machine is told of this run."""
        rows = {figure.row for figure in later.all}
        self.all = [figure for figure in self.all if figure.row not in rows] + later.all
        self.warnings = [one for one in self.warnings if one.partition(":")[0] not in rows] + later.warnings
        self.settings |= {"runs": max(self.settings["runs"], later.settings["runs"])}

    def add(self, row: str, metric: str, run: int, value: float, **context: object) -> None:
        """Keep a value."""
        self.all.append(Figure(row, metric, run, value, context))

    def say(self, text: str) -> None:
        """A line of progress with the minutes and seconds since the start."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"[{minutes:3d}:{seconds:02d}] {text}", file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Something that makes figures doubtful, or is wrong; it stands below the tables too."""
        self.warnings.append(text)
        self.say("WARNING: " + text)

    def values(self, row: str, metric: str) -> list[float]:
        """The values of all runs."""
        return [figure.value for figure in self.all if (figure.row, figure.metric) == (row, metric)]

    def median(self, row: str, metric: str) -> float | None:
        """Their median; None when nothing was measured."""
        values = self.values(row, metric)
        return statistics.median(values) if values else None

    def of_run(self, row: str, metric: str, run: int) -> float | None:
        """The value of one run."""
        found = [figure.value for figure in self.all if (figure.row, figure.metric, figure.run) == (row, metric, run)]
        return found[-1] if found else None

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        document = {
            "machine": self.machine,
            "settings": self.settings,
            "warnings": self.warnings,
            "seconds": round(time.monotonic() - self._began, 1),
            "figures": [asdict(figure) for figure in self.all],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")
