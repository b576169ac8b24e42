"""`python -m bench`: measure, print the tables on standard output, keep the figures below `bench/results/`."""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from bench.explain_rows import measure_explain
from bench.figures import Figures
from bench.growth import GROWTH_ROWS, measure_growth
from bench.ingest_rows import INGEST_ROWS, IngestBench
from bench.log_rows import measure_log_cost, measure_log_heads, measure_log_million
from bench.machine import describe
from bench.million import MILLION_ROWS, MillionBench
from bench.plan import FULL, QUICK, ROWS, Plan, with_needed
from bench.report import markdown
from bench.text_rows import TextMillionBench, measure_text_ingest

_RESULTS = Path(__file__).resolve().parent / "results"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the server. README.md beside this file says how."
    )
    parser.add_argument("--quick", action="store_true", help="one run with small counts: minutes, and no figures to quote")
    parser.add_argument("--only", metavar="ROW,ROW", help=f"some rows: {', '.join(ROWS)}")
    parser.add_argument("--runs", type=int, help="number of runs instead of the usual 3")
    parser.add_argument("--directory", type=Path, help="where data lies meanwhile: a real disk, no tmpfs (default bench/results)")
    return parser.parse_args()


def measure(plan: Plan, rows: list[str], figures: Figures, home: Path) -> None:
    """All rows: the runs go round, so that slow changes of the machine meet every row alike."""
    ingest = IngestBench(plan, figures, home)
    for run in range(1, plan.runs + 1):
        for row in rows:
            if row in INGEST_ROWS:
                ingest.measure(row, run)
    for run in range(1, plan.runs + 1):
        for row in rows:
            if row in GROWTH_ROWS:
                measure_growth(plan, figures, home, row, run)
    for row in rows:
        if row in MILLION_ROWS:
            MillionBench(plan, figures, home, row).measure()
    _measure_text(plan, rows, figures, home)
    _measure_log(plan, rows, figures, home)
    if "explain" in rows:
        measure_explain(plan, figures)


def _measure_text(plan: Plan, rows: list[str], figures: Figures, home: Path) -> None:
    if "text-ingest" in rows:
        for run in range(1, plan.runs + 1):
            measure_text_ingest(plan, figures, home, run)
    if "text-million" in rows:
        TextMillionBench(plan, figures, home).measure()


def _measure_log(plan: Plan, rows: list[str], figures: Figures, home: Path) -> None:
    for run in range(1, plan.runs + 1):
        if "log-cost" in rows:
            measure_log_cost(plan, figures, home, run)
        if "log-heads" in rows:
            measure_log_heads(plan, figures, home, run)
    if "log-million" in rows:
        measure_log_million(plan, figures, home)


def main() -> int:
    """Run the command; 0 also when goals are missed, because a benchmark reports."""
    options = _arguments()
    plan = QUICK if options.quick else FULL
    if options.runs:
        plan = replace(plan, runs=options.runs)
    try:
        rows = with_needed(options.only.split(",")) if options.only else list(ROWS)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    base = options.directory or _RESULTS
    base.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="run-", dir=base))
    figures = Figures(describe(home), asdict(plan) | {"rows": rows})
    figures.say(f"{plan.name}: {', '.join(rows)}; {plan.runs} runs")
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    result = _RESULTS / f"{stamp}-{plan.name}.json"
    try:
        measure(plan, rows, figures, home)
        shutil.rmtree(home)
    finally:
        # What was measured before something failed is still worth reading; so is the server's log in `home`.
        figures.save(result)
        print(markdown(figures))
        figures.say(f"figures are in {result}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
