"""`python -m bench.text_layouts`: compare layouts of the text index; progress on standard error, a Markdown table at the end.

F is the driver's (FTS5 with positions), C and N are FTS5 with detail=column and none, V is an index of our own by events, S one
by segments of 128 events. One after the other, each in a process of its own on an empty directory, which must lie on a real disk.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.text_layouts.trial import LAYOUTS, QUESTIONS, Measured, Plan, run_apart

__all__ = ["main", "markdown"]

_RESULTS = Path(__file__).resolve().parent.parent / "results"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.text_layouts", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=300_000, help="how many events, 20 a session")
    parser.add_argument("--layout", default=",".join(LAYOUTS), help="which layouts, comma-separated")
    parser.add_argument("--ids", default="uuid7", help="which kinds of ids: uuid7, random")
    parser.add_argument("--directory", type=Path, default=_RESULTS, help="where data lies meanwhile: a real disk")
    return parser.parse_args()


def markdown(results: Sequence[Measured]) -> str:
    """A line for each layout and kind of ids; processor microseconds per event, answers as median processor milliseconds."""
    sizes = sorted({size for measured in results for size in measured.cpu_us})
    head = ["layout", "ids", *(f"to {size:,}" for size in sizes), "CPU µs/event", "bytes/event", "of payload", "written"]
    head += [*QUESTIONS, "canary ms"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * (len(head) - 2)]
    for measured in results:
        cells = [measured.plan.layout, measured.plan.id_kind]
        cells += [f"{measured.cpu_us[size]:.1f}" if size in measured.cpu_us else "-" for size in sizes]
        cells += [f"{measured.cpu_us_in_all:.1f}", f"{measured.bytes_per_event:,.0f}", f"{measured.share_of_payload:.3f}"]
        cells += [f"{measured.written_per_event:,.0f}", *(f"{measured.answers_ms[question]:.1f}" for question in QUESTIONS)]
        cells.append(f"{measured.canary_ms:.1f}")
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
            measured = run_apart(Plan(layout, kind, options.events), options.directory)
            results.append(measured)
            print(markdown([measured]), file=sys.stderr, flush=True)
    print(markdown(results), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
