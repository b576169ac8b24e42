"""Tables of the rows about text search, the transparency log and explanations, each figure beside its goal."""

from __future__ import annotations

from bench.explain_rows import explain_row
from bench.explain_session import KINDS, PARTS
from bench.figures import Figure, Figures
from bench.tables import NOTHING, Goal, cell, goal_cells, number, table

__all__ = ["GOALS", "explain_tables", "log_tables", "text_tables"]

_LOG_GOAL_SIZE = 1_000_000

GOALS = (
    Goal("text-ingest", "ratio", ">=", 0.10, "≥ 0.10"),
    Goal("text-ingest", "sustained_ratio", ">=", 0.05, "≥ 0.05"),
    Goal("text-ingest", "index_ratio", "<=", 0.4, "≤ 0.40"),
    Goal("text-million", "index_ratio", "<=", 0.4, "≤ 0.40"),
    Goal("log-cost", "ratio", ">=", 0.8, "≥ 0.80"),
    Goal(f"log-million: {_LOG_GOAL_SIZE}", "inclusion_p50_ms", "<=", 1.0, "≤ 1 ms"),
    Goal("log-verify", "rate", ">=", 60_000.0, "≥ 60,000"),
    *(Goal(explain_row(kind, 20), "whole_ms", "<=", 5.0, "≤ 5 ms") for kind in KINDS),
    *(Goal(explain_row(kind, 2_000), "whole_ms", "<=", 300.0, "≤ 300 ms") for kind in KINDS),
    *(Goal(f"explain, {kind}", "growth", "<=", 2.0, "near-linear: ≤ 2.0") for kind in KINDS),
)


def _facts(figures: Figures, entries: tuple[tuple[str, str, str, str], ...]) -> list[list[str]]:
    """A line for each (row, metric, label, unit) that was measured."""
    return [
        [label, cell(figures, row, metric, unit), *goal_cells(GOALS, figures, row, metric)]
        for row, metric, label, unit in entries
        if figures.values(row, metric)
    ]


def text_tables(figures: Figures) -> list[str]:
    """What the index costs, and how fast words are found."""
    ingest = _facts(
        figures,
        (
            ("text-ingest", "rate", "acknowledged, events/s", ""),
            ("limit-text-ingest", "rate", "the empty servicer, events/s", ""),
            ("text-ingest", "ratio", "acknowledged, of the empty servicer", ""),
            ("text-ingest", "sustained", "from the first event sent until the index holds the last, events/s", ""),
            ("text-ingest", "sustained_ratio", "… of the empty servicer", ""),
            ("text-ingest", "lag_max", "greatest lag seen, events", ""),
            ("text-ingest", "cpu_us", "CPU of server and index, µs per event", ""),
            ("text-ingest", "peak_mib", "peak memory, server and index together", " MiB"),
            ("text-ingest", "follower_mib", "… of the index's process", " MiB"),
            ("text-ingest", "index_ratio", "the index on disk, of the payload's bytes", ""),
        ),
    )
    lines: list[str] = []
    if ingest:
        events = f"{figures.settings['text_events']:,}"
        title = f"### Ingest while the text index is fed (gRPC batches of 100, 4 senders, {events} events)"
        lines += [title, "", *table(["What", "measured", "goal", ""], ingest)]
    million = f"{figures.settings['million']:,}"
    stored = _facts(
        figures,
        (
            ("text-million", "fill_rate", "acknowledged while filling, events/s", ""),
            ("text-million", "sustained", "from the first event sent until the index holds the last, events/s", ""),
            ("text-million", "index_cpu_us", "CPU to index an event, µs", ""),
            ("text-million", "index_bytes", "the index on disk, bytes per event", ""),
            ("text-million", "index_ratio", "… of the payload's bytes", ""),
            ("text-million", "peak_mib", "peak memory while filling, server and index together", " MiB"),
        ),
    )
    if stored:
        lines += [f"### The text index at {million} events", "", *table(["What", "measured", "goal", ""], stored)]
    return lines + _text_questions(figures, million)


def _text_questions(figures: Figures, million: str) -> list[str]:
    """A table for each state of the index, in the order in which they were measured."""
    tables: dict[str, list[list[str]]] = {}
    for figure in figures.all:
        if figure.metric != "p95_ms" or not figure.row.startswith("text-million, "):
            continue
        state, _, question = figure.row.removeprefix("text-million, ").partition(": ")
        times = [cell(figures, figure.row, metric) for metric in ("p50_ms", "p95_ms", "first_ms")]
        tables.setdefault(state, []).append([question, *times, *_milliseconds_goal(figure)])
    lines: list[str] = []
    for state, rows in tables.items():
        behind = "with an index that has caught up" if state == "caught up" else f"with an index {state.split()[1]} events behind"
        lines += [f"### Questions about words at {million} events, {behind}", ""]
        lines += ["Measured: the server's own time. Pages of 100.", ""]
        head = ["Question", "p50 ms", "p95 ms", "first call ms", "goal p95", ""]
        lines += table(head, [*rows, *_mix(figures, state)])
    return lines


def _mix(figures: Figures, state: str) -> list[list[str]]:
    """The p95 over all questions of a state, each of the same weight."""
    wanted = (f"text-million, {state}", "mix_p95_ms")
    return [
        ["every question the same", NOTHING, number(figure.value), NOTHING, *_milliseconds_goal(figure)]
        for figure in figures.all
        if (figure.row, figure.metric) == wanted
    ]


def _milliseconds_goal(figure: Figure) -> tuple[str, str]:
    goal_ms: float = figure.context["goal_ms"]
    return f"≤ {goal_ms:,.0f}", "met" if figure.value <= goal_ms else "**missed**"


def log_tables(figures: Figures) -> list[str]:
    """What the log costs, and how fast it proves, signs and is verified."""
    lines: list[str] = []
    if figures.values("log-cost", "ratio"):
        row = "log-cost"
        rows = [
            ["acknowledged events/s", *(cell(figures, row, f"rate_{name}") for name in ("without", "with"))],
            ["CPU µs per event, signing included", *(cell(figures, row, f"cpu_us_{name}") for name in ("without", "with"))],
            ["bytes on disk per event, stopped", *(cell(figures, row, f"disk_{name}") for name in ("without", "with"))],
        ]
        rows[0] += [cell(figures, row, "ratio"), *goal_cells(GOALS, figures, row, "ratio")]
        rows[1] += [cell(figures, row, "cpu_ratio"), NOTHING, ""]
        rows[2] += ["+ " + cell(figures, row, "disk_added"), NOTHING, ""]
        head = ["What", "without the log", "with the log", "kept", "goal", ""]
        lines += ["### What the log costs ingest (gRPC batches of 100, 4 senders)", "", *table(head, rows)]
    return lines + _proofs(figures) + _keeping(figures)


def _proofs(figures: Figures) -> list[str]:
    rows = []
    for size in figures.settings.get("log_sizes", ()):
        row = f"log-million: {size}"
        if not figures.values(row, "inclusion_p50_ms"):
            continue
        cells = [f"{size:,}"]
        for name in ("inclusion", "consistency", "evidence"):
            cells.append(" / ".join(cell(figures, row, f"{name}_{which}_ms") for which in ("p50", "p99")))
            if name == "inclusion":
                cells += goal_cells(GOALS, figures, row, "inclusion_p50_ms")
        cells += [cell(figures, row, metric) for metric in ("inclusion_hashes", "inclusion_bytes", "consistency_hashes")]
        rows.append([*cells, cell(figures, row, "evidence_bytes")])
    head = [
        *("Entries", "inclusion p50 / p99, ms", "goal p50", "", "consistency p50 / p99, ms", "evidence p50 / p99, ms"),
        *(
            "hashes of an inclusion proof, at most",
            "proof file, bytes",
            "hashes of a consistency proof, at most",
            "evidence, bytes",
        ),
    ]
    measured = "Measured: the server's own time, every proof checked by the server before it answers; random places and sizes."
    return ["### Proofs as the log grows", "", measured, "", *table(head, rows)] if rows else []


def _keeping(figures: Figures) -> list[str]:
    rows = _facts(
        figures,
        (
            ("log-verify", "rate", "`chaukas verify` on one core, events/s", ""),
            ("log-verify", "cpu_rate", "… by its processor time", ""),
            ("log-verify", "peak_mib", "… peak memory", " MiB"),
            ("log-heads", "heads_per_s", "heads signed per second, 500 tenants that all grow", ""),
            ("log-heads", "rate", "events/s acknowledged meanwhile", ""),
        ),
    )
    return ["### Verifying and signing", "", *table(["What", "measured", "goal", ""], rows)] if rows else []


_KIND_LABELS = {
    "recorded": "recordings and demonstration, repeated",
    "workload": "workload of the benchmark, all texts different",
}


def explain_tables(figures: Figures) -> list[str]:
    """Processor time and memory of an explanation as the session grows."""
    rows = []
    for kind in KINDS:
        for events in figures.settings.get("explain_sizes", ()):
            row = explain_row(kind, events)
            if not figures.values(row, "whole_ms"):
                continue
            parts = [cell(figures, row, f"{name}_ms") for name in PARTS]
            memory = [cell(figures, row, metric) for metric in ("us_per_event", "events_mib", "peak_mib")]
            whole = [cell(figures, row, "whole_ms"), *goal_cells(GOALS, figures, row, "whole_ms")]
            rows.append([_KIND_LABELS[kind], f"{events:,}", *whole, *parts, cell(figures, row, "first_ms"), *memory])
    if not rows:
        return []
    head = ["Session of", "events", "whole, ms", "goal", "", *(f"{name}, ms" for name in PARTS), "first time, ms"]
    head += ["µs per event", "process with the events, MiB", "peak, MiB"]
    lines = ["### Explanations as a session grows", "", "Processor time, one core, a process of its own.", "", *table(head, rows)]
    growth = _facts(
        figures,
        tuple(
            (f"explain, {kind}", "growth", f"time per event, largest to 2,000 events: {_KIND_LABELS[kind]}", "") for kind in KINDS
        ),
    )
    return lines + (table(["Growth", "measured", "goal", ""], growth) if growth else [])
