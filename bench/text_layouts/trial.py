"""One layout in a process of its own: fill it, weigh it, ask it."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import zstandard

from bench.machine import canary_ms
from bench.text_layouts.layout import Driver, FtsRows, TextLayout
from bench.text_layouts.volumes import Volumes
from bench.workload import Workload, WorkloadSpec
from chaukas.server.storage.sqlite.segments import SEGMENT_EVENTS_MAX, decode_bodies, encode_bodies
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.scan import TextScanner
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["LAYOUTS", "QUESTIONS", "Measured", "Plan", "run", "run_apart"]

LAYOUTS: dict[str, Callable[[Path], TextLayout]] = {
    "F": Driver,
    "C": lambda directory: FtsRows(directory, "column"),
    "N": lambda directory: FtsRows(directory, "none"),
    "V": lambda directory: Volumes(directory, 1, 16_384),
    "S": lambda directory: Volumes(directory, SEGMENT_EVENTS_MAX, 65_536),
}
#: What is asked: a page of the first 100 that match.
QUESTIONS: dict[str, str] = {
    "rare": "planted",
    "usual": "invoice",
    "common": "the",
    "never both": "openai anthropic",
    "phrase": '"plastic hour"',
    "never a phrase": '"prod us"',
    "prefix": "invoi*",
    "two characters": "\u4e02\u4e05",
}
_PAGE = 100
_EVENTS_PER_COMMIT = 8_192
_CALLS = 7
#: A question that took longer is not asked again.
_PATIENCE_S = 2.0
_SIZES = (50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000)
#: Behind one session in so many stands a message of Chinese characters, of which the workload itself has none.
_SESSIONS_PER_CHINESE = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What a child process is to do."""

    layout: str
    id_kind: str
    events: int


@dataclass(slots=True)
class Measured:
    """What it found."""

    plan: Plan
    #: Size -> processor microseconds per event from the size before up to it, reading and decompressing the segment included.
    cpu_us: dict[int, float] = field(default_factory=dict)
    cpu_us_in_all: float = 0.0
    bytes_per_event: float = 0.0
    share_of_payload: float = 0.0
    written_per_event: float = 0.0
    #: Question -> median processor milliseconds until the page was complete and compared with the query where it had to be.
    answers_ms: dict[str, float] = field(default_factory=dict)
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


class _Record:
    """The stored events as segments, compressed in memory as the record has them on disk."""

    def __init__(self) -> None:
        self.segments: list[bytes] = []
        self.events = 0
        self.payload_bytes = 0
        self._compressor, self._decompressor = (
            zstandard.ZstdCompressor(level=1, write_checksum=True),
            zstandard.ZstdDecompressor(),
        )

    def append(self, bodies: list[bytes]) -> bytes:
        segment = encode_bodies(self._compressor, bodies, [0] * len(bodies))
        self.segments.append(segment)
        self.events += len(bodies)
        self.payload_bytes += sum(map(len, bodies))
        return segment

    def bodies(self, number: int) -> list[bytes]:
        first = number * SEGMENT_EVENTS_MAX
        events = min(SEGMENT_EVENTS_MAX, self.events - first)
        return list(decode_bodies(self._decompressor, first, events, self.segments[number]))


def run(plan: Plan, directory: Path) -> Measured:
    """Fill a layout in an empty directory, ask, and weigh what lies there after it was closed."""
    measured = Measured(plan, canary_ms=canary_ms())
    layout, record = LAYOUTS[plan.layout](directory), _Record()
    before_bytes = _written_bytes()
    _fill(layout, record, measured)
    measured.written_per_event = (_written_bytes() - before_bytes) / record.events
    for name, text in QUESTIONS.items():
        measured.answers_ms[name] = _ask(layout, record, TextQuery.parse(text))
    layout.close()
    measured.canary_ms = max(measured.canary_ms, canary_ms())
    size_bytes = sum(file.stat().st_blocks * 512 for file in directory.iterdir())
    measured.bytes_per_event = size_bytes / record.events
    measured.share_of_payload = size_bytes / record.payload_bytes
    return measured


def _events(plan: Plan) -> Iterator[bytes]:
    workload = Workload(WorkloadSpec(plan.id_kind, plant_sessions=plan.events // 20))
    rng = random.Random("chinese")
    for number in range(plan.events // 20):
        yield from workload.events(number)
        if number % _SESSIONS_PER_CHINESE == 0:
            event = Event.FromString(workload.events(number)[0])
            event.message.text = "".join(chr(0x4E00 + int(rng.paretovariate(0.5)) % 3_000) for _ in range(300))
            yield event.SerializeToString(deterministic=True)


def _fill(layout: TextLayout, record: _Record, measured: Measured) -> None:
    events = _events(measured.plan)
    in_all = window = 0.0
    since = uncommitted = 0
    sizes = [size for size in _SIZES if size <= measured.plan.events]
    while bodies := list(itertools.islice(events, SEGMENT_EVENTS_MAX)):
        first = record.events
        record.append(bodies)
        began = time.process_time()
        layout.add(first, record.bodies(len(record.segments) - 1))
        uncommitted += len(bodies)
        if uncommitted >= _EVENTS_PER_COMMIT:
            layout.commit()
            uncommitted = 0
        window += time.process_time() - began
        if sizes and record.events >= sizes[0]:
            measured.cpu_us[sizes.pop(0)] = window / (record.events - since) * 1e6
            in_all, window, since = in_all + window, 0.0, record.events
    began = time.process_time()
    layout.commit()
    measured.cpu_us_in_all = (in_all + window + time.process_time() - began) / record.events * 1e6


def _ask(layout: TextLayout, record: _Record, query: TextQuery) -> float:
    took: list[float] = []
    while len(took) < _CALLS and sum(took) < _PATIENCE_S:
        began = time.process_time()
        indexes, exact = layout.candidates(query)
        matches = indexes if exact else _verified(record, query, indexes)
        for _ in itertools.islice(matches, _PAGE):
            pass
        took.append(time.process_time() - began)
    return sorted(took)[len(took) // 2] * 1_000


def _verified(record: _Record, query: TextQuery, indexes: Iterable[int]) -> Iterator[int]:
    scanner = TextScanner(query)
    number, bodies = -1, []
    for index in indexes:
        if index // SEGMENT_EVENTS_MAX != number:
            number = index // SEGMENT_EVENTS_MAX
            bodies = record.bodies(number)
        if scanner.matches(bodies[index % SEGMENT_EVENTS_MAX]):
            yield index


def _written_bytes() -> int:
    """proc(5), /proc/pid/io: what this process caused to be sent to the disk."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise OSError("the kernel does not count what is written")
