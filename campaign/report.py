"""The report of a campaign as JSON and Markdown; `docs/reliability.md` takes it as it is.

python -m campaign.report campaign/results/RUN.json [RUN.json …] [--into docs/reliability.md]

Of several runs, each part is taken from the last one that has it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.report import insert
from campaign.outcome import Figure, Outcome

__all__ = ["Report", "main"]


@dataclass
class Report:
    """All parts of one run, with the circumstances."""

    machine: dict[str, Any]
    plan: str
    seed: int
    date: str
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All problems of all parts."""
        return [f"{outcome.part}: {problem}" for outcome in self.outcomes for problem in outcome.problems]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        document = json.loads(path.read_text())
        outcomes = [Outcome(**{**each, "figures": [Figure(**row) for row in each["figures"]]}) for each in document["outcomes"]]
        return cls(**{**document, "outcomes": outcomes})

    def markdown(self) -> str:
        """A table for each part, with the machine above."""
        return "\n".join([self._ground(), "", *(line for outcome in self.outcomes for line in self._part(outcome))])

    def parts(self) -> dict[str, str]:
        """The Markdown of each part, with what it was run on and how."""
        return {outcome.part: "\n".join(self._part(outcome)) for outcome in self.outcomes}

    def _ground(self) -> str:
        machine = self.machine
        packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
        return (
            f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
            f"Python {machine['python']}; {packages}. The clients share the cores with the server."
        )

    def _part(self, outcome: Outcome) -> list[str]:
        command = "python -m campaign" + (" --quick" if self.plan == "quick" else "")
        lines = [
            f"### {outcome.part}",
            "",
            f"`{command} --only {outcome.part} --seed {self.seed}`, {self.date}, {_duration(outcome.took_s)}",
            "",
            "| What | measured | bound |  |",
            "|---|---|---|---|",
        ]
        for figure in outcome.figures:
            verdict = ("kept" if figure.met else "**broken**") if figure.bound else ""
            lines.append(f"| {figure.what} | {figure.measured} | {figure.bound or '-'} | {verdict} |")
        lines.append("")
        remarks = [f"- {note}" for note in outcome.notes] + [f"- **Problem**: {problem}" for problem in outcome.problems]
        return [*lines, *remarks, *([""] if remarks else [])]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def main() -> int:
    """Print the report of earlier runs, or put it into a page."""
    parser = argparse.ArgumentParser(prog="python -m campaign.report", description="The report of earlier runs.")
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="replace what stands between the marks of this page")
    options = parser.parse_args()
    reports = [Report.load(path) for path in options.results]
    parts: dict[str, str] = {}
    for report in reports:
        parts |= report.parts()
    text = "\n".join([reports[-1].markdown().partition("\n")[0], "", *parts.values()])
    if options.into:
        options.into.write_text(insert(options.into.read_text(), text))
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
