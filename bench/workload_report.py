"""Checks the workload and prints its figures: `python -m bench.workload_report`.

Checked: every event parses with the generated classes, holds no unknown field, and stands on the wire as long as the
classes themselves would write it; ids are unique; the planted are there. Printed: sizes, compression per commit size,
and the speed of making it.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict

import zstandard

from bench.workload import Request, Workload, WorkloadSpec
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1 import events_pb2

__all__ = ["check", "main"]


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(f"broken promise of the workload: {promise}")


def check(workload: Workload, sessions: int) -> dict[str, list[int]]:
    """Sizes by event type of the first sessions; raises AssertionError when the workload is not what it says."""
    sizes: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    last_us = 0
    for number in range(sessions):
        facts = workload.facts(number)
        batch = client_pb2.IngestEventBatchRequest.FromString(workload.batch(number, 1).body).event_batch
        singles = [events_pb2.Event.FromString(raw) for raw in workload.events(number)]
        _require(list(batch.events) == singles, "a batch holds its single events")
        own = [event for event in singles if event.session_id == facts.session_id]
        _require(len(own) == 20, "a session has 20 events")
        _require(
            all(event.trace_id == facts.trace_id and event.tenant_id == facts.tenant for event in own), "one trace and tenant"
        )
        _require(sum(event.span_id == facts.span_id for event in own) == 2, "START and END share a span")
        times = [event.timestamp.ToMicroseconds() for event in own]
        _require(times == sorted(times), "times rise within a session")
        _require((times[0], times[-1]) == (facts.first_us, facts.last_us), "first and last time are known")
        _require(last_us < times[-1] + 10_000_000, "times rise from session to session")
        last_us = times[-1]
        for raw, event in zip(workload.events(number), singles, strict=True):
            _require(len(event.SerializeToString()) == len(raw), "events are as long as a client would write them")
            _require(event.event_id not in seen, "ids are unique")
            seen.add(event.event_id)
            sizes[events_pb2.EventType.Name(event.type)].append(len(raw))
    return sizes


def compression(requests: list[Request], per_commit: int, level: int = 1) -> tuple[float, float]:
    """(ratio, events per second) of zstd over so many requests at a time."""
    compressor = zstandard.ZstdCompressor(level=level)
    pieces = [b"".join(request.body for request in requests[k : k + per_commit]) for k in range(0, len(requests), per_commit)]
    began = time.perf_counter()
    packed = sum(len(compressor.compress(piece)) for piece in pieces)
    took = time.perf_counter() - began
    return sum(map(len, pieces)) / packed, sum(request.events for request in requests) / took


def main() -> None:
    """Print the report."""
    for kind in ("uuid7", "random"):
        began = time.perf_counter()
        workload = Workload(WorkloadSpec(id_kind=kind, plant_sessions=400))
        built = time.perf_counter() - began
        sizes = check(workload, 400)
        every = [size for group in sizes.values() for size in group]
        began = time.perf_counter()
        requests = [workload.batch(number * 5, 5) for number in range(1_000)]
        made = sum(request.events for request in requests) / (time.perf_counter() - began)
        print(f"ids {kind}: {len(every)} events, mean {statistics.mean(every):.0f} B, median {statistics.median(every):.0f} B,")
        print(f"  smallest {min(every)} B, largest {max(every)} B; batch of 100: {len(requests[0].body)} B")
        for per_commit in (1, 10):
            ratio, speed = compression(requests, per_commit)
            print(f"  zstd-1 over {per_commit * 100} events: {ratio:.2f} to 1 at {speed:,.0f} events/s")
        whole, _ = compression(requests, len(requests))
        print(f"  zstd-1 over {len(requests) * 100} events at once: {whole:.2f} to 1")
        print(f"  made at {made:,.0f} events/s, after {built:.2f} s of preparation")
        print("  mean by type:", {name: round(statistics.mean(group)) for name, group in sizes.items()})


if __name__ == "__main__":
    main()
