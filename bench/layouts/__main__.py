"""`python -m bench.layouts`: compare layouts of the embedded store; progress on standard error, a Markdown table at the end.

C is the driver's layout, C- the same without merged postings, N narrow rows, W wide rows. One layout after the other, each
in a process of its own on an empty directory, which must lie on a real disk.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.layouts.row_layout import QUESTIONS
from bench.layouts.trial import LAYOUTS, Measured, Plan, run_apart

__all__ = ["main", "markdown"]

_RESULTS = Path(__file__).resolve().parent.parent / "results"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.layouts", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events, 20 a session")
    parser.add_argument("--per-commit", type=int, default=1_000, help="events per transaction")
    parser.add_argument("--layout", default=",".join(LAYOUTS), help="which layouts, comma-separated")
    parser.add_argument("--ids", default="uuid7,random", help="which kinds of ids: uuid7, random")
    parser.add_argument("--seconds-max", type=float, default=120.0, help="stop a layout that spent so long in its appends")
    parser.add_argument("--directory", type=Path, default=_RESULTS, help="where data lies meanwhile: a real disk")
    return parser.parse_args()


def markdown(results: Sequence[Measured]) -> str:
    """One line for each layout and kind of id; rates in events per second at a size, answers as medians in milliseconds."""
    sizes = sorted({size for measured in results for size in measured.rates})
    head = [
        "layout",
        "ids",
        *(f"at {size:,}" for size in sizes),
        "CPU µs/event",
        "bytes/event",
        "written",
        *QUESTIONS,
        "memory MiB",
        "canary ms",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * (len(head) - 2)]
    for measured in results:
        rates = [f"{measured.rates[size]:,.0f}" if size in measured.rates else "-" for size in sizes]
        answers = [f"{measured.answers_ms[question]:.2f}" for question in QUESTIONS]
        cells = [
            measured.plan.layout,
            measured.plan.id_kind,
            *rates,
            f"{measured.cpu_us:.1f}",
            f"{measured.bytes_per_event:,.0f}",
            f"{measured.written_per_event:,.0f}",
        ]
        cells += [*answers, f"{measured.memory_mib:.0f}", f"{measured.canary_ms:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run the command."""
    options = _arguments()
    layouts, kinds = options.layout.split(","), options.ids.split(",")
    unknown = set(layouts) - set(LAYOUTS) or set(kinds) - {"uuid7", "random"}
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    options.directory.mkdir(parents=True, exist_ok=True)
    results: list[Measured] = []
    for kind in kinds:
        for layout in layouts:
            measured = run_apart(Plan(layout, kind, options.events, options.per_commit, options.seconds_max), options.directory)
            results.append(measured)
            print(markdown([measured]), file=sys.stderr, flush=True)
    print(markdown(results), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
