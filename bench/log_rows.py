"""Rows about the transparency log: what it costs ingest, how fast it proves, signs and is verified."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from bench.figures import Figures
from bench.ingest_rows import batches, check_machine
from bench.load import fill, percentile
from bench.machine import cpu_seconds, process_tree, wait_until_quiet
from bench.plan import Plan
from bench.process import ROOT, ProductServer, clean_environment, connect, raw_call
from bench.questions import SERVER_TIME_KEY
from bench.workload import WorkloadSpec
from chaukas.audit.v1 import audit_pb2

__all__ = ["measure_log_cost", "measure_log_heads", "measure_log_million"]


_AUDIT = "/chaukas.audit.v1.AuditService/"
_WITHOUT_INDEX = {"CHAUKAS_SERVER_TEXT_INDEX": "false"}
#: What stands in for the log is put into the server's own process, so that must do the writing too.
_ONE_PROCESS = {**_WITHOUT_INDEX, "CHAUKAS_SERVER_WRITER_PROCESS": "false"}
_TENANTS = 500
_WARM_UP = 3
_HEADS_LIMIT_S = 120.0


def measure_log_cost(plan: Plan, figures: Figures, home: Path, run: int) -> None:
    """One run: windows of load on a server as it is and on one without the log, in turns; the text index is off in both.

    With the index on, both would be slower by the same, and the ratio nearer to one.
    """
    row, directory = "log-cost", home / f"log-cost-{run}"
    servers = {
        "without": ProductServer(directory / "without", settings=_ONE_PROCESS, module="bench.without_log"),
        "with": ProductServer(directory / "with", settings=_ONE_PROCESS),
    }
    rates: dict[str, list[float]] = {name: [] for name in servers}
    cpu_s: dict[str, float] = dict.fromkeys(servers, 0.0)
    stored = 0
    with servers["with"], servers["without"]:
        wait_until_quiet()
        for window in range(plan.growth_windows):
            for name, server in servers.items():
                tree = process_tree(server.pid)
                before_s = cpu_seconds(tree)
                result = batches(server, plan.log_window, stored // 20, WorkloadSpec(), warm_up=3)
                # Heads that are signed behind the last acknowledgement are part of the cost.
                server.settle()
                cpu_s[name] += cpu_seconds(tree) - before_s
                check_machine(figures, f"{row} {name} the log", result)
                rates[name].append(result.rate)
            stored += result.stored_events
            figures.say(
                f"{row}, run {run}, window {window + 1}: {rates['without'][-1]:,.0f} and {rates['with'][-1]:,.0f} events/s"
            )
    for name, server in servers.items():
        size, _ = server.record_bytes()
        figures.add(row, f"rate_{name}", run, statistics.median(rates[name]), windows=rates[name])
        figures.add(row, f"cpu_us_{name}", run, cpu_s[name] * 1e6 / stored)
        figures.add(row, f"disk_{name}", run, size / stored)
    figures.add(row, "ratio", run, statistics.median(rates["with"]) / statistics.median(rates["without"]))
    figures.add(row, "cpu_ratio", run, cpu_s["without"] / cpu_s["with"])
    sizes = [figures.of_run(row, f"disk_{name}", run) or 0.0 for name in ("with", "without")]
    figures.add(row, "disk_added", run, sizes[0] - sizes[1])
    ratio, cpu_ratio = (figures.of_run(row, name, run) or 0.0 for name in ("ratio", "cpu_ratio"))
    figures.say(f"{row}, run {run}: {ratio:.3f} of the rate, {cpu_ratio:.3f} by CPU, {sizes[0] - sizes[1]:.0f} bytes/event more")
    shutil.rmtree(directory)


def measure_log_million(plan: Plan, figures: Figures, home: Path) -> None:
    """Fill a log step by step, ask for proofs at every size, then stop the server and verify the record on one core."""
    directory, sessions = home / "log-million", 0
    server = ProductServer(directory, settings=_WITHOUT_INDEX)
    wait_until_quiet()
    with server:
        for size in plan.log_sizes:
            figures.say(f"log-million, filling up to {size:,} events")
            missing = size // 20 - sessions
            # One log has one writer; requests of 50 sessions fill it, small remainders go in requests of one.
            per_request = 50 if missing % 50 == 0 else 1
            fill(server, WorkloadSpec(), missing, per_request, first_session=sessions)
            sessions = size // 20
            server.settle()
            _ask_for_proofs(plan, figures, server, size)
    _verify(figures, server, plan.log_sizes[-1])
    shutil.rmtree(directory)


def _ask_for_proofs(plan: Plan, figures: Figures, server: ProductServer, size: int) -> None:
    rng, calls = random.Random(f"proofs/{size}"), plan.proofs_per_size
    with connect(server.grpc_port) as channel:
        listed = raw_call(channel, _AUDIT + "ListLogs")(audit_pb2.ListLogsRequest().SerializeToString(), timeout=60.0)
        (log,) = audit_pb2.ListLogsResponse.FromString(listed).logs
        if log.size != size:
            figures.warn(f"log-million: the log has {log.size} entries instead of {size}")

        def entry() -> audit_pb2.EntryName:
            return audit_pb2.EntryName(origin=log.origin, index=rng.randrange(size))

        inclusion = _timed(
            channel, "GetInclusionProof", calls, lambda: audit_pb2.GetInclusionProofRequest(entry=entry()).SerializeToString()
        )
        consistency = _timed(
            channel,
            "GetConsistencyProof",
            calls,
            lambda: audit_pb2.GetConsistencyProofRequest(origin=log.origin, from_size=rng.randrange(1, size)).SerializeToString(),
        )
        evidence = _timed(channel, "GetEvidence", calls, lambda: audit_pb2.GetEvidenceRequest(entry=entry()).SerializeToString())
    row = f"log-million: {size}"
    for name, (times_ms, _) in (("inclusion", inclusion), ("consistency", consistency), ("evidence", evidence)):
        figures.add(row, f"{name}_p50_ms", 1, percentile(times_ms[_WARM_UP:], 50))
        figures.add(row, f"{name}_p99_ms", 1, percentile(times_ms[_WARM_UP:], 99))
        figures.add(row, f"{name}_first_ms", 1, times_ms[0])
    proofs = [audit_pb2.GetInclusionProofResponse.FromString(answer) for answer in inclusion[1]]
    figures.add(row, "inclusion_hashes", 1, max(len(proof.hashes) for proof in proofs))
    figures.add(row, "inclusion_bytes", 1, statistics.median(len(proof.proof.encode()) for proof in proofs))
    grown = [audit_pb2.GetConsistencyProofResponse.FromString(answer) for answer in consistency[1]]
    figures.add(row, "consistency_hashes", 1, max(len(proof.hashes) for proof in grown))
    opened = [audit_pb2.GetEvidenceResponse.FromString(answer) for answer in evidence[1]]
    figures.add(row, "evidence_bytes", 1, statistics.median(len(one.json.encode()) for one in opened))
    found = [figures.median(row, f"{name}_p50_ms") or 0.0 for name in ("inclusion", "consistency", "evidence")]
    figures.say(f"{row}: inclusion {found[0]:.2f} ms, consistency {found[1]:.2f} ms, evidence {found[2]:.2f} ms")


def _timed(channel: grpc.Channel, method: str, calls: int, request: Callable[[], bytes]) -> tuple[list[float], list[bytes]]:
    """The server's own times in milliseconds and the answers. Raises `RuntimeError` when it does not tell its time."""
    rpc, times_ms, answers = raw_call(channel, _AUDIT + method), [], []
    for _ in range(calls + _WARM_UP):
        answer, call = rpc.with_call(request(), timeout=60.0)
        answers.append(answer)
        times_ms += [float(value) for key, value in call.trailing_metadata() or () if key == SERVER_TIME_KEY]
    if len(times_ms) != len(answers):
        raise RuntimeError(f"the server does not tell how long {method} took")
    return times_ms, answers


def _verify(figures: Figures, server: ProductServer, events: int) -> None:
    """`chaukas verify` on one core, by its processor time and by the clock."""
    core = str(min(os.sched_getaffinity(0)))
    bound = ["taskset", "-c", core] if shutil.which("taskset") else []
    if not bound:
        figures.warn("log-million: there is no taskset; chaukas verify was not bound to one core")
    command = [*bound, sys.executable, "-m", "chaukas.server.cli", "verify", "--quiet"]
    command += ["--data", str(server.data), "--state", str(server.state)]
    wait_until_quiet()
    began = time.monotonic()
    with (server.data.parent / "verify.log").open("wb") as log:
        process = subprocess.Popen(command, env=clean_environment(), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds, cpu_s = time.monotonic() - began, used.ru_utime + used.ru_stime
    if process.returncode:
        last = (server.data.parent / "verify.log").read_text(errors="replace").splitlines()[-5:]
        figures.warn(f"log-million: chaukas verify ended with {process.returncode}: {' | '.join(last)}")
        return
    figures.add("log-verify", "rate", 1, events / seconds, seconds=seconds)
    figures.add("log-verify", "cpu_rate", 1, events / cpu_s)
    figures.add("log-verify", "peak_mib", 1, used.ru_maxrss / 1024)
    figures.say(f"log-verify: {events / seconds:,.0f} events/s, by CPU {events / cpu_s:,.0f}, {used.ru_maxrss / 1024:.0f} MiB")


def measure_log_heads(plan: Plan, figures: Figures, home: Path, run: int) -> None:
    """One run: load over 500 tenants, so that every log grows all the time; heads by the time spent on signing rounds."""
    row, directory = "log-heads", home / f"log-heads-{run}"
    server = ProductServer(directory, settings=_WITHOUT_INDEX)
    names = ("chaukas_log_heads_total", "chaukas_log_round_duration_seconds_sum")
    wait_until_quiet()
    with server:
        before = [server.metric(name) for name in names]
        result = batches(server, plan.heads_events, 0, WorkloadSpec(tenants=_TENANTS), warm_up=5)
        ended, heads = time.monotonic(), -1.0
        while heads != (now := server.metric(names[0])) and time.monotonic() < ended + _HEADS_LIMIT_S:
            heads = now
            # A round begins every second; none has signed anything when the number stays.
            time.sleep(2.5)
        signed, seconds = (server.metric(name) - first for name, first in zip(names, before, strict=True))
    check_machine(figures, row, result)
    if signed < _TENANTS:
        figures.warn(f"{row}: {signed:.0f} heads were signed for {_TENANTS} tenants")
    figures.add(row, "rate", run, result.rate)
    figures.add(row, "heads", run, signed, seconds=seconds)
    figures.add(row, "heads_per_s", run, signed / seconds)
    figures.say(f"{row}, run {run}: {signed:.0f} heads, {signed / seconds:,.0f} per second, beside {result.rate:,.0f} events/s")
    shutil.rmtree(directory)
