"""A store with a million events: questions, memory, disk, and how soon it is ready after a clean stop and after a crash."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from bench.figures import Figures
from bench.ingest_rows import count_events
from bench.load import Senders, fill
from bench.machine import wait_until_quiet
from bench.plan import Plan
from bench.process import ProductServer, connect
from bench.questions import ask, questions
from bench.sender import SenderOrder
from bench.workload import Workload, WorkloadSpec

__all__ = ["MILLION_ROWS", "MillionBench"]

_PER_SESSION = 20
_CRASH_AFTER_S = 1.5
_CRASH_EVENTS = 100_000

#: Row -> (sessions in a request, requests that each of two senders has under way). The second fills as many SDKs do, in
#: posts of 20: a commit then holds at most 80 events, and the store has to cope with twenty times as many commits.
MILLION_ROWS = {"million": (50, 3), "million-small": (1, 2)}


class MillionBench:
    """Measures one of the rows: fill once; then, for every run, start, ask, kill -9 under load, start, count, stop."""

    def __init__(self, plan: Plan, figures: Figures, home: Path, row: str) -> None:
        self._plan, self._figures, self._row = plan, figures, row
        self._home = home / row
        self._sessions = plan.million // _PER_SESSION
        self._workload = Workload(WorkloadSpec(plant_sessions=self._sessions))
        self._server = ProductServer(self._home)

    def measure(self) -> None:
        """All runs."""
        try:
            self._measure()
        finally:
            self._server.kill()
        shutil.rmtree(self._home)

    def _measure(self) -> None:
        self._fill()
        server, stored, next_session = self._server, self._sessions * _PER_SESSION + self._workload.plants.events, self._sessions
        for run in range(1, self._plan.runs + 1):
            wait_until_quiet()
            # What crashes add lies behind the million in time: it changes the newest page and the statistics without a range.
            clean_s = server.start()
            # What the crash before has left to be indexed would run beside the questions.
            server.settle()
            self._ask_all(run)
            acknowledged = self._crash(next_session)
            crash_s = server.start()
            counted = count_events(server)
            if not stored + acknowledged <= counted <= stored + _CRASH_EVENTS:
                self._figures.warn(f"{self._row}: after kill -9 {counted} counted, {stored} + {acknowledged} acknowledged")
            self._add("ready_clean_s", run, clean_s)
            self._add("ready_crash_s", run, crash_s, acknowledged=acknowledged)
            self._add("lost", run, max(0, stored + acknowledged - counted))
            self._add("stop_s", run, server.stop())
            stored, next_session = counted, next_session + _CRASH_EVENTS // _PER_SESSION
            self._say(f"run {run}: ready in {clean_s:.2f} s, after kill -9 in {crash_s:.2f} s, peak {server.peak_mib:.0f} MiB")
        self._add("peak_mib", 1, server.peak_mib)

    def _add(self, metric: str, run: int, value: float, **context: object) -> None:
        self._figures.add(self._row, metric, run, value, **context)

    def _say(self, text: str) -> None:
        self._figures.say(f"{self._row}, {text}")

    def _fill(self) -> None:
        wait_until_quiet()
        sessions_per_request, in_flight = MILLION_ROWS[self._row]
        server = self._server
        self._say(f"filling {self._sessions * _PER_SESSION:,} events")
        with server:
            filled = fill(server, self._workload.spec, self._sessions, sessions_per_request, in_flight)
            if (counted := count_events(server)) != filled.events:
                self._figures.warn(f"{self._row}: {filled.events} events were acknowledged, the server counts {counted}")
            server.settle()
            running, _ = server.record_bytes()
            self._add("fill_rate", 1, filled.rate, **filled.machine)
            self._add("peak_mib_fill", 1, server.peak_mib)
            self._add("idle_mib", 1, server.memory_mib())
        stopped, apparent = server.record_bytes()
        for metric, size in (("disk_running", running), ("disk_stopped", stopped)):
            self._add(metric, 1, size / filled.events)
            self._add(metric + "_ratio", 1, size / filled.payload_bytes, apparent_bytes=apparent)
        self._add("index_ratio", 1, server.index_bytes() / filled.payload_bytes)
        each, rate = stopped / filled.events, filled.rate
        self._say(f"{filled.events:,} events at {rate:,.0f}/s, {each:.0f} bytes each on disk, peak {server.peak_mib:.0f} MiB")

    def _ask_all(self, run: int) -> None:
        slowest, slowest_ms = "", 0.0
        with connect(self._server.grpc_port) as channel:
            for question in questions(self._workload, self._sessions):
                if run > 1 and question.name == "statistics, no range":
                    question.expected = [count_events(self._server)]
                answered = ask(channel, question, self._plan.calls_per_question)
                for wrong in answered.wrong:
                    self._figures.warn(f"{self._row}: wrong answer to {wrong}")
                row, clock = f"{self._row}: {question.name}", answered.clock
                self._figures.add(
                    row, "p50_ms", run, answered.p50_ms, clock=clock, calls=answered.calls, goal_ms=question.goal_ms
                )
                self._figures.add(row, "p99_ms", run, answered.p99_ms)
                self._figures.add(row, "first_ms", run, answered.first_ms)
                if answered.p50_ms > slowest_ms:
                    slowest, slowest_ms = f"{question.name}, {clock} time", answered.p50_ms
        self._say(f"run {run}: questions asked, slowest p50 {slowest_ms:.1f} ms ({slowest})")

    def _crash(self, first_session: int) -> int:
        """Kill the server under load from four senders; returns how many events were acknowledged before."""
        order = SenderOrder(
            kind="grpc-batch",
            port=self._server.grpc_port,
            workload=WorkloadSpec().to_json(),
            first_session=first_session,
            sessions_per_request=5,
            requests=_CRASH_EVENTS // 100,
            expect_end=True,
        )
        senders = Senders(self._server, order, 4)
        senders.go()
        time.sleep(_CRASH_AFTER_S)
        self._server.kill()
        result = senders.result()
        if result.events == _CRASH_EVENTS:
            self._figures.warn(f"{self._row}: everything was acknowledged before the kill; the crash met an idle server")
        return result.events
