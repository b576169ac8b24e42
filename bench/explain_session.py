"""One explanation in a process of its own: processor time of its parts and the memory that it takes.

    python -m bench.explain_session KIND EVENTS

KIND is `recorded` (the recordings of the SDK and the demonstration's sessions, again and again with other ids) or `workload` (the
sessions of the benchmark, whose texts are all different). Either way one session id holds all events, and the copies lie one
after the other in time. Prints one line of JSON.
"""

from __future__ import annotations

import gc
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bench.machine import resident_mib
from bench.workload import Workload, WorkloadSpec
from chaukas.server.demo import demo_sessions
from chaukas.server.explain.evidence_graph import evidenced
from chaukas.server.explain.findings import RULES, find_all
from chaukas.server.explain.grounding import ground, groundable
from chaukas.server.explain.grounds import grounds_of
from chaukas.server.explain.narrative import narrative
from chaukas.server.explain.rendering.markdown import markdown_of
from chaukas.server.explain.steps import structure_of
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["KINDS", "PARTS", "events_of", "main", "measure"]

KINDS = ("recorded", "workload")
#: In the order in which they are computed: the steps and runs, the findings, the evidence graph, the page, all groundings.
PARTS = ("structure", "findings", "evidence", "narrative", "groundings")

_T = TypeVar("_T")
_RECORDED = Path(__file__).resolve().parent.parent / "tests" / "data" / "recorded" / "openai_agents"
_SESSION_ID = "00000004-0000-4000-8000-000000000001"
_ID_FIELDS = ("event_id", "span_id", "parent_span_id", "trace_id", "invocation_id")
#: From one copy of the recordings to the next.
_COPY_S = 86_400
#: 5,000 events, for which a text of the workload is long enough.
_STRETCH_SESSIONS = 250
_DEMO_AT_NS = 1_790_000_000 * 1_000_000_000
#: Small sessions are explained again until so much processor time is used; the median counts.
_BUDGET_S, _REPEATS_MAX = 2.0, 25


def _recordings() -> list[Event]:
    """Every event that the SDK sent while it was recorded, by scenario, and those of the demonstration."""
    events: list[Event] = []
    for rows in sorted(_RECORDED.glob("*/requests.jsonl")):
        for line in rows.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            path = rows.parent / row["file"] if row.get("file") else None
            if path is None or not path.exists():
                continue
            if "Batch" in row["message"]:
                events += client_pb2.IngestEventBatchRequest.FromString(path.read_bytes()).event_batch.events
            else:
                events.append(client_pb2.IngestEventRequest.FromString(path.read_bytes()).event)
    return [*events, *(event for session in demo_sessions(_DEMO_AT_NS) for event in session.events)]


def _recorded() -> Iterator[Event]:
    originals = [event.SerializeToString() for event in _recordings()]
    for copy in itertools.count():
        for original in originals:
            event = Event.FromString(original)
            event.session_id = _SESSION_ID
            event.timestamp.seconds += copy * _COPY_S
            for name in _ID_FIELDS if copy else ():
                if known := getattr(event, name):
                    setattr(event, name, f"{known}/{copy}")
            yield event


def _workload() -> Iterator[Event]:
    """Each stretch is cut from a text of its own: from a single one, a long session would repeat every passage many times."""
    for stretch in itertools.count():
        workload = Workload(WorkloadSpec(seed=1 + stretch))
        for number in range(stretch * _STRETCH_SESSIONS, (stretch + 1) * _STRETCH_SESSIONS):
            for raw in workload.events(number):
                event = Event.FromString(raw)
                event.session_id = _SESSION_ID
                yield event


def events_of(kind: str, count: int) -> list[Event]:
    """A session of so many events."""
    return list(itertools.islice(_recorded() if kind == "recorded" else _workload(), count))


def _explain(events: list[Event]) -> dict[str, float]:
    """Processor seconds of every part."""
    took_s: dict[str, float] = {}

    def part(name: str, work: Callable[[], _T]) -> _T:
        began = time.process_time()
        result = work()
        took_s[name] = time.process_time() - began
        return result

    structure = part("structure", lambda: structure_of(events))
    explanation = replace(structure, findings=part("findings", lambda: find_all(structure, RULES)))
    known = part("evidence", lambda: evidenced(explanation))
    part("narrative", lambda: markdown_of(narrative(explanation, "Session", basis=grounds_of(known)), explanation.record))
    rows = explanation.record.rows
    part("groundings", lambda: [ground(known, row.position) for row in rows if groundable(row)])
    return took_s


def measure(kind: str, count: int) -> dict[str, Any]:
    """Explain a session, small ones several times; milliseconds are medians by the processor's clock."""
    # As the server has it: what is explained holds hardly any cycles.
    gc.set_threshold(50_000, 20, 50)
    events = events_of(kind, count)
    payload_bytes = sum(event.ByteSize() for event in events)
    gc.collect()
    gc.freeze()
    pid = [int(Path("/proc/self").readlink().name)]
    before_mib = resident_mib(pid)
    runs = [_explain(events)]
    while sum(sum(run.values()) for run in runs) < _BUDGET_S and len(runs) < _REPEATS_MAX:
        runs.append(_explain(events))
    # The first one meets cold caches and patterns that are not compiled; it is told beside the others.
    later = sorted(runs[1:] or runs, key=lambda run: sum(run.values()))
    middle = later[len(later) // 2]
    return {
        "events": len(events),
        "payload_bytes": payload_bytes,
        "first_ms": sum(runs[0].values()) * 1_000,
        "whole_ms": sum(middle.values()) * 1_000,
        **{f"{name}_ms": middle[name] * 1_000 for name in PARTS},
        "events_mib": before_mib,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "repeats": len(runs),
    }


def main() -> None:
    """Measure what the arguments say."""
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))), flush=True)


if __name__ == "__main__":
    main()
