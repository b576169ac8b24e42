"""Does the rate hold as the store grows? A large store and a small one, measured in turns within the same minute."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from bench.figures import Figures
from bench.ingest_rows import batches, check_machine
from bench.load import fill
from bench.machine import wait_until_quiet
from bench.plan import Plan
from bench.process import ProductServer
from bench.workload import WorkloadSpec

__all__ = ["GROWTH_ROWS", "measure_growth"]

#: Row -> kind of ids.
GROWTH_ROWS = {"growth": "uuid7", "growth-random": "random"}

_PER_SESSION = 20


def measure_growth(plan: Plan, figures: Figures, home: Path, row: str, run: int) -> None:
    """One run: fill the large store, fill the small one, then windows of load on each in turn; ratio of the medians."""
    workload = WorkloadSpec(id_kind=GROWTH_ROWS[row])
    directory = home / f"{row}-{run}"
    large, small = ProductServer(directory / "large"), ProductServer(directory / "small")
    with large:
        wait_until_quiet()
        figures.say(f"{row}, run {run}: filling {plan.growth_large:,} events")
        filled = fill(large, workload, plan.growth_large // _PER_SESSION)
        figures.add(row, "fill_rate", run, filled.rate, **filled.machine)
        figures.say(f"{row}, run {run}: filled {filled.events:,} events at {filled.rate:,.0f} events/s")
        with small:
            batches(small, plan.growth_small, 0, workload)
            large.settle()
            small.settle()
            rates: dict[str, list[float]] = {"large": [], "small": []}
            server_us: dict[str, list[float]] = {"large": [], "small": []}
            next_session = {"large": plan.growth_large // _PER_SESSION, "small": plan.growth_small // _PER_SESSION}
            for _ in range(plan.growth_windows):
                for name, server in (("small", small), ("large", large)):
                    result = batches(server, plan.growth_window, next_session[name], workload, warm_up=3)
                    check_machine(figures, f"{row} {name}", result)
                    rates[name].append(result.rate)
                    server_us[name].append(result.server_us)
                    next_session[name] += result.stored_events // _PER_SESSION
                    server.settle()
            size, _ = large.record_bytes()
        figures.add(row, "peak_mib", run, large.peak_mib)
    stored = next_session["large"] * _PER_SESSION
    for name, values in rates.items():
        figures.add(row, f"rate_{name}", run, statistics.median(values), windows=values)
        figures.add(row, f"server_us_{name}", run, statistics.median(server_us[name]), windows=server_us[name])
    ratio = statistics.median(rates["large"]) / statistics.median(rates["small"])
    figures.add(row, "ratio", run, ratio)
    figures.add(row, "disk_running", run, size / stored)
    figures.say(
        f"{row}, run {run}: {statistics.median(rates['small']):,.0f} events/s at {plan.growth_small:,}, "
        f"{statistics.median(rates['large']):,.0f} at {plan.growth_large:,}: {ratio:.2f}"
    )
    shutil.rmtree(directory)
