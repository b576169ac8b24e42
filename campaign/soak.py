"""Part `soak`: an hour of ordinary traffic in ten minutes; memory and open files flat, write-ahead logs and times bounded."""

from __future__ import annotations

import time

from campaign.outcome import Stage, percentile
from campaign.traffic import Traffic
from campaign.vitals import Vitals, slope
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest
from tests.acceptance.questions import count_events
from tests.acceptance.started_server import running_server
from tests.faults.record_check import check_record

__all__ = ["run"]

#: What may be added in the judged minutes: allocators wander.
_GROWTH_MIB_MAX = 24.0
_SLOPE_MIB_MAX = 3.0
#: Shorter than this, memory says nothing: the server still fills what it keeps at hand.
_JUDGED_MINUTES_MIN = 3
_FILES_MAX = 8
_WAL_MIB_MAX = 64.0
_SEND_P99_S_MAX = 0.5
_ASK_P99_S_MAX = 1.0


def run(stage: Stage) -> None:
    """Load at a steady pace, look every second, judge what came after the warm-up, recompute the record in the end."""
    plan = stage.plan
    with running_server(stage.directory) as server:
        traffic, vitals = Traffic(server, plan.soak_events_per_s, stage.seed), Vitals(server)
        began = time.monotonic()
        vitals.start()
        traffic.start()
        try:
            while (left_s := began + plan.soak_minutes * 60 - time.monotonic()) > 0:
                time.sleep(min(30.0, left_s))
                reading = vitals.read()
                stage.say(
                    f"{traffic.acknowledged:,} acknowledged, {reading.resident_mib:.0f} MiB, {reading.files} files, "
                    f"log {reading.wal_mib:.1f} MiB"
                )
        finally:
            traffic.stop()
            vitals.stop()
        stage.note_standstill(vitals.standstill_s())
        for problem in traffic.problems[:20]:
            stage.problem(problem)
        counted = count_events(server, GetEventStatsRequest()).total_events
        stage.bounded(
            "acknowledged events", f"{traffic.acknowledged:,}", "as many are stored", met=counted == traffic.acknowledged
        )
        stage.figure("requests", len(traffic.samples))
        stage.bounded(
            "events that a tail of one of the four tenants heard of", f"{traffic.heard:,}", "some", met=traffic.heard > 0
        )
        _judge_vitals(stage, vitals, began + plan.soak_warm_up_minutes * 60)
        _judge_times(stage, traffic, began)
        server.stop()
        kept = check_record(server.directory / "data")
        stage.bounded("events in the recomputed record", f"{len(kept):,}", "the same", met=len(kept) == traffic.acknowledged)
    stage.note(
        f"{plan.soak_minutes * 60 * plan.soak_events_per_s:,.0f} events, the traffic of an hour at "
        f"{plan.soak_events_per_s * plan.soak_minutes / 60:.0f} events/s; judged after {plan.soak_warm_up_minutes:g} minutes"
    )


def _judge_vitals(stage: Stage, vitals: Vitals, judged_from: float) -> None:
    readings = vitals.between(judged_from)
    third = max(1, len(readings) // 3)
    first, last = ([reading.resident_mib for reading in part] for part in (readings[:third], readings[-third:]))
    growth = percentile(last, 50) - percentile(first, 50)
    per_minute = slope([(reading.at_s / 60, reading.resident_mib) for reading in readings])
    peak = max(reading.resident_mib for reading in vitals.readings)
    stage.figure("resident memory at its highest", f"{peak:.0f} MiB")
    verifying = max(reading.verifying_mib for reading in vitals.readings)
    stage.figure("… of the verification in the background", f"{verifying:.0f} MiB")
    if stage.plan.soak_minutes - stage.plan.soak_warm_up_minutes >= _JUDGED_MINUTES_MIN:
        bound = f"≤ {_GROWTH_MIB_MAX:.0f} MiB"
        stage.bounded("… growth, last third against first", f"{growth:+.1f} MiB", bound, met=growth <= _GROWTH_MIB_MAX)
        bound = f"≤ {_SLOPE_MIB_MAX:g} MiB/min"
        stage.bounded("… slope", f"{per_minute:+.2f} MiB/min", bound, met=per_minute <= _SLOPE_MIB_MAX)
    files = [reading.files for reading in readings]
    spread = max(files) - min(files)
    stage.bounded(
        "open files, lowest to highest", f"{min(files)} to {max(files)}", f"{_FILES_MAX} apart", met=spread <= _FILES_MAX
    )
    threads = [reading.threads for reading in readings]
    stage.figure("threads, lowest to highest", f"{min(threads)} to {max(threads)}")
    wal = max(reading.wal_mib for reading in vitals.readings)
    stage.bounded("write-ahead logs at their largest", f"{wal:.1f} MiB", f"≤ {_WAL_MIB_MAX:.0f} MiB", met=wal <= _WAL_MIB_MAX)


def _judge_times(stage: Stage, traffic: Traffic, began: float) -> None:
    minutes = range(max(1, round(stage.plan.soak_minutes)))
    for kind, name, p99_max_s in (("send", "storing", _SEND_P99_S_MAX), ("ask", "questions", _ASK_P99_S_MAX)):
        spans = [traffic.took_s(kind, began + 60 * minute, began + 60 * (minute + 1)) for minute in minutes]
        p50 = " ".join(f"{percentile(span, 50) * 1_000:.0f}" for span in spans)
        p99 = [percentile(span, 99) for span in spans]
        stage.figure(f"{name}: p50 of each minute, ms", p50)
        shown = " ".join(f"{value * 1_000:.0f}" for value in p99)
        met = all(value <= p99_max_s for value in p99)
        stage.bounded(f"{name}: p99 of each minute, ms", shown, f"≤ {p99_max_s * 1_000:.0f}", met=met)
