"""Part `abuse`: clients that nobody wants, kind after kind, while ordinary clients keep their times; then all is as before."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import httpx

from bench.machine import cpu_seconds, process_tree
from bench.workload import Workload, WorkloadSpec
from campaign.abusers import KINDS, Abuse, perform
from campaign.outcome import Stage, percentile
from campaign.traffic import Traffic
from campaign.vitals import Reading, Vitals
from tests.acceptance.questions import figures
from tests.acceptance.started_server import StartedServer, running_server
from tests.faults.record_check import check_record

__all__ = ["run"]

_EVENTS_PER_S = 150.0
_ALONE_S_MIN = 20.0
_FILL_SESSIONS = 2_000
_P99_S_MAX = 1.0
_RESIDENT_MIB_MAX = 400.0
_LEFT_FILES_MAX = 8
_LEFT_MIB_MAX = 96.0
_RETURN_S = 60.0
#: A body of an ordinary client is at work in perhaps every fifth look.
_RELEASE_S_MAX = 10.0
#: Calm is when no request of the last moments took longer than this, and it must come within so many seconds.
_CALM_TIME_S, _LOOK_BACK_S, _CALM_S_MAX = 0.25, 2.0, 30.0


def run(stage: Stage) -> None:
    """Ordinary traffic alone, beside each kind of abuse, and alone again."""
    plan = stage.plan
    with running_server(stage.directory) as server:
        filled = _fill(server, stage.seed + 1)
        traffic, vitals = Traffic(server, _EVENTS_PER_S, stage.seed), Vitals(server)
        vitals.start()
        traffic.start()
        try:
            began = time.monotonic()
            time.sleep(max(plan.abuse_s, _ALONE_S_MIN))
            before = vitals.read()
            _tell_times(stage, traffic, "ordinary clients alone", began)
            for kind in KINDS:
                _beside(stage, server, traffic, vitals, kind)
            _judge_return(stage, server, vitals, before)
        finally:
            traffic.stop()
            vitals.stop()
        stage.note_standstill(vitals.standstill_s())
        for problem in traffic.problems[:20]:
            stage.problem(f"an ordinary client: {problem}")
        stage.none("requests of ordinary clients that failed", len(traffic.problems))
        peak = max(reading.resident_mib for reading in vitals.readings)
        bound = f"≤ {_RESIDENT_MIB_MAX:.0f} MiB"
        stage.bounded("resident memory at its highest", f"{peak:.0f} MiB", bound, met=peak <= _RESIDENT_MIB_MAX)
        server.stop()
        kept = {each.event.event_id for each in check_record(server.directory / "data") if each.event.tenant_id != "abuse"}
        stage.bounded(
            "events of ordinary clients",
            f"{traffic.acknowledged:,}",
            "all in the record",
            met=len(kept) == traffic.acknowledged + filled,
        )


def _fill(server: StartedServer, seed: int) -> int:
    """Store what large pages are made of, and enough that the server has started all processes that it needs."""
    workload = Workload(WorkloadSpec(seed=seed))
    headers = {"content-type": "application/x-protobuf"}
    filled = 0
    with httpx.Client(base_url=server.http_url, timeout=60, trust_env=False) as client:
        for first in range(0, _FILL_SESSIONS, 50):
            request = workload.batch(first, 50)
            answer = client.post("/v1/events/batch", content=request.body, headers=headers)
            filled += answer.raise_for_status().json()["accepted_count"]
    return filled


def _beside(stage: Stage, server: StartedServer, traffic: Traffic, vitals: Vitals, kind: str) -> None:
    """One kind of abuse from its beginning to its end, and the times of the ordinary clients meanwhile."""
    plan = stage.plan
    abuse = Abuse(server.http_port, server.grpc_port, plan.abuse_connections, plan.abuse_s, stage.seed)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as abusers:
        began, used_s = time.monotonic(), _used_s(server)
        outcomes = abusers.submit(perform, kind, abuse).result()
        cores = (_used_s(server) - used_s) / (time.monotonic() - began)
    # What the abusers leave behind belongs to them: requests that waited for it end only now.
    _wait_for_calm(stage, server, traffic, kind)
    _tell_times(stage, traffic, f"beside {kind}", began)
    files = max((reading.files for reading in vitals.between(began)), default=0)
    became = ", ".join(f"{count:,} {what}" for what, count in outcomes.most_common())
    stage.note(f"{kind}: {became}; the server used {cores:.2f} cores and had {files:,} files open")


def _wait_for_calm(stage: Stage, server: StartedServer, traffic: Traffic, kind: str) -> None:
    """Until ordinary clients have their times again and nothing of the abusers is at work: each kind is judged for itself."""
    began = time.monotonic()
    released = False
    while (took_s := time.monotonic() - began) < _CALM_S_MAX:
        time.sleep(0.25)
        # The bodies of ordinary clients come and go; those of abusers would still be there at every look.
        released = released or _held_bytes(server) == 0
        recent = traffic.took_s("send", time.monotonic() - _LOOK_BACK_S) + traffic.took_s("ask", time.monotonic() - _LOOK_BACK_S)
        if released and recent and max(recent) < _CALM_TIME_S:
            break
    stage.bounded(f"… calm after {kind}", f"{took_s:.1f} s", f"≤ {_CALM_S_MAX:.0f} s", met=took_s < _CALM_S_MAX)


def _held_bytes(server: StartedServer) -> float:
    return sum(value for _, value in figures(server, "chaukas_inflight_bytes"))


def _used_s(server: StartedServer) -> float:
    return cpu_seconds(process_tree(server.process.pid)) if server.process is not None else 0.0


def _tell_times(stage: Stage, traffic: Traffic, when: str, since_s: float) -> None:
    sends, asks = traffic.took_s("send", since_s), traffic.took_s("ask", since_s)
    shown = " / ".join(f"{percentile(each, percent) * 1_000:.0f}" for each in (sends, asks) for percent in (50, 99))
    # NaN, where nothing was sent or asked, is no time that is kept.
    met = all(percentile(each, 99) <= _P99_S_MAX for each in (sends, asks))
    stage.bounded(f"{when}: storing p50 / p99, asking p50 / p99, ms", shown, f"p99 ≤ {_P99_S_MAX * 1_000:.0f}", met=met)
    stage.say(f"{when}: {shown} ms")


def _judge_return(stage: Stage, server: StartedServer, vitals: Vitals, before: Reading) -> None:
    """Files, memory and what the server counts of its work are what they were."""
    began = time.monotonic()
    while (now := vitals.read()).files > before.files + _LEFT_FILES_MAX and time.monotonic() < began + _RETURN_S:
        time.sleep(0.5)
    took_s = time.monotonic() - began
    stage.bounded(
        "open files before and after",
        f"{before.files} and {now.files}",
        f"at most {_LEFT_FILES_MAX} more",
        met=now.files <= before.files + _LEFT_FILES_MAX,
    )
    if now.files > before.files + _LEFT_FILES_MAX:
        stage.note(f"still open: {vitals.open_files()}")
    stage.figure("… back after", f"{took_s:.1f} s")
    left_mib = now.resident_mib - before.resident_mib
    stage.bounded(
        "resident memory before and after",
        f"{before.resident_mib:.0f} and {now.resident_mib:.0f} MiB",
        f"at most {_LEFT_MIB_MAX:.0f} MiB more",
        met=left_mib <= _LEFT_MIB_MAX,
    )
    # The ordinary clients still work; the bodies of the abusers would stay for ever.
    held = _held_bytes(server)
    began = time.monotonic()
    while held and time.monotonic() < began + _RELEASE_S_MAX:
        time.sleep(0.05)
        held = min(held, _held_bytes(server))
    stage.bounded("bytes of bodies that the server still holds", f"{held:,.0f}", "0", met=held == 0)
    answer = httpx.get(f"{server.http_url}/v1/healthz", timeout=10, trust_env=False)
    stage.bounded("`/v1/healthz`", str(answer.status_code), "200", met=answer.status_code == 200)
