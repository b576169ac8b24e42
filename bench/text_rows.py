"""Rows about the text index: what it costs ingest, how soon it has caught up, how large it is, and how fast it answers."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figures
from bench.ingest_rows import check_machine, count_events
from bench.load import LoadResult, Senders, fill, run_load
from bench.machine import command_line, cpu_seconds, peak_resident_mib, process_tree, wait_until_quiet
from bench.plan import Plan
from bench.process import EmptyServer, ProductServer, ServerProcess, connect
from bench.questions import ask
from bench.sender import SenderOrder
from bench.text_questions import text_questions
from bench.workload import Workload, WorkloadSpec
from chaukas.server.config import Settings
from chaukas.server.storage.sqlite.text_index.file import remove_text_index
from chaukas.server.storage.sqlite.text_index.follower import TextFollower

__all__ = ["TextMillionBench", "measure_text_ingest"]


_LAG_METRIC = "chaukas_text_index_lag_events"
_CATCH_UP_LIMIT_S = 300.0
_GOAL_CAUGHT_UP_MS, _GOAL_LAG_MS = 100.0, 1_000.0
#: A lag at which questions are slow is halved and asked again; below so many events there is nothing left to find out.
_LAG_EVENTS_MIN = 12_500
_STEP_EVENTS = 8_192
_BUDGET_PER_QUESTION_S = 4.0


class _LagWatch:
    """Looks at the lag twice a second, which costs the server hardly anything, and keeps the greatest."""

    def __init__(self, server: ServerProcess) -> None:
        self._server, self._over = server, threading.Event()
        self.greatest = 0.0

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            with contextlib.suppress(OSError):
                self.greatest = max(self.greatest, self._server.metric(_LAG_METRIC))

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While the block runs."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


def _wait_until_indexed(server: ServerProcess, figures: Figures, row: str) -> float:
    """Wait until the index lacks nothing; returns when that was, in seconds of the machine's monotonic clock."""
    end = time.monotonic() + _CATCH_UP_LIMIT_S
    while server.metric(_LAG_METRIC) > 0:
        if time.monotonic() > end:
            figures.warn(f"{row}: the text index had not caught up after {_CATCH_UP_LIMIT_S:.0f} s")
            break
        time.sleep(0.05)
    return time.monotonic()


def measure_text_ingest(plan: Plan, figures: Figures, home: Path, run: int) -> None:
    """One run: the empty servicer, then a server with its defaults, from the first event sent until the index holds the last."""
    row, directory = "text-ingest", home / f"text-ingest-{run}"
    wait_until_quiet()
    with EmptyServer(home / f"limit-{row}-{run}") as empty:
        limit = run_load(empty, _order(empty, plan.text_events // plan.limit_repeat, repeat=plan.limit_repeat), senders=4)
    figures.add(f"limit-{row}", "rate", run, limit.rate)
    wait_until_quiet()
    server = ProductServer(directory)
    with server:
        senders, watch = Senders(server, _order(server, plan.text_events), 4), _LagWatch(server)
        cpu_s = cpu_seconds(process_tree(server.pid))
        with watch.watching():
            senders.go()
            result = senders.result()
        seconds = _wait_until_indexed(server, figures, row) - result.began_at
        cpu_s = cpu_seconds(process_tree(server.pid)) - cpu_s
        if (counted := count_events(server)) != result.stored_events:
            figures.warn(f"{row}: {result.stored_events} events were acknowledged, the server counts {counted}")
        followers = [pid for pid in process_tree(server.pid) if "text_index.follower" in command_line(pid)]
        figures.add(row, "follower_mib", run, max(map(peak_resident_mib, followers), default=0.0))
        server.settle()
    check_machine(figures, row, result)
    _keep(figures, row, run, result, limit.rate, seconds)
    figures.add(row, "cpu_us", run, cpu_s * 1e6 / result.events)
    figures.add(row, "lag_max", run, watch.greatest)
    figures.add(row, "peak_mib", run, server.peak_mib)
    figures.add(row, "index_ratio", run, server.index_bytes() / result.stored_bytes)
    figures.say(
        f"{row}, run {run}: {result.rate:,.0f} events/s acknowledged ({result.rate / limit.rate:.3f} of the limit), "
        f"{result.events / seconds:,.0f} indexed, lag up to {watch.greatest:,.0f}, peak {server.peak_mib:.0f} MiB"
    )
    shutil.rmtree(directory)


def _order(server: ServerProcess, events: int, *, repeat: int = 1) -> SenderOrder:
    """Batches of 100 for four senders, each of which warms up with five."""
    return SenderOrder(
        kind="grpc-batch",
        port=server.grpc_port,
        workload=WorkloadSpec(texts=True).to_json(),
        first_session=0,
        sessions_per_request=5,
        requests=events // 100 + 20,
        repeat=repeat,
        warm_up=5,
    )


def _keep(figures: Figures, row: str, run: int, result: LoadResult, limit: float, seconds: float) -> None:
    figures.add(row, "rate", run, result.rate, events=result.events, seconds=result.seconds, **result.machine)
    figures.add(row, "ratio", run, result.rate / limit)
    figures.add(row, "sustained", run, result.events / seconds, seconds=seconds)
    figures.add(row, "sustained_ratio", run, result.events / seconds / limit)


def _weighted_percentile(weighted: list[tuple[float, float]], percent: float) -> float:
    """The least of the values that so many percent of the weight does not exceed; pairs are (value, weight)."""
    room = sum(weight for _, weight in weighted) * percent / 100
    for value, weight in sorted(weighted):
        room -= weight
        if room <= 1e-9:
            return value
    raise ValueError("a percentile of nothing")


class TextMillionBench:
    """Fill once; ask when the index has caught up; then with an index that lags as far as is allowed, or less if that is slow."""

    def __init__(self, plan: Plan, figures: Figures, home: Path) -> None:
        self._plan, self._figures, self._home = plan, figures, home / "text-million"
        self._sessions = plan.million // 20
        self._workload = Workload(WorkloadSpec(plant_sessions=self._sessions, texts=True))
        self._server = ProductServer(self._home)

    def measure(self) -> None:
        """All of it, once: questions are asked often enough for percentiles."""
        try:
            events = self._fill()
            with self._server:
                self._ask_all("caught up", _GOAL_CAUGHT_UP_MS)
            self._ask_at_lags(events)
        finally:
            self._server.kill()
        shutil.rmtree(self._home)

    def _fill(self) -> int:
        row, figures, server = "text-million", self._figures, self._server
        wait_until_quiet()
        figures.say(f"{row}, filling {self._plan.million:,} events")
        with server:
            filled = fill(server, self._workload.spec, self._sessions)
            seconds = _wait_until_indexed(server, figures, row) - filled.began_at
            server.settle()
        size = server.index_bytes()
        figures.add(row, "fill_rate", 1, filled.rate, **filled.machine)
        figures.add(row, "sustained", 1, filled.events / seconds)
        figures.add(row, "peak_mib", 1, server.peak_mib)
        figures.add(row, "index_bytes", 1, size / filled.events)
        figures.add(row, "index_ratio", 1, size / filled.payload_bytes)
        figures.say(
            f"{row}: filled at {filled.rate:,.0f}/s, indexed at {filled.events / seconds:,.0f}/s, "
            f"index {size / filled.payload_bytes:.3f} of the payload, peak {server.peak_mib:.0f} MiB"
        )
        return filled.events

    def _ask_at_lags(self, events: int) -> None:
        figures, row = self._figures, "text-million"
        lag = min(int(Settings.model_fields["text_index_lag_events_max"].default), events // 5)
        server = self._server = self._without_follower()
        remove_text_index(server.data)
        while True:
            figures.add(row, "index_cpu_us", 1, self._index_up_to(lag))
            with server:
                slowest_ms = self._ask_all(f"lag {lag:,}", _GOAL_LAG_MS)
            figures.add(row, "slowest_p95_ms", 1, slowest_ms, lag=lag)
            if slowest_ms <= _GOAL_LAG_MS or lag < 2 * _LAG_EVENTS_MIN:
                return
            # Reading takes time in proportion to the lag: what can only be too slow is not asked again.
            while slowest_ms > _GOAL_LAG_MS and lag >= 2 * _LAG_EVENTS_MIN:
                lag, slowest_ms = lag // 2, slowest_ms / 2

    def _without_follower(self) -> ProductServer:
        """The same directories, with a server that leaves the index as it is."""
        return ProductServer(self._home, settings={"CHAUKAS_SERVER_TEXT_INDEX": "false"})

    def _index_up_to(self, lag: int) -> float:
        """Index all but the newest `lag` events; returns the processor time for one in microseconds."""
        follower = TextFollower(self._server.data)
        try:
            began, indexed = time.process_time(), 0
            while (room := follower.missing() - lag) > 0:
                indexed += follower.step(min(room, _STEP_EVENTS))
            return (time.process_time() - began) * 1e6 / max(1, indexed)
        finally:
            follower.close()

    def _ask_all(self, state: str, goal_ms: float) -> float:
        """Put every question; returns the slowest p95."""
        slowest, slowest_ms = "", 0.0
        weighted: list[tuple[float, float]] = []
        with connect(self._server.grpc_port) as channel:
            for question in text_questions(channel, self._workload, self._sessions, goal_ms):
                answered = ask(channel, question, self._plan.calls_per_question, _BUDGET_PER_QUESTION_S, warm_up=1)
                for wrong in answered.wrong:
                    self._figures.warn(f"text-million, {state}: wrong answer to {wrong}")
                row = f"text-million, {state}: {question.name}"
                for metric in ("p50_ms", "p95_ms", "first_ms"):
                    value: float = getattr(answered, metric)
                    self._figures.add(row, metric, 1, value, clock=answered.clock, calls=answered.calls, goal_ms=goal_ms)
                weighted += [(time_ms, 1 / answered.calls) for time_ms in answered.times_ms]
                if answered.p95_ms > slowest_ms:
                    slowest, slowest_ms = question.name, answered.p95_ms
        mix_ms = _weighted_percentile(weighted, 95)
        self._figures.add(f"text-million, {state}", "mix_p95_ms", 1, mix_ms, goal_ms=goal_ms)
        self._figures.say(f"text-million, {state}: p95 of the mix {mix_ms:.1f} ms; slowest p95 {slowest_ms:.1f} ms ({slowest})")
        return slowest_ms
