"""Markdown tables of what was measured, each figure beside its goal; `docs/benchmarks.md` takes them as they are.

python -m bench.report bench/results/RUN.json [--into docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import operator
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figures
from bench.million import MILLION_ROWS

__all__ = ["GOALS", "Goal", "insert", "main", "markdown"]

#: Stands in a cell for which there is no figure or no goal.
_NOTHING = "-"


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


#: The goals of the project for rates, memory, disk and readiness. Those of questions stand beside the questions.
GOALS = (
    Goal("grpc-batch-4", "ratio", ">=", 0.10, "≥ 0.10 (aim 0.15)"),
    Goal("single-64", "ratio", ">=", 0.5, "≥ 0.50"),
    Goal("http-20", "ratio", ">=", 0.5, "≥ 0.50"),
    Goal("growth", "ratio", ">=", 0.9, "≥ 0.90"),
    Goal("growth-random", "ratio", ">=", 0.6, "≥ 0.60"),
    *(Goal(row, "peak_mib", "<=", 300.0, "≤ 300 MiB") for row in MILLION_ROWS),
    *(Goal(row, "disk_running_ratio", "<=", 0.8, "≤ 0.80") for row in MILLION_ROWS),
    *(Goal(row, "disk_stopped_ratio", "<=", 0.8, "≤ 0.80") for row in MILLION_ROWS),
    *(Goal(row, "ready_clean_s", "<=", 2.0, "≤ 2 s") for row in MILLION_ROWS),
    *(Goal(row, "ready_crash_s", "<=", 2.0, "≤ 2 s") for row in MILLION_ROWS),
    *(Goal(row, "lost", "<=", 0.0, "0") for row in MILLION_ROWS),
)

_LOADS = {
    "grpc-batch-1": ("gRPC batches of 100, 1 sender", "empty servicer"),
    "grpc-batch-4": ("gRPC batches of 100, 4 senders", "empty servicer"),
    "single-64": ("gRPC single events, 64 in flight", "empty servicer"),
    "http-20": ("HTTP posts of 20, 4 senders", "gRPC, 4 senders"),
    "random-ids": ("gRPC batches of 100, 4 senders, random ids", "gRPC, 4 senders"),
    "tenants-500": ("gRPC batches of 100, 4 senders, 500 tenants", "gRPC, 4 senders"),
}


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(figures: Figures, row: str, metric: str, unit: str = "") -> str:
    """Median, and what the runs ranged over; empty when nothing was measured."""
    values = figures.values(row, metric)
    if not values:
        return _NOTHING
    text = _number(statistics.median(values)) + unit
    if len(values) > 1 and _number(min(values)) != _number(max(values)):
        text += f" ({_number(min(values))} to {_number(max(values))})"
    return text


def _goal(figures: Figures, row: str, metric: str) -> tuple[str, str]:
    for goal in GOALS:
        if (goal.row, goal.metric) == (row, metric):
            return goal.text, goal.verdict(figures)
    return _NOTHING, ""


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _loads(figures: Figures) -> list[str]:
    rows = []
    for row, (label, against) in _LOADS.items():
        if not figures.values(row, "rate"):
            continue
        compared = f"limit-{row}" if against == "empty servicer" else "grpc-batch-4"
        rows.append(
            [
                label,
                _cell(figures, row, "rate"),
                _cell(figures, row, "p50_ms") + " / " + _cell(figures, row, "p99_ms"),
                _cell(figures, row, "server_us"),
                _cell(figures, row, "peak_mib"),
                f"{against}: {_cell(figures, compared, 'rate')}",
                _cell(figures, row, "ratio"),
                *_goal(figures, row, "ratio"),
                _cell(figures, row, "disk_stopped"),
            ]
        )
    for size in ("100", "1000"):
        row = f"bare-store-{size}"
        if figures.values(row, "rate"):
            label = f"bare store in one process, {int(size):,} in a transaction"
            times = _cell(figures, row, "p50_ms") + " / " + _cell(figures, row, "p99_ms")
            beside = [f"share that gRPC reaches: {_cell(figures, 'grpc-batch-4', 'rate')}", _cell(figures, row, "ratio")]
            disk = _cell(figures, row, "disk_stopped")
            rows.append([label, _cell(figures, row, "rate"), times, _NOTHING, _NOTHING, *beside, _NOTHING, "", disk])
    if figures.values("prepare", "rate"):
        label = "parsing and preparing alone, one core"
        rows.append([label, _cell(figures, "prepare", "rate"), *[_NOTHING] * 6, "", _NOTHING])
    beside_head = ["compared with, events/s", "ratio", "goal", ""]
    head = ["Load", "events/s", "call p50 / p99, ms", "CPU µs per event", "peak MiB", *beside_head, "bytes per event"]
    return ["### Acknowledged events per second", "", *_table(head, rows)] if rows else []


def _growth(figures: Figures) -> list[str]:
    rows = []
    for row, label in (("growth", "UUIDv7, rising times"), ("growth-random", "UUIDv4 throughout, rising times")):
        if figures.values(row, "ratio"):
            cells = [_cell(figures, row, metric) for metric in ("rate_small", "rate_large", "ratio")]
            cpu = " / ".join(_cell(figures, row, metric) for metric in ("server_us_small", "server_us_large"))
            more = [cpu, _cell(figures, row, "disk_running"), _cell(figures, row, "peak_mib")]
            rows.append([label, *cells, *_goal(figures, row, "ratio"), *more])
    small, large = (f"{figures.settings[name]:,}" for name in ("growth_small", "growth_large"))
    head = [
        "Ids",
        f"events/s at {small} stored",
        f"at {large} stored",
        "ratio",
        "goal",
        "",
        "CPU µs per event, small / large",
        "bytes per event",
        "peak MiB",
    ]
    return ["### As the store grows (gRPC batches of 100, 4 senders)", "", *_table(head, rows)] if rows else []


#: How the store with a million events was filled.
_FILLED = {"million": "stored in batches of 1,000", "million-small": "stored in posts of 20"}


def _questions(figures: Figures, row: str) -> list[str]:
    rows, clocks = [], set()
    for figure in figures.all:
        if figure.metric != "p50_ms" or figure.run != 1 or not figure.row.startswith(row + ": "):
            continue
        value, goal = figures.median(figure.row, "p50_ms") or 0.0, figure.context["goal_ms"]
        clocks.add(figure.context["clock"])
        times = [_cell(figures, figure.row, metric) for metric in ("p50_ms", "p99_ms", "first_ms")]
        rows.append([figure.row.removeprefix(row + ": "), *times, f"≤ {goal:.0f}", "met" if value <= goal else "**missed**"])
    if not rows:
        return []
    names = {"server": "the server's own time", "client": "the client's time, over a warm connection, the network included"}
    clock = " and ".join(names[clock] for clock in sorted(clocks))
    head = ["Question", "p50 ms", "p99 ms", "first call ms", "goal p50", ""]
    title = f"### Questions at {figures.settings['million']:,} events, {_FILLED[row]}"
    return [title, "", f"Measured: {clock}. Pages of 100, tenant and project given.", "", *_table(head, rows)]


def _footprint(figures: Figures, row: str) -> list[str]:
    entries = (
        ("peak_mib", "peak memory, filling, questions and crashes", " MiB"),
        ("peak_mib_fill", "peak memory while filling", " MiB"),
        ("idle_mib", "memory at rest after filling", " MiB"),
        ("disk_running", "bytes on disk per event, running", ""),
        ("disk_running_ratio", "… of the payload's bytes", ""),
        ("disk_stopped", "bytes on disk per event, after a clean stop", ""),
        ("disk_stopped_ratio", "… of the payload's bytes", ""),
        ("ready_clean_s", "ready after a clean stop", " s"),
        ("ready_crash_s", "ready after `kill -9` under load", " s"),
        ("lost", "acknowledged events missing after `kill -9`", ""),
        ("stop_s", "time to stop on SIGTERM", " s"),
        ("fill_rate", "events/s while filling", ""),
    )
    rows = [
        [label, _cell(figures, row, metric, unit), *_goal(figures, row, metric)]
        for metric, label, unit in entries
        if figures.values(row, metric)
    ]
    title = f"### Memory, disk and readiness at {figures.settings['million']:,} events, {_FILLED[row]}"
    return [title, "", *_table(["What", "measured", "goal", ""], rows)] if rows else []


def markdown(figures: Figures) -> str:
    """All tables, with the machine above and the warnings below."""
    machine = figures.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    runs = figures.settings["runs"]
    ground = (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}; {packages}. Canary {machine['canary_ms']} ms, fdatasync {machine['fdatasync_ms']} ms. "
    )
    ground += f"Median of {runs} runs (lowest to highest)" if runs > 1 else "One run"
    lines = [
        ground + "; server and senders share the cores.",
        "",
        *_loads(figures),
        *_growth(figures),
        *(line for row in MILLION_ROWS for line in (*_questions(figures, row), *_footprint(figures, row))),
    ]
    lines += [f"- {warning}" for warning in figures.warnings] or ["No warnings."]
    return "\n".join(lines) + "\n"


_BEGIN, _END = "<!-- figures begin -->", "<!-- figures end -->"


def insert(page: str, tables: str) -> str:
    """The page with the tables between its two marks. Raises `ValueError` when it has none."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, behind = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no {_BEGIN} and {_END}")
    return f"{before}{_BEGIN}\n\n{tables}\n{_END}{behind}"


def main() -> int:
    """Print the tables of a kept run, or put them into a page."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="The tables of an earlier run.")
    parser.add_argument("result", type=Path)
    parser.add_argument("--into", type=Path, metavar="PAGE", help="replace what stands between the marks of this page")
    options = parser.parse_args()
    tables = markdown(Figures.load(options.result))
    if options.into:
        options.into.write_text(insert(options.into.read_text(), tables))
    else:
        print(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
