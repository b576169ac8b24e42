"""One layout in a process of its own: fill it, ask it, weigh it."""

from __future__ import annotations

import itertools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from bench.layouts.narrow import NarrowRows
from bench.layouts.ours import Blocks, BlocksUnmerged
from bench.layouts.row_layout import QUESTIONS, SERVER_NAME, Layout
from bench.layouts.wide import WideRows
from bench.machine import canary_ms
from bench.plants import PlantPlan
from bench.workload import PROJECT, Workload, WorkloadSpec
from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.ingest.prepare import prepare
from chaukas.server.storage.contract import EventRecord, IngestStatus
from chaukas.server.validation import Limits
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["LAYOUTS", "Measured", "Plan", "run", "run_apart"]

LAYOUTS: dict[str, Callable[[Path], Layout]] = {"C": Blocks, "C-": BlocksUnmerged, "N": NarrowRows, "W": WideRows}
#: Rates are taken at these sizes, each over the last `_WINDOW` events up to it, or the last half when those are fewer.
_SIZES = (10_000, 50_000, 200_000, 500_000, 1_000_000, 2_000_000)
_WINDOW = 50_000
_CALLS = 60
_SESSION_EVENTS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a child process is to do."""

    layout: str
    id_kind: str
    events: int
    per_commit: int
    #: A layout that needs longer stops at the size it has reached.
    seconds_max: float


@dataclass(slots=True)
class Measured:
    """What it found."""

    plan: Plan
    stored: int = 0
    #: Size -> events per second around it, counting only the time in `append`.
    rates: dict[int, float] = field(default_factory=dict)
    #: Processor microseconds of `append` per event, over everything.
    cpu_us: float = 0.0
    bytes_per_event: float = 0.0
    #: Bytes that were given to the disk while filling, write-ahead log included, per event.
    written_per_event: float = 0.0
    #: Question -> median milliseconds.
    answers_ms: dict[str, float] = field(default_factory=dict)
    #: What the layout added to the peak memory of its process.
    memory_mib: float = 0.0
    #: How fast the machine itself was: the slower one of before and after; rates of other lines compare only when it is alike.
    canary_ms: float = 0.0


def run_apart(plan: Plan, home: Path) -> Measured:
    """Run a plan in a new process, with its data in a directory below `home` that is removed afterwards."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(dir=home) as directory:
        child = context.Process(target=_child, args=(sender, plan, Path(directory)))
        child.start()
        sender.close()
        try:
            measured: Measured = receiver.recv()
        except EOFError:
            raise RuntimeError(f"the process of layout {plan.layout} failed") from None
        finally:
            child.join()
    return measured


def _child(sender: Connection, plan: Plan, directory: Path) -> None:
    sender.send(run(plan, directory))
    sender.close()


def run(plan: Plan, directory: Path) -> Measured:
    """Fill a layout in an empty directory, ask, and weigh what lies there after it was closed."""
    sessions = plan.events // _SESSION_EVENTS
    workload = Workload(WorkloadSpec(plan.id_kind, plant_sessions=sessions))
    measured = Measured(plan, canary_ms=canary_ms())
    before_mib, before_bytes = _peak_mib(), _written_bytes()
    layout = LAYOUTS[plan.layout](directory)
    _fill(layout, workload, measured)
    measured.written_per_event = (_written_bytes() - before_bytes) / measured.stored
    _ask(layout, workload, measured)
    measured.memory_mib = _peak_mib() - before_mib
    layout.close()
    measured.canary_ms = max(measured.canary_ms, canary_ms())
    measured.bytes_per_event = sum(file.stat().st_blocks * 512 for file in directory.iterdir()) / measured.stored
    return measured


def _records(workload: Workload, sessions: int) -> Iterator[EventRecord]:
    """Sessions as a server sees them when five clients send at once: their events alternate."""
    limits, now_ns = Limits(), time.time_ns()
    for first in range(0, sessions, 5):
        together = [workload.events(number) for number in range(first, min(first + 5, sessions))]
        for raw in itertools.chain.from_iterable(itertools.zip_longest(*together)):
            if raw is not None:
                record = prepare(Event.FromString(raw), ANONYMOUS, limits, SERVER_NAME, now_ns)
                if not isinstance(record, EventRecord):
                    raise TypeError(f"the workload is not valid: {record.reasons}")
                yield record


def _fill(layout: Layout, workload: Workload, measured: Measured) -> None:
    plan = measured.plan
    records = _records(workload, plan.events // _SESSION_EVENTS)
    spent, cpu_s = 0.0, 0.0
    #: (events stored, seconds spent) after each commit.
    course: list[tuple[int, float]] = [(0, 0.0)]
    sizes = [size for size in _SIZES if size <= plan.events]
    while (commit := list(itertools.islice(records, plan.per_commit))) and spent < plan.seconds_max:
        began, cpu_began = time.perf_counter(), time.process_time()
        outcomes = layout.append(commit)
        cpu_s += time.process_time() - cpu_began
        spent += time.perf_counter() - began
        if any(outcome.status is not IngestStatus.ACCEPTED for outcome in outcomes):
            raise RuntimeError("an event of the workload was not accepted")
        measured.stored += len(commit)
        course.append((measured.stored, spent))
        if sizes and measured.stored >= sizes[0]:
            size = sizes.pop(0)
            since = next(entry for entry in course if entry[0] >= max(size // 2, size - _WINDOW))
            measured.rates[size] = (measured.stored - since[0]) / (spent - since[1])
    measured.cpu_us = cpu_s / measured.stored * 1_000_000
    again = [record for record, _ in zip(_records(workload, 5), range(100), strict=False)]
    if any(outcome.status is not IngestStatus.DUPLICATE for outcome in layout.append(again)):
        raise RuntimeError("an event that was stored is not recognised")


def _ask(layout: Layout, workload: Workload, measured: Measured) -> None:
    """Each question with changing values, spread over the record, so that caches help as little as they do a server."""
    stored_sessions = measured.stored // _SESSION_EVENTS - 5
    numbers = [(7_919 * call + 13) % stored_sessions for call in range(_CALLS)]
    facts = [workload.facts(number) for number in numbers]
    rare = PlantPlan.rare_type
    values: dict[str, list[str | int]] = {
        "session": [fact.session_id for fact in facts],
        "trace": [fact.trace_id for fact in facts],
        "span": [fact.span_id for fact in facts],
        "agent": [fact.agent for fact in facts],
        "type": [rare] * (_CALLS // 4),
        "newest": [0] * _CALLS,
    }
    expected = {"session": 20, "trace": 20, "span": 2, "agent": 100, "type": 1, "newest": 100}
    complete = measured.stored >= measured.plan.events
    for question in QUESTIONS:
        took: list[float] = []
        for value in values[question]:
            began = time.perf_counter()
            events = layout.ask(question, facts[0].tenant, PROJECT, value)
            took.append(time.perf_counter() - began)
            if len(events) != expected[question] and (complete or question != "type"):
                raise RuntimeError(f"{question} {value!r}: {len(events)} events instead of {expected[question]}")
        measured.answers_ms[question] = sorted(took)[len(took) // 2] * 1_000


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _written_bytes() -> int:
    """proc(5), /proc/pid/io: what this process caused to be sent to the disk."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise OSError("the kernel does not count what is written")
