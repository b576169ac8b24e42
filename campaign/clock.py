"""Part `clock`: the system's clock jumps back and forward, by seconds and by years, under load, across kills and starts.

libfaketime stands between the process and the system's wall clock, so that everything in it sees the same time: Python, SQLite,
gRPC. The steady clock, by which timeouts run, goes on as it does when somebody sets the time of a machine.
"""

from __future__ import annotations

import importlib.util
import itertools
import random
import sys
import time
from pathlib import Path

from campaign.crashes import Crashes
from campaign.outcome import Stage
from tests.acceptance.started_server import StartedServer, running_server
from tests.faults.load import each_event

__all__ = ["run"]

_JUMPS_PER_ROUND = 4
_JUMPS = ("-1s", "+1s", "-90s", "+2h", "-1h", "-1d", "+40d", "-400d", "+3000d", "-9000d", "+0")


class _Clock:
    """A Python whose clock is off by what stands in a file, which is read again at every look at the clock."""

    def __init__(self, directory: Path, library: Path) -> None:
        self._setting = directory / "clock"
        self.set("+0")
        self.python = directory / "clocked-python"
        self.python.write_text(
            f"#!/bin/sh\nLD_PRELOAD='{library}' FAKETIME_TIMESTAMP_FILE='{self._setting}' FAKETIME_NO_CACHE=1 "
            f"FAKETIME_DONT_FAKE_MONOTONIC=1 exec '{sys.executable}' \"$@\"\n"
        )
        self.python.chmod(0o755)

    def set(self, offset: str) -> None:
        new = self._setting.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self._setting)


def _library() -> Path | None:
    """The shared library that the distribution `libfaketime` brings along."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.rglob("libfaketime.so.1"), None)


def run(stage: Stage) -> None:
    """Set the clock while the server works and while it is dead; the times of reception never fall within a log."""
    library = _library()
    if library is None:
        stage.problem("libfaketime is missing: install the extra `campaign`")
        return
    clock = _Clock(stage.directory, library)
    chance, jumps, starts_in_the_past = stage.chance, 0, 0
    with running_server(stage.directory, python=clock.python) as server, Crashes(stage, server) as crashes:
        for number in range(stage.plan.clock_rounds):
            crashes.begin()
            for _ in range(_JUMPS_PER_ROUND):
                _pause(chance)
                clock.set(chance.choice(_JUMPS))
                jumps += 1
            _pause(chance)
            crashes.kill()
            # Every other start finds a clock that stands before everything that was stored.
            clock.set("-9100d" if number % 2 else chance.choice(_JUMPS))
            starts_in_the_past += number % 2
            crashes.start()
            crashes.read_everything()
        fallen = _fallen(server)
        crashes.check_record()
    stage.figure("jumps of the clock under load", jumps)
    stage.figure("starts with a clock before all that is stored", starts_in_the_past)
    stage.none("places in a log at which the time of reception falls", fallen)


def _pause(chance: random.Random) -> None:
    time.sleep(chance.uniform(0.1, 0.5))


def _fallen(server: StartedServer) -> int:
    """How often an event of a log was received before the one in front of it, by what the server answers."""
    logs: dict[str, list[tuple[int, int]]] = {}
    for event in each_event(server):
        origin, _, index = event.worm_proof_id.rpartition("#")
        logs.setdefault(origin, []).append((int(index), event.server_timestamp.ToNanoseconds()))
    fallen = 0
    for places in logs.values():
        received = [at_ns for _, at_ns in sorted(places)]
        fallen += sum(later < earlier for earlier, later in itertools.pairwise(received))
    return fallen
