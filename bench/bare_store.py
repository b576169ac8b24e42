"""The other limit: the embedded store without a network, in one process.

    python -m bench.bare_store DIR EVENTS PER_APPEND

Events are parsed and prepared (validated, serialised, cut) before the clock starts; then they are appended, one
transaction after the other. How long preparing takes is told as well. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from bench.machine import disk_bytes
from bench.workload import Workload, WorkloadSpec
from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.ingest.prepare import prepare
from chaukas.server.storage.contract import EventRecord
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.validation import Limits
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["main", "measure"]

_SERVER_NAME = "bench.localhost"


def _records(sessions: int) -> tuple[list[EventRecord], float]:
    """Records of the first sessions, and the events prepared per second (parsed from bytes, one core)."""
    workload, records, limits = Workload(WorkloadSpec()), [], Limits()
    raw = [event for number in range(sessions) for event in workload.events(number)]
    began, now_ns = time.perf_counter(), time.time_ns()
    for event in raw:
        record = prepare(Event.FromString(event), ANONYMOUS, limits, _SERVER_NAME, now_ns)
        if not isinstance(record, EventRecord):
            raise TypeError(f"the workload is not valid: {record.reasons}")
        records.append(record)
    return records, len(records) / (time.perf_counter() - began)


async def measure(directory: Path, events: int, per_append: int) -> dict[str, Any]:
    """Append `events` events, `per_append` in a transaction."""
    records, prepared_rate = _records(events // 20)
    store = SqliteStore(directory, _SERVER_NAME, quarantine_items_max=1_000, quarantine_bytes_max=1_000_000)
    await store.open()
    try:
        began, took = time.perf_counter(), []
        for start in range(0, len(records), per_append):
            before = time.perf_counter()
            await store.append(records[start : start + per_append])
            took.append(time.perf_counter() - before)
        seconds = time.perf_counter() - began
        stored = (await store.info()).events
    finally:
        await store.close()
    if stored != len(records):
        raise RuntimeError(f"{stored} of {len(records)} events were stored")
    allocated, _ = disk_bytes(directory)
    took.sort()
    return {
        "events_per_s": len(records) / seconds,
        "prepared_per_s": prepared_rate,
        "append_p50_ms": took[len(took) // 2] * 1_000,
        "append_p99_ms": took[len(took) * 99 // 100] * 1_000,
        "bytes_per_event": allocated / len(records),
    }


def main() -> None:
    """Measure in an empty directory, which is removed afterwards."""
    directory, events, per_append = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    directory.mkdir(parents=True)
    try:
        print(json.dumps(asyncio.run(measure(directory, events, per_append))), flush=True)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
