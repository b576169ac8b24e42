"""Rows about explanations: processor time and memory of a session's explanation as the session grows."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.explain_session import KINDS, PARTS
from bench.figures import Figures
from bench.plan import Plan
from bench.process import ROOT, clean_environment

__all__ = ["explain_row", "measure_explain"]


#: A session that takes longer is not explained; the figures then end with the size before.
_LIMIT_S = 300.0
#: Growth is told from here on: below, what every explanation costs hides it.
_GROWTH_FROM = 2_000


def explain_row(kind: str, events: int) -> str:
    """The name under which the figures of a session are kept."""
    return f"explain, {kind}: {events}"


def measure_explain(plan: Plan, figures: Figures) -> None:
    """Every kind and size once, each in a process of its own; small sessions are explained several times there."""
    for kind in KINDS:
        for events in plan.explain_sizes:
            command = [sys.executable, "-m", "bench.explain_session", kind, str(events)]
            try:
                output = subprocess.run(
                    command, cwd=ROOT, env=clean_environment(), check=True, stdout=subprocess.PIPE, text=True, timeout=_LIMIT_S
                ).stdout
            except subprocess.TimeoutExpired:
                figures.warn(f"{explain_row(kind, events)} took more than {_LIMIT_S:.0f} s")
                break
            _keep(figures, kind, events, json.loads(output))
        _keep_growth(plan, figures, kind)


def _keep(figures: Figures, kind: str, events: int, found: dict[str, float]) -> None:
    row = explain_row(kind, events)
    for metric in ("whole_ms", "first_ms", "events_mib", "peak_mib", *(f"{name}_ms" for name in PARTS)):
        figures.add(row, metric, 1, found[metric], repeats=found["repeats"])
    figures.add(row, "us_per_event", 1, found["whole_ms"] * 1_000 / events)
    figures.add(row, "payload_mib", 1, found["payload_bytes"] / 2**20)
    figures.say(f"{row}: {found['whole_ms']:.1f} ms, first {found['first_ms']:.1f} ms, peak {found['peak_mib']:.0f} MiB")


def _keep_growth(plan: Plan, figures: Figures, kind: str) -> None:
    """Time for an event in the largest session to that in one of 2,000."""
    small = figures.median(explain_row(kind, _GROWTH_FROM), "us_per_event")
    large = figures.median(explain_row(kind, plan.explain_sizes[-1]), "us_per_event")
    if small and large and plan.explain_sizes[-1] > _GROWTH_FROM:
        figures.add(f"explain, {kind}", "growth", 1, large / small, events=plan.explain_sizes[-1])
