"""Part `fuzz`: changed requests against everything that reads what strangers send; no crash, no hang, no status of 5xx.

Most inputs go to the functions directly, in a process of its own that is given chunks of them: a chunk is repeated from its
number, so even a process that dies tells what it died of. Then a fuzzer that watches which code its inputs reach (atheris) works
on the same targets for a while, and the last inputs go to a real server.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import queue
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from campaign.fuzz_http import fuzz_over_http
from campaign.fuzz_targets import TARGETS, attempt
from campaign.mutation import corpus, mutated
from campaign.outcome import Stage

__all__ = ["fuzz_chunk", "run"]

_CHUNK = 5_000
_INPUT_S_MAX = 5
_SHOWN_MAX = 10
_ROOT = Path(__file__).resolve().parent.parent
_EXECUTED = re.compile(r"number_of_executed_units:\s*(\d+)")


@dataclass(slots=True)
class _Chunk:
    inputs: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    findings: list[str] = field(default_factory=list)


class _Hang(BaseException):
    """Not an `Exception`: nothing that is fuzzed may catch it."""


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise _Hang


def fuzz_chunk(name: str, seed: int, number: int, count: int) -> _Chunk:
    """The inputs of one chunk against one target; what comes out depends on the arguments alone."""
    target, chance, chunk = TARGETS[name], random.Random(f"{seed}-{name}-{number}"), _Chunk()
    signal.signal(signal.SIGALRM, _alarm)
    for _ in range(count):
        data = mutated(name, chance)
        began = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, _INPUT_S_MAX)
        try:
            chunk.refused += not attempt(target, data)
        except _Hang:
            chunk.findings.append(f"{name}: hangs on {data.hex()}")
        except Exception as error:  # noqa: BLE001  the finding itself
            chunk.findings.append(f"{name}: {type(error).__name__}: {error} on {data.hex()}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        chunk.inputs += 1
        chunk.slowest_s = max(chunk.slowest_s, time.perf_counter() - began)
    return chunk


def run(stage: Stage) -> None:
    """All three ways."""
    _directly(stage)
    _guided(stage)
    fuzz_over_http(stage)


class _Worker:
    """A process that is given one chunk at a time; when it dies, the chunk is known, and another process takes its place."""

    def __init__(self) -> None:
        self._pool = self._new()

    def fuzz(self, name: str, seed: int, number: int, count: int) -> _Chunk:
        """What `fuzz_chunk` gives, or that the process died of it."""
        try:
            return self._pool.submit(fuzz_chunk, name, seed, number, count).result()
        except BrokenProcessPool:
            self._pool = self._new()
            return _Chunk(count, findings=[f"{name}: the process died in chunk {number} of seed {seed}"])

    def end(self) -> None:
        """No more chunks."""
        self._pool.shutdown()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _directly(stage: Stage) -> None:
    """The plan's inputs, spread evenly over the targets, by as many workers as there are processors."""
    began, total = time.monotonic(), _Chunk()
    per_target = stage.plan.fuzz_inputs // len(TARGETS)
    workers = [_Worker() for _ in range(len(os.sched_getaffinity(0)))]
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def fuzz(name: str, first: int) -> _Chunk:
        worker = idle.get()
        try:
            return worker.fuzz(name, stage.seed, first // _CHUNK, min(_CHUNK, per_target - first))
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(len(workers)) as threads:
        for name in TARGETS:
            for chunk in threads.map(partial(fuzz, name), range(0, per_target, _CHUNK)):
                total.inputs += chunk.inputs
                total.refused += chunk.refused
                total.slowest_s = max(total.slowest_s, chunk.slowest_s)
                total.findings += chunk.findings
            stage.say(f"{name}: {total.inputs:,} inputs so far, {len(total.findings)} findings")
    for worker in workers:
        worker.end()
    for finding in total.findings[:_SHOWN_MAX]:
        stage.problem(finding)
    findings = len(total.findings)
    stage.bounded("inputs to functions", f"{total.inputs:,}", "no finding", met=findings == 0)
    stage.figure("… refused as wrong", total.refused)
    stage.figure("… per second", f"{total.inputs / (time.monotonic() - began):,.0f}")
    stage.figure("… slowest", f"{total.slowest_s * 1_000:.0f} ms")


def _guided(stage: Stage) -> None:
    """Each target for some seconds under atheris, which keeps inputs that reach new code."""
    if importlib.util.find_spec("atheris") is None:
        stage.note("atheris is not installed here (extra `campaign`; it has no build for this Python): no guided fuzzing")
        return
    executed, found = 0, 0
    for name in TARGETS:
        directory = stage.directory / name
        directory.mkdir()
        for number, seed in enumerate(corpus(name)):
            (directory / f"seed-{number:04}").write_bytes(seed)
        command = [sys.executable, "-m", "campaign.guided", name, str(directory), f"-max_total_time={stage.plan.fuzz_guided_s}"]
        command += [f"-seed={stage.seed & 0x7FFFFFFF}", f"-timeout={_INPUT_S_MAX}", f"-artifact_prefix={stage.directory}/{name}-"]
        done = subprocess.run(command, cwd=_ROOT, check=False, capture_output=True, text=True, errors="replace")
        executed += sum(map(int, _EXECUTED.findall(done.stderr)))
        if done.returncode:
            found += 1
            inputs = [path.read_bytes().hex() for path in stage.directory.glob(f"{name}-*")]
            stage.problem(f"{name}, guided: {done.stderr[-1500:]} on {inputs[:_SHOWN_MAX]}")
    stage.bounded("inputs guided by coverage (atheris)", f"{executed:,}", "no finding", met=found == 0)
