"""Rows about the rate of acknowledgement. Every measurement starts a server of its own on empty directories."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Figures
from bench.load import LoadResult, run_load
from bench.machine import wait_until_quiet
from bench.plan import Plan
from bench.process import ROOT, EmptyServer, ProductServer, ServerProcess, connect, raw_call
from bench.sender import SenderOrder
from bench.workload import WorkloadSpec
from chaukas.spec.server.v1 import server_pb2

__all__ = ["INGEST_ROWS", "IngestBench", "batches", "check_machine", "count_events"]

INGEST_ROWS = ("grpc-batch-1", "grpc-batch-4", "single-64", "http-20", "random-ids", "tenants-500", "bare-store")

_WARM_UP_SESSIONS = 100


@dataclass(frozen=True, slots=True)
class _Load:
    """One way of sending; `senders` processes with `in_flight` requests each under way."""

    kind: str
    events: int
    senders: int
    sessions_per_request: int = 5
    in_flight: int = 1
    workload: WorkloadSpec = field(default_factory=WorkloadSpec)


def count_events(server: ServerProcess) -> int:
    """How many events the server counts, over all tenants."""
    with connect(server.grpc_port) as channel:
        rpc = raw_call(channel, "GetEventStats")
        answer = rpc(server_pb2.GetEventStatsRequest().SerializeToString(), timeout=60.0, wait_for_ready=True)
    return int(server_pb2.GetEventStatsResponse.FromString(answer).total_events)


def check_machine(figures: Figures, row: str, result: LoadResult) -> None:
    """Warn about a figure that the machine or other processes have spoilt."""
    machine = result.machine
    if machine["steal_cores"] > 0.1:
        figures.warn(f"{row}: the host took {machine['steal_cores']:.2f} cores away")
    if machine["other_cores"] > 0.3:
        figures.warn(f"{row}: other processes used {machine['other_cores']:.2f} cores")
    if machine["canary_ms"] > 1.3 * figures.machine["canary_ms"]:
        figures.warn(f"{row}: the machine was slow, canary {machine['canary_ms']} ms, before {figures.machine['canary_ms']} ms")


def batches(server: ServerProcess, events: int, first_session: int, workload: WorkloadSpec, warm_up: int = 0) -> LoadResult:
    """Four senders with gRPC batches of 100."""
    order = SenderOrder(
        kind="grpc-batch",
        port=server.grpc_port,
        workload=workload.to_json(),
        first_session=first_session,
        sessions_per_request=5,
        requests=events // 100 + 4 * warm_up,
        warm_up=warm_up,
    )
    return run_load(server, order, senders=4)


class IngestBench:
    """Measures the ingest rows, each beside its limit in the same run."""

    def __init__(self, plan: Plan, figures: Figures, home: Path) -> None:
        self._plan, self._figures, self._home = plan, figures, home
        self._loads = {
            "grpc-batch-1": _Load("grpc-batch", plan.batch_events, 1),
            "grpc-batch-4": _Load("grpc-batch", plan.batch_events, 4),
            "single-64": _Load("grpc-single", plan.single_events, 1, 1, 64),
            "http-20": _Load("http-batch", plan.http_events, 4, 1),
            "random-ids": _Load("grpc-batch", plan.batch_events, 4, workload=WorkloadSpec(id_kind="random")),
            "tenants-500": _Load("grpc-batch", plan.batch_events, 4, workload=WorkloadSpec(tenants=500)),
        }

    def measure(self, row: str, run: int) -> None:
        """One run of one row."""
        if row == "bare-store":
            self._bare_store(run)
            return
        load = self._loads[row]
        wait_until_quiet()
        if row in {"grpc-batch-1", "grpc-batch-4", "single-64"}:
            self._limit(row, run, load)
        self._product(row, run, load)

    def _send(self, server: ServerProcess, load: _Load, *, repeat: int = 1) -> LoadResult:
        warm_up_requests = max(1, _WARM_UP_SESSIONS // load.sessions_per_request // load.senders)
        sessions_per_number = 1 if load.kind == "grpc-single" else load.sessions_per_request
        requests = load.events // (20 * sessions_per_number)
        if load.kind != "grpc-single":
            requests += warm_up_requests * load.senders
        order = SenderOrder(
            kind=load.kind,
            port=server.http_port if load.kind == "http-batch" else server.grpc_port,
            workload=load.workload.to_json(),
            first_session=0,
            sessions_per_request=load.sessions_per_request,
            requests=requests,
            in_flight=load.in_flight,
            repeat=repeat,
            warm_up=warm_up_requests,
        )
        return run_load(server, order, load.senders)

    def _limit(self, row: str, run: int, load: _Load) -> None:
        server = EmptyServer(self._home / f"limit-{row}-{run}")
        with server:
            result = self._send(server, load, repeat=self._plan.limit_repeat)
        self._keep(f"limit-{row}", run, result, server)
        self._figures.say(f"{row}, run {run}: limit {result.rate:,.0f} events/s ({server.stubs})")

    def _product(self, row: str, run: int, load: _Load) -> None:
        home = self._home / f"{row}-{run}"
        server = ProductServer(home)
        with server:
            result = self._send(server, load)
            if (counted := count_events(server)) != result.stored_events:
                self._figures.warn(f"{row}: {result.stored_events} events were acknowledged, the server counts {counted}")
            server.settle()
            before, _ = server.record_bytes()
        after, _ = server.record_bytes()
        self._keep(row, run, result, server)
        for metric, size in (("disk_running", before), ("disk_stopped", after)):
            self._figures.add(row, metric, run, size / result.stored_events)
            self._figures.add(row, metric + "_ratio", run, size / result.stored_bytes)
        self._figures.add(row, "index_ratio", run, server.index_bytes() / result.stored_bytes)
        limit = self._figures.of_run(f"limit-{row}", "rate", run)
        batch_rate = self._figures.of_run("grpc-batch-4", "rate", run)
        against = limit if limit is not None else batch_rate
        if against:
            self._figures.add(row, "ratio", run, result.rate / against)
        self._figures.say(
            f"{row}, run {run}: {result.rate:,.0f} events/s, p50 {result.p50_ms:.2f} ms, p99 {result.p99_ms:.2f} ms, "
            f"peak {server.peak_mib:.0f} MiB, {after / result.stored_events:.0f} bytes/event"
        )
        shutil.rmtree(home)

    def _keep(self, row: str, run: int, result: LoadResult, server: ServerProcess) -> None:
        check_machine(self._figures, row, result)
        if result.busy:
            self._figures.warn(f"{row}: the server was busy {result.busy} times; requests were sent again")
        self._figures.add(row, "rate", run, result.rate, events=result.events, seconds=result.seconds, **result.machine)
        self._figures.add(row, "p50_ms", run, result.p50_ms)
        self._figures.add(row, "p99_ms", run, result.p99_ms)
        self._figures.add(row, "server_us", run, result.server_us)
        self._figures.add(row, "peak_mib", run, server.peak_mib)

    def _bare_store(self, run: int) -> None:
        for per_append in (100, 1_000):
            wait_until_quiet()
            directory = self._home / f"bare-{per_append}-{run}"
            command = [sys.executable, "-m", "bench.bare_store", str(directory), str(self._plan.store_events), str(per_append)]
            output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(output)
            row = f"bare-store-{per_append}"
            self._figures.add(row, "rate", run, found["events_per_s"])
            self._figures.add(row, "p50_ms", run, found["append_p50_ms"])
            self._figures.add(row, "p99_ms", run, found["append_p99_ms"])
            self._figures.add(row, "disk_stopped", run, found["bytes_per_event"])
            self._figures.add("prepare", "rate", run, found["prepared_per_s"])
            batch_rate = self._figures.of_run("grpc-batch-4", "rate", run)
            if batch_rate:
                # How much of what the store alone could do is left behind the network.
                self._figures.add(row, "ratio", run, batch_rate / found["events_per_s"])
            self._figures.say(
                f"bare store, {per_append} in a transaction, run {run}: {found['events_per_s']:,.0f} events/s; "
                f"preparing alone {found['prepared_per_s']:,.0f}"
            )
