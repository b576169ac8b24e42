"""`python -m campaign`: run the parts, print the report on standard output, keep it as JSON below `campaign/results/`."""

from __future__ import annotations

import argparse
import datetime as dt
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from bench.machine import describe
from campaign import abuse, clock, disk, fsync, fuzz, kills, openapi, soak
from campaign.outcome import Outcome, Stage
from campaign.plan import FULL, QUICK, Plan
from campaign.report import Report

_RESULTS = Path(__file__).resolve().parent / "results"
_PARTS: dict[str, Callable[[Stage], None]] = {
    "kills": kills.run,
    "disk": disk.run,
    "clock": clock.run,
    "fsync": fsync.run,
    "soak": soak.run,
    "abuse": abuse.run,
    "fuzz": fuzz.run,
    "schemathesis": openapi.run,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m campaign", description="Look for what tests of seconds do not find. README.md beside this file says how."
    )
    parser.add_argument("--quick", action="store_true", help="five minutes instead of an hour")
    parser.add_argument("--only", metavar="PART,PART", help=f"some parts: {', '.join(_PARTS)}")
    parser.add_argument("--seed", type=int, help="begin of all chance; a random one is taken and told without it")
    parser.add_argument("--directory", type=Path, help="where data lies meanwhile: a real disk (default campaign/results)")
    return parser.parse_args()


def run_part(part: str, plan: Plan, seed: int, home: Path) -> Outcome:
    """One part to its end; what ends it early is a problem of its own, and the other parts go on."""
    stage = Stage(part, plan, seed, home / part)
    stage.say("begins")
    try:
        _PARTS[part](stage)
    except Exception as error:  # noqa: BLE001  the edge: a part that fails must not cost the figures of the others
        stage.problem(f"ended early: {''.join(traceback.format_exception_only(error)).strip()}")
        traceback.print_exc()
    outcome = stage.end()
    if not outcome.problems:
        # What a part without problems leaves behind tells nothing.
        shutil.rmtree(stage.directory)
    return outcome


def main() -> int:
    """Run the command; 1 when anything was found."""
    options = _arguments()
    plan = QUICK if options.quick else FULL
    parts = options.only.split(",") if options.only else list(_PARTS)
    unknown = [part for part in parts if part not in _PARTS]
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are {', '.join(_PARTS)}", file=sys.stderr)
        return 2
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 32)
    base = options.directory or _RESULTS
    for directory in (base, _RESULTS):
        directory.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="run-", dir=base))
    now = dt.datetime.now(dt.UTC)
    report = Report(describe(home), plan.name, seed, now.strftime("%Y-%m-%d"))
    result = _RESULTS / f"{now:%Y%m%dT%H%M%SZ}-{plan.name}.json"
    for part in parts:
        report.outcomes.append(run_part(part, plan, seed, home))
        report.save(result)
    print(report.markdown())
    if not report.problems:
        shutil.rmtree(home)
    print(f"the report is in {result}", file=sys.stderr)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
