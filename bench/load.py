"""Load: starts sender processes, lets them go at the same moment, and adds up what they report."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench.machine import Interval, canary_ms
from bench.process import ROOT, ServerProcess
from bench.sender import SenderOrder, SenderReport
from bench.workload import WorkloadSpec

__all__ = ["LoadResult", "Senders", "fill", "percentile", "run_load"]


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@dataclass
class LoadResult:
    """One load, from the first sender's start to the last one's end."""

    events: int
    payload_bytes: int
    #: Acknowledged while senders warmed up; stored, but neither timed nor in `events`.
    warm_up_events: int
    warm_up_bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    busy: int
    machine: dict[str, float] = field(default_factory=dict)
    #: When the first sender began, in seconds of the machine's monotonic clock.
    began_at: float = 0.0

    @property
    def rate(self) -> float:
        """Acknowledged events per second."""
        return self.events / self.seconds if self.seconds > 0 else 0.0

    @property
    def server_us(self) -> float:
        """Processor time of the server for one event in microseconds, on all cores; other processes hardly disturb it."""
        return self.machine["server_s"] * 1e6 / self.events if self.events else 0.0

    @property
    def stored_events(self) -> int:
        """All that the server now has to have because of this load."""
        return self.events + self.warm_up_events

    @property
    def stored_bytes(self) -> int:
        """Their payload in bytes."""
        return self.payload_bytes + self.warm_up_bytes


class Senders:
    """Sender processes for one load; used in two steps, so that preparation is over when the clock starts."""

    def __init__(self, server: ServerProcess, order: SenderOrder, count: int) -> None:
        self._server = server
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for number in range(count):
                process = subprocess.Popen(
                    [sys.executable, "-m", "bench.sender"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
                self._processes.append(process)
                self._say(process, json.dumps(asdict(replace(order, sender=number, senders=count))))
            for process in self._processes:
                self._expect(process, "ready")
        except BaseException:
            self.end()
            raise

    def go(self) -> None:
        """Start the clock and all senders."""
        self._canary_ms = canary_ms()
        self._interval = Interval(self._server.pid)
        self._interval.start()
        for process in self._processes:
            self._say(process, "go")

    def result(self) -> LoadResult:
        """Wait for all senders and add up."""
        reports: list[SenderReport] = []
        try:
            reports.extend(SenderReport(**json.loads(self._expect(process, "{"))) for process in self._processes)
        finally:
            self.end()
        machine: dict[str, Any] = self._interval.stop(sum(report.cpu_s for report in reports))
        machine["canary_ms"] = self._canary_ms
        latencies = [latency for report in reports for latency in report.latencies_s]
        return LoadResult(
            events=sum(report.events for report in reports),
            payload_bytes=sum(report.payload_bytes for report in reports),
            warm_up_events=sum(report.warm_up_events for report in reports),
            warm_up_bytes=sum(report.warm_up_bytes for report in reports),
            seconds=max(report.ended for report in reports) - min(report.began for report in reports),
            p50_ms=percentile(latencies, 50) * 1_000,
            p99_ms=percentile(latencies, 99) * 1_000,
            busy=sum(report.busy for report in reports),
            machine=machine,
            began_at=min(report.began for report in reports),
        )

    def end(self) -> None:
        """Make sure that no sender stays behind."""
        for process in self._processes:
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _say(self, process: subprocess.Popen[str], line: str) -> None:
        if process.stdin is None:
            raise RuntimeError("a sender has no standard input")
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def _expect(self, process: subprocess.Popen[str], beginning: str) -> str:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line.startswith(beginning):
            raise RuntimeError(f"a sender said {line!r} instead of {beginning!r}; the server's log is {self._server.log}")
        return line


def run_load(server: ServerProcess, order: SenderOrder, senders: int) -> LoadResult:
    """One load on a running server."""
    load = Senders(server, order, senders)
    load.go()
    return load.result()


def fill(
    server: ServerProcess,
    workload: WorkloadSpec,
    sessions: int,
    sessions_per_request: int = 50,
    in_flight: int = 3,
    first_session: int = 0,
) -> LoadResult:
    """Store so many sessions quickly: two senders, each with several requests under way, made on the way."""
    order = SenderOrder(
        kind="grpc-batch",
        port=server.grpc_port,
        workload=workload.to_json(),
        first_session=first_session,
        sessions_per_request=sessions_per_request,
        requests=sessions // sessions_per_request,
        in_flight=in_flight,
        mode="stream",
    )
    return run_load(server, order, senders=2)
