"""Part `fsync`: one sync of a file fails with EIO under load; the requests that it was for fail clearly, nothing else happens.

strace makes the call fail in the kernel's place (`inject=`). It counts the calls of each thread for itself, so the number meets
the writer, a checkpoint, or the start itself, where it must end with words or succeed, but never hang.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from campaign.crashes import Crashes
from campaign.outcome import Stage
from tests.acceptance.started_server import running_server

__all__ = ["run"]

_LOAD_S = 2.5
#: The numbers of the call that fail, and which call; commits sync by fdatasync.
_FAULTS = (
    ("fdatasync", "12"), ("fdatasync", "40"), ("fsync", "3"), ("fdatasync", "25..27"),
    ("fdatasync", "90"), ("fsync,fdatasync", "60"), ("fdatasync", "5"), ("fdatasync", "30+30"),
)  # fmt: skip


def _failing_python(directory: Path, strace: str, calls: str, when: str) -> Path:
    """A program that is this Python, in which a call fails."""
    program = directory / "failing-python"
    # -D: the traced process is the child that was started, so that signals reach it and not strace.
    program.write_text(
        f"#!/bin/sh\nexec '{strace}' -D -f -qq -e trace={calls} -e inject={calls}:error=EIO:when={when} "
        f"-o '{directory / 'injected.txt'}' '{sys.executable}' \"$@\"\n"
    )
    program.chmod(0o755)
    return program


def run(stage: Stage) -> None:
    """A start with a failing sync, load, a kill, a start without; everything acknowledged is there."""
    strace = shutil.which("strace")
    if strace is None:
        stage.problem("strace is missing: scripts/install_test_tools.py installs it")
        return
    with running_server(stage.directory) as server, Crashes(stage, server, patient=True) as crashes:
        sound = server.python
        injected = refused_starts = recovered = 0
        for number in range(stage.plan.fsync_rounds):
            calls, when = _FAULTS[number % len(_FAULTS)]
            server.stop()
            server.python = _failing_python(stage.directory, strace, calls, when)
            try:
                server.start()
            except AssertionError:
                # The start itself met the failure and ended with words; the next one must succeed.
                refused_starts += 1
            else:
                recovered += _loads_through_it(crashes)
                crashes.kill()
            injected += (stage.directory / "injected.txt").read_text(errors="replace").count("(INJECTED)")
            server.python = sound
            crashes.start()
            crashes.read_everything()
        crashes.check_record()
    stage.bounded("syncs that failed", f"{injected:,}", "at least one", met=injected > 0)
    stage.figure("requests refused for it", crashes.load.refused)
    stage.figure("starts refused for it", refused_starts)
    rounds = stage.plan.fsync_rounds - refused_starts
    stage.bounded("goes on by itself after it", f"{recovered} of {rounds}", "all", met=recovered == rounds)


def _loads_through_it(crashes: Crashes) -> bool:
    """Whether events are acknowledged in the last part of the load, after whatever failed."""
    crashes.begin()
    time.sleep(_LOAD_S)
    acknowledged = len(crashes.load.acknowledged)
    give_up_at = time.monotonic() + 10
    while len(crashes.load.acknowledged) <= acknowledged and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return len(crashes.load.acknowledged) > acknowledged
