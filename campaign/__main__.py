"""`python -m campaign`: run the parts, print the report on standard output, keep it as JSON below `campaign/results/`."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

from bench.machine import describe
from campaign import abuse, clock, disk, fsync, fuzz, kills, openapi, soak
from campaign.outcome import Outcome, Stage
from campaign.plan import FULL, QUICK, Plan
from campaign.report import Report

#: How long what a killed server had started may take to notice that.
_END_S = 15.0
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


class _TooLongError(Exception):
    """A part that did not end; no kind of `OSError`, which clients expect and pass over."""


def _too_long(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _TooLongError("the part took longer than its plan allows")


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    # As an exception, so that every server that was started is ended on the way out.
    sys.exit(128 + signal.SIGTERM)


def run_part(part: str, plan: Plan, seed: int, home: Path) -> Outcome:
    """One part to its end; what ends it early is a problem of its own, and the other parts go on."""
    stage = Stage(part, plan, seed, home / part)
    stage.say("begins")
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(plan.part_s_max)
    try:
        _PARTS[part](stage)
    except Exception as error:  # noqa: BLE001  the edge: a part that fails must not cost the figures of the others
        stage.problem(f"ended early: {''.join(traceback.format_exception_only(error)).strip()}")
        traceback.print_exc()
    finally:
        signal.alarm(0)
        _end_leftovers(stage)
    outcome = stage.end()
    if not outcome.problems:
        # What a part without problems leaves behind tells nothing.
        shutil.rmtree(stage.directory, ignore_errors=True)
    return outcome


def _end_leftovers(stage: Stage) -> None:
    """Nothing that works in the part's directory outlives the part: what does is a problem of its own, and is ended."""
    give_up_at = time.monotonic() + _END_S
    while (left := _working_below(stage.directory)) and time.monotonic() < give_up_at:
        time.sleep(0.25)
    for process in left:
        with contextlib.suppress(psutil.Error):
            stage.problem(f"a process was left behind: {' '.join(process.cmdline())[:300]}")
            process.kill()


def _working_below(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(directory) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


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
    signal.signal(signal.SIGTERM, _terminated)
    now = dt.datetime.now(dt.UTC)
    report = Report(describe(home), plan.name, seed, now.strftime("%Y-%m-%d"))
    result = _RESULTS / f"{now:%Y%m%dT%H%M%SZ}-{plan.name}.json"
    for part in parts:
        report.outcomes.append(run_part(part, plan, seed, home))
        report.save(result)
    print(report.markdown())
    if not report.problems:
        shutil.rmtree(home, ignore_errors=True)
    print(f"the report is in {result}", file=sys.stderr)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
