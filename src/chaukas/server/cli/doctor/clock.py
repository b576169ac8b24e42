"""The clock that stamps what the server receives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from chaukas.server.cli.doctor.finding import Finding, ok, problem, warning

__all__ = ["check_clock"]

_CHECK: Final = "clock"
_S_NS: Final = 1_000_000_000
#: No server of this version can have run before 2025, and a battery that is empty says 1970 or 2000.
_EARLIEST_NS: Final = 1_735_689_600 * _S_NS
_LATEST_NS: Final = 4_102_444_800 * _S_NS
_WATCHED_S: Final = 0.1
#: A clock that is being adjusted slowly differs by 0.05 % at most (adjtime(3)); this is a step.
_STEP_NS: Final = 20_000_000
#: Two processes that stamp at the same time.
_SLACK_NS: Final = _S_NS


def check_clock(
    newest_received_at_ns: int | None,
    *,
    now_ns: Callable[[], int] = time.time_ns,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Finding]:
    """Whether it is sane, runs evenly, and is not behind what the record has seen."""
    wall, steady = now_ns(), monotonic_ns()
    sleep(_WATCHED_S)
    drift_ns = (now_ns() - wall) - (monotonic_ns() - steady)
    shown = f"{datetime.fromtimestamp(wall // _S_NS, UTC):%Y-%m-%d %H:%M:%S} UTC" if 0 <= wall < 2 * _LATEST_NS else str(wall)
    if not _EARLIEST_NS <= wall < _LATEST_NS:
        yield problem(_CHECK, f"it says {shown}", "set the clock, and keep it right with NTP")
    elif newest_received_at_ns is not None and newest_received_at_ns > wall + _SLACK_NS:
        ahead_s = (newest_received_at_ns - wall) / _S_NS
        yield problem(
            _CHECK,
            f"it says {shown}, {ahead_s:,.0f} s before the newest event of the record was received",
            "set the clock; if the record was written by a clock that was ahead, times of receipt stand still until then",
        )
    elif abs(drift_ns) > _STEP_NS:
        yield warning(
            _CHECK,
            f"it jumped by {drift_ns / 1e6:+,.0f} ms while it was watched for {_WATCHED_S * 1000:.0f} ms",
            "let one service alone set it, slowly",
        )
    else:
        behind = "" if newest_received_at_ns is None else ", not behind the record"
        yield ok(_CHECK, f"{shown}, runs evenly{behind}")
