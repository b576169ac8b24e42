"""Markdown tables of what was measured, each figure beside its goal; `docs/benchmarks.md` takes them as they are.

python -m bench.report bench/results/RUN.json [RUN.json …] [--into docs/benchmarks.md]

Of several runs, each row is taken from the last one that has it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench.feature_tables import explain_tables, log_tables, text_tables
from bench.figures import Figures
from bench.million import MILLION_ROWS
from bench.tables import NOTHING, Goal, cell, goal_cells, table

__all__ = ["GOALS", "insert", "main", "markdown", "sections"]

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
    *(Goal(row, "index_ratio", "<=", 0.4, "≤ 0.40") for row in MILLION_ROWS),
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


def _loads(figures: Figures) -> list[str]:
    rows = []
    for row, (label, against) in _LOADS.items():
        if not figures.values(row, "rate"):
            continue
        compared = f"limit-{row}" if against == "empty servicer" else "grpc-batch-4"
        rows.append(
            [
                label,
                cell(figures, row, "rate"),
                cell(figures, row, "p50_ms") + " / " + cell(figures, row, "p99_ms"),
                cell(figures, row, "server_us"),
                cell(figures, row, "peak_mib"),
                f"{against}: {cell(figures, compared, 'rate')}",
                cell(figures, row, "ratio"),
                *goal_cells(GOALS, figures, row, "ratio"),
                cell(figures, row, "disk_stopped"),
            ]
        )
    for size in ("100", "1000"):
        row = f"bare-store-{size}"
        if figures.values(row, "rate"):
            label = f"bare store in one process, {int(size):,} in a transaction"
            times = cell(figures, row, "p50_ms") + " / " + cell(figures, row, "p99_ms")
            beside = [f"share that gRPC reaches: {cell(figures, 'grpc-batch-4', 'rate')}", cell(figures, row, "ratio")]
            disk = cell(figures, row, "disk_stopped")
            rows.append([label, cell(figures, row, "rate"), times, NOTHING, NOTHING, *beside, NOTHING, "", disk])
    if figures.values("prepare", "rate"):
        label = "parsing and preparing alone, one core"
        rows.append([label, cell(figures, "prepare", "rate"), *[NOTHING] * 6, "", NOTHING])
    beside_head = ["compared with, events/s", "ratio", "goal", ""]
    head = ["Load", "events/s", "call p50 / p99, ms", "CPU µs per event", "peak MiB", *beside_head, "bytes per event"]
    return ["### Acknowledged events per second", "", *table(head, rows)] if rows else []


def _growth(figures: Figures) -> list[str]:
    rows = []
    for row, label in (("growth", "UUIDv7, rising times"), ("growth-random", "UUIDv4 throughout, rising times")):
        if figures.values(row, "ratio"):
            cells = [cell(figures, row, metric) for metric in ("rate_small", "rate_large", "ratio")]
            cpu = " / ".join(cell(figures, row, metric) for metric in ("server_us_small", "server_us_large"))
            more = [cpu, cell(figures, row, "disk_running"), cell(figures, row, "peak_mib")]
            rows.append([label, *cells, *goal_cells(GOALS, figures, row, "ratio"), *more])
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
    return ["### As the store grows (gRPC batches of 100, 4 senders)", "", *table(head, rows)] if rows else []


#: How the store with a million events was filled.
_FILLED = {"million": "stored in batches of 1,000", "million-small": "stored in posts of 20"}


def _questions(figures: Figures, row: str) -> list[str]:
    rows, clocks = [], set()
    for figure in figures.all:
        if figure.metric != "p50_ms" or figure.run != 1 or not figure.row.startswith(row + ": "):
            continue
        value, goal = figures.median(figure.row, "p50_ms") or 0.0, figure.context["goal_ms"]
        clocks.add(figure.context["clock"])
        times = [cell(figures, figure.row, metric) for metric in ("p50_ms", "p99_ms", "first_ms")]
        rows.append([figure.row.removeprefix(row + ": "), *times, f"≤ {goal:.0f}", "met" if value <= goal else "**missed**"])
    if not rows:
        return []
    names = {"server": "the server's own time", "client": "the client's time, over a warm connection, the network included"}
    clock = " and ".join(names[clock] for clock in sorted(clocks))
    head = ["Question", "p50 ms", "p99 ms", "first call ms", "goal p50", ""]
    title = f"### Questions at {figures.settings['million']:,} events, {_FILLED[row]}"
    return [title, "", f"Measured: {clock}. Pages of 100, tenant and project given.", "", *table(head, rows)]


def _footprint(figures: Figures, row: str) -> list[str]:
    entries = (
        ("peak_mib", "peak memory, filling, questions and crashes", " MiB"),
        ("peak_mib_fill", "peak memory while filling", " MiB"),
        ("idle_mib", "memory at rest after filling", " MiB"),
        ("disk_running", "bytes on disk per event, running", ""),
        ("disk_running_ratio", "… of the payload's bytes", ""),
        ("disk_stopped", "bytes on disk per event, after a clean stop", ""),
        ("disk_stopped_ratio", "… of the payload's bytes", ""),
        ("index_ratio", "the text index beside it, of the payload's bytes", ""),
        ("ready_clean_s", "ready after a clean stop", " s"),
        ("ready_crash_s", "ready after `kill -9` under load", " s"),
        ("lost", "acknowledged events missing after `kill -9`", ""),
        ("stop_s", "time to stop on SIGTERM", " s"),
        ("fill_rate", "events/s while filling", ""),
    )
    rows = [
        [label, cell(figures, row, metric, unit), *goal_cells(GOALS, figures, row, metric)]
        for metric, label, unit in entries
        if figures.values(row, metric)
    ]
    title = f"### Memory, disk and readiness at {figures.settings['million']:,} events, {_FILLED[row]}"
    return [title, "", *table(["What", "measured", "goal", ""], rows)] if rows else []


def _ground(figures: Figures) -> str:
    """What the figures were measured on."""
    machine = figures.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    runs = figures.settings["runs"]
    ground = (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}; {packages}. Canary {machine['canary_ms']} ms, fdatasync {machine['fdatasync_ms']} ms. "
    )
    ground += f"Median of {runs} runs (lowest to highest)" if runs > 1 else "One run"
    return ground + "; server and senders share the cores."


def _base_tables(figures: Figures) -> list[str]:
    million = (line for row in MILLION_ROWS for line in (*_questions(figures, row), *_footprint(figures, row)))
    return [*_loads(figures), *_growth(figures), *million]


#: Section of the page -> what stands in it, and how its rows, and so its warnings, begin.
_SECTIONS: dict[str, tuple[Callable[[Figures], list[str]], tuple[str, ...]]] = {
    "figures": (_base_tables, ()),
    "text figures": (text_tables, ("text-",)),
    "log figures": (log_tables, ("log-",)),
    "explain figures": (explain_tables, ("explain",)),
}


def sections(figures: Figures) -> dict[str, str]:
    """The tables of each section of which something was measured, with the machine above and the warnings below."""
    found = {}
    elsewhere = tuple(beginning for _, beginnings in _SECTIONS.values() for beginning in beginnings)
    for name, (tables, beginnings) in _SECTIONS.items():
        if lines := tables(figures):
            own = [one for one in figures.warnings if one.startswith(beginnings or elsewhere) is bool(beginnings)]
            ends = [f"- {warning}" for warning in own] or ["No warnings."]
            found[name] = "\n".join([_ground(figures), "", *lines, *ends]) + "\n"
    return found


def markdown(figures: Figures) -> str:
    """All tables, with the machine above and the warnings below."""
    lines = [line for tables, _ in _SECTIONS.values() for line in tables(figures)]
    ends = [f"- {warning}" for warning in figures.warnings] or ["No warnings."]
    return "\n".join([_ground(figures), "", *lines, *ends]) + "\n"


def insert(page: str, tables: str, section: str = "figures") -> str:
    """The page with the tables between the two marks of a section. Raises `ValueError` when it has none."""
    begin, end = f"<!-- {section} begin -->", f"<!-- {section} end -->"
    before, found_begin, rest = page.partition(begin)
    _, found_end, behind = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page has no {begin} and {end}")
    return f"{before}{begin}\n\n{tables}\n{end}{behind}"


def main() -> int:
    """Print the tables of a kept run, or put them into a page."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="The tables of earlier runs.")
    parser.add_argument("result", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="replace the tables of the measured sections in this page")
    options = parser.parse_args()
    figures, *later = map(Figures.load, options.result)
    for one in later:
        figures.take(one)
    if options.into:
        page = options.into.read_text()
        # What this run did not measure stays as it is.
        for section, tables in sections(figures).items():
            page = insert(page, tables, section)
        options.into.write_text(page)
    else:
        print(markdown(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
