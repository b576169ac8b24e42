"""JSON Lines: recordings of the published SDK in file mode, and files as they are while somebody writes them."""

from __future__ import annotations

import io
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaukas.server.wire.json_fields import CONTENT_KINDS
from chaukas.server.wire.json_form import JsonProblem, event_to_openapi, json_bytes
from chaukas.server.wire.json_lines import read_json_lines
from chaukas.spec.common.v1.events_pb2 import Event


def _read(data: bytes, **options: int) -> list[tuple[int, Event | JsonProblem]]:
    return list(read_json_lines(io.BytesIO(data), **options))


def test_every_recording_of_the_sdk_is_read(recorded_dir: Path) -> None:
    """What the published SDK wrote in file mode comes in with every field; its times are UTC."""
    files = sorted(recorded_dir.glob("*/file_mode.jsonl"))
    assert len(files) >= 17
    for path in files:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        with path.open("rb") as file:
            events = list(read_json_lines(file))
        assert [number for number, _ in events] == list(range(1, len(lines) + 1))
        for (_, event), line in zip(events, lines, strict=True):
            assert isinstance(event, Event), str(event)
            form = event_to_openapi(event)
            content = form.pop("content", {})
            assert line.keys() - CONTENT_KINDS.keys() <= form.keys()
            assert len(line.keys() - form.keys()) == bool(content)
            assert form["event_id"] == line["event_id"]
            assert line["type"] == f"EVENT_TYPE_{form['type']}"
            assert event.timestamp.ToNanoseconds() == _nanoseconds(line["timestamp"])


def _nanoseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is None
    whole = moment.replace(tzinfo=UTC, microsecond=0)
    return int(whole.timestamp()) * 10**9 + moment.microsecond * 1000


def test_lines_in_every_form() -> None:
    """Either form of JSON, either end of line, empty lines, a byte-order mark and a last line without an end."""
    data = b'\xef\xbb\xbf{"event_id":"a"}\r\n\n  \t\r\n{"eventId":"b"}\n{"event":{"event_id":"c"}}'
    assert [(number, event.event_id) for number, event in _read(data)] == [(1, "a"), (4, "b"), (5, "c")]
    assert _read(b"") == _read(b"\n\n") == _read(b"\xef\xbb\xbf") == []


def test_a_bad_line_costs_no_other() -> None:
    """Whatever a line holds, the next one is read; the text of the bad one is kept."""
    data = b'{"event_id":"a"}\n{"event_id":5}\n{"event_id":\n\x00\x00\x00\n\xff\n{"event_id":"b"}\n'
    items = _read(data)
    assert [number for number, _ in items] == [1, 2, 3, 4, 5, 6]
    assert [item.event_id for _, item in items] == ["a", "", "", "", "", "b"]
    problems = [item for _, item in items if isinstance(item, JsonProblem)]
    assert [problem.raw for problem in problems] == [b'{"event_id":5}', b'{"event_id":', b"\x00\x00\x00", b"\xff"]
    assert problems[0].reasons == ("event_id: expected a string, got a number",)
    assert problems[1].reasons[0].startswith("the body is not JSON: Expecting value")
    assert not any(problem.incomplete for problem in problems)


@pytest.mark.parametrize("cut", [1, 9, 20, 33])
def test_a_line_that_is_still_being_written(cut: int) -> None:
    """The last line without an end is no mistake of the writer: the importer may come back for it."""
    line = b'{"event_id":"b","agent_name":"ab"}'
    (_, first), (number, last) = _read(b'{"event_id":"a"}\n' + line[:cut])
    assert isinstance(first, Event)
    assert isinstance(last, JsonProblem)
    assert (number, last.incomplete, last.raw) == (2, True, line[:cut])
    assert "still being written" in str(last)
    assert isinstance(_read(line)[0][1], Event)


def test_a_character_cut_in_two_at_the_end() -> None:
    """A writer may stop between the bytes of one character."""
    ((_, item),) = _read('{"agent_name":"ü'.encode()[:-1])
    assert isinstance(item, JsonProblem)
    assert item.incomplete


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_length_of_a_line_is_bounded(end: bytes) -> None:
    """A line of exactly the limit is read; a longer one is passed over, reported with its length, and the next is read."""
    fitting = b'{"event_id":"' + b"x" * 35 + b'"}'
    assert isinstance(_read(fitting + end, line_bytes_max=50)[0][1], Event)
    long = b'{"event_id":"' + b"x" * 500 + b'"}'
    items = _read(long + b"\n" + fitting + end, line_bytes_max=50)
    assert [number for number, _ in items] == [1, 2]
    assert isinstance(items[0][1], JsonProblem)
    assert str(items[0][1]) == "the line has 516 bytes; at most 50 are read"
    assert isinstance(items[1][1], Event)
    assert isinstance(_read(long + end, line_bytes_max=50)[0][1], JsonProblem)


class _EndlessLine(io.RawIOBase):
    """100 MB without an end of line, made as they are read."""

    def __init__(self) -> None:
        self._left = 100_000_000

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        size = min(len(buffer), self._left)
        buffer[:size] = b"x" * size
        self._left -= size
        return size


def test_memory_is_bounded_by_one_line() -> None:
    """A file that is one endless line does not fill memory."""
    tracemalloc.start()
    try:
        ((number, item),) = read_json_lines(io.BufferedReader(_EndlessLine()), line_bytes_max=1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert number == 1
    assert isinstance(item, JsonProblem)
    assert "100000000 bytes" in str(item)
    assert len(item.raw) <= 4096
    assert peak < 20_000_000


def test_answers_can_be_imported() -> None:
    """What a query gives line by line is what an import reads."""
    event = Event(event_id="e", type="EVENT_TYPE_SYSTEM")
    event.message.text = "line\nbreak"
    assert _read(json_bytes(event_to_openapi(event)) + b"\n") == [(1, event)]
