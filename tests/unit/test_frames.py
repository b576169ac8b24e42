"""What comes out of request bodies, whole and broken: every event that can be had, and the bytes of all others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from chaukas.server.errors import InvalidRequestError, RequestTooLargeError
from chaukas.server.wire import frames
from chaukas.server.wire.frames import Frame, parse_batch, parse_single
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.server.v1 import server_pb2
from tests.strategies import STRUCT_DEPTH_MAX, batch_body, good_batch_body, length_delimited, nested_struct_event


def _event(number: int, text: str = "") -> Event:
    event = Event(event_id=f"e{number}", tenant_id="acme", project_id="p", session_id="s", type=1)
    if text:
        event.message.text = text
    return event


def _single(raw: bytes) -> bytes:
    return length_delimited(1, raw)


def _ids(found: Sequence[Frame]) -> list[str | None]:
    return [None if frame.event is None else frame.event.event_id for frame in found]


GOOD = [_event(1), _event(2), _event(3)]
RAW = [event.SerializeToString() for event in GOOD]


def test_batch_of_both_packages() -> None:
    """Promise: a batch of the client package and one of the server package are read alike."""
    batch = EventBatch(batch_id="b", events=GOOD)
    for package in (client_pb2, server_pb2):
        parsed = parse_batch(package.IngestEventBatchRequest(event_batch=batch).SerializeToString())
        assert parsed.batch_id == "b"
        assert [frame.event for frame in parsed.frames] == GOOD
        assert [frame.raw for frame in parsed.frames] == RAW
        frame = parse_single(package.IngestEventRequest(event=GOOD[0]).SerializeToString())
        assert (frame.event, frame.raw, frame.problem) == (GOOD[0], RAW[0], "")


def test_recorded_requests_come_out_whole(recorded_dir: Path) -> None:
    """Promise: every request that the published SDK was seen to send parses, and its frames are its bytes."""
    requests = [(path, line) for path in recorded_dir.rglob("requests.jsonl") for line in path.read_text().splitlines()]
    assert requests
    for path, line in requests:
        request = json.loads(line)
        body = (path.parent / request["file"]).read_bytes()
        if request["path"].endswith("/batch"):
            batch = client_pb2.IngestEventBatchRequest.FromString(body).event_batch
            parsed = parse_batch(body)
            assert (parsed.batch_id, [frame.event for frame in parsed.frames]) == (batch.batch_id, list(batch.events))
            assert [Event.FromString(frame.raw) for frame in parsed.frames] == list(batch.events)
        else:
            assert parse_single(body).event == client_pb2.IngestEventRequest.FromString(body).event
            assert length_delimited(1, parse_single(body).raw) == body


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (nested_struct_event(STRUCT_DEPTH_MAX + 1).SerializeToString(), "metadata is nested deeper than the 100 levels"),
        (nested_struct_event(200).SerializeToString(), "metadata is nested deeper than the 100 levels"),
        (RAW[0] + length_delimited(5, b"\xff\xfe"), "span_id is not valid UTF-8"),
        (RAW[0] + length_delimited(22, b"\xc0\x80"), "tags is not valid UTF-8"),
        (RAW[0] + length_delimited(30, length_delimited(2, b"\xed\xa0\x80")), "message holds text that is not valid UTF-8"),
        (RAW[0] + length_delimited(30, b"\x12\x7f"), "message is malformed: field 2 claims 127 bytes, 0 are there"),
        (RAW[0] + b"\x0a\x50", "field 1 claims 80 bytes, 0 are there"),
        (RAW[0] + b"\x0b\x08\x01", "a group does not end"),
        (RAW[0] + b"\x0b\x14", "the group 2 ends inside another"),
        (RAW[0] + b"\x0c", "a group ends that did not begin"),
        (RAW[0] + b"\x0e\x01", "there is no wire type 6"),
        (RAW[0] + b"\x00\x01", "no field has the number 0"),
        (RAW[0] + b"\x38" + b"\xff" * 11, "a number is longer than ten bytes"),
        (RAW[0] + b"\x38", "a number is cut off"),
        (RAW[0] + b"\x39abc", "a number is cut off"),
        (RAW[0] + b"\xc3\x3e" + b"\x08\x01" * 1000 + b"\xc4\x3e\x0c", "a group holds more than 1000 fields"),
        (RAW[0] + b"\xc3\x3e" * 101 + b"\xc4\x3e" * 101, "groups are nested deeper than 100"),
        (RAW[0] + b"\xc3\x3e" * 99 + b"\xc4\x3e" * 99, "protobuf does not read it"),
    ],
)
def test_broken_event_among_good_ones_is_cut_out(broken: bytes, words: str) -> None:
    """Promise: one event that does not parse harms no other; it is kept raw, with what is wrong and whose it is."""
    for place in range(3):
        raws = [*RAW[:place], broken, *RAW[place:]]
        parsed = parse_batch(batch_body(raws, "b"))
        assert parsed.batch_id == "b"
        assert [frame.raw for frame in parsed.frames] == raws
        assert [frame.event for frame in parsed.frames if frame.event is not None] == GOOD
        frame = parsed.frames[place]
        assert frame.event is None
        assert frame.problem.startswith("event: does not parse as an Event: ")
        assert words in frame.problem
        assert (frame.event_id, frame.tenant_id) == ("deep" if b"deep" in broken else "e1", "acme")
    alone = parse_single(_single(broken))
    assert (alone.event, alone.raw, alone.problem) == (None, broken, frame.problem)


def test_event_that_only_parses_outside_a_batch_is_broken_in_both() -> None:
    """Promise: an event is taken only if every answer that will hold it can be read, by whatever route it came."""
    event = nested_struct_event(STRUCT_DEPTH_MAX + 1)
    raw = event.SerializeToString()
    assert Event.FromString(raw) == event
    assert parse_single(_single(raw)).event is None
    assert parse_batch(batch_body([raw])).frames[0].event is None
    fits = nested_struct_event(STRUCT_DEPTH_MAX)
    assert parse_single(_single(fits.SerializeToString())).event == fits


def test_ids_of_a_broken_event_are_read_as_far_as_they_are_text() -> None:
    """Promise: attribution of what does not parse never invents text and takes the last value, as protobuf does."""
    raw = RAW[0] + length_delimited(3, b"\xff") + length_delimited(2, b"other") + length_delimited(1, "ü\x00".encode())
    frame = parse_batch(batch_body([raw])).frames[0]
    assert (frame.event, frame.event_id, frame.tenant_id, frame.project_id) == (None, "ü\x00", "other", "")


def test_batch_that_is_broken_beside_its_events_gives_them_all() -> None:
    """Promise: a batch whose own metadata does not parse loses no event."""
    body = length_delimited(1, b"".join(length_delimited(3, raw) for raw in RAW) + length_delimited(1, b"\xff"))
    parsed = parse_batch(body)
    assert [frame.event for frame in parsed.frames] == GOOD
    assert parsed.batch_id == "\ufffd"


def test_truncated_batch_gives_the_intact_events_and_the_rest_raw() -> None:
    """Promise: at whatever byte a body ends, the events before that come out, and a partial event is never taken for one."""
    whole = batch_body(RAW)
    for length in range(len(whole)):
        try:
            found = list(parse_batch(whole[:length]).frames)
        except InvalidRequestError:
            assert length < len(whole) - sum(map(len, RAW)) - 2 * len(RAW) + 2
            continue
        intact = [event for event in (frame.event for frame in found) if event is not None]
        assert intact == GOOD[: len(intact)]
        assert all(frame.event is not None for frame in found[:-1])
        if found[-1].event is None and "cut off: the last" in found[-1].problem:
            assert whole[:length].endswith(found[-1].raw)
    assert len(intact) == 2


def test_truncated_single_event_is_kept_raw() -> None:
    """Promise: a single event of which the end is missing is never stored as if it were whole."""
    body = _single(RAW[0])
    for length in range(2, len(body)):
        frame = parse_single(body[:length])
        assert (frame.event, frame.raw) == (None, body[2:length])
        assert "cut off: the last" in frame.problem


def test_bytes_behind_a_break_are_kept() -> None:
    """Promise: what follows the place where a batch breaks may hold events: it is kept, as one frame."""
    inner = length_delimited(3, RAW[0]) + b"\x0f" + length_delimited(3, RAW[1])
    found = parse_batch(length_delimited(1, inner) + _single(length_delimited(3, RAW[2]))).frames
    assert _ids(found) == ["e1", None, "e3"]
    assert found[1].raw == b"\x0f" + length_delimited(3, RAW[1])
    assert "follows a break" in found[1].problem
    outer = batch_body(RAW[:1]) + b"\x07rest"
    found = parse_batch(outer).frames
    assert _ids(found) == ["e1", None]
    assert found[1].raw == b"\x07rest"


def test_several_batches_in_one_request_are_one() -> None:
    """Promise: repeated `event_batch` fields merge as protobuf merges them: events follow each other, the last id counts."""
    body = batch_body(RAW[:1], "first") + batch_body(RAW[1:], "second")
    parsed = parse_batch(body)
    assert (parsed.batch_id, [frame.event for frame in parsed.frames]) == ("second", GOOD)
    assert [frame.raw for frame in parsed.frames] == RAW
    parsed = parse_batch(batch_body([*RAW[:1], b"\xff"], "first") + batch_body(RAW[1:], "second"))
    assert (parsed.batch_id, _ids(parsed.frames)) == ("second", ["e1", None, "e2", "e3"])


def test_several_events_in_a_single_request_are_one() -> None:
    """Promise: repeated `event` fields merge field by field, as protobuf merges them."""
    body = _single(RAW[0]) + _single(Event(event_id="last", agent_id="a", tags=["t"]).SerializeToString())
    frame = parse_single(body)
    assert frame.event == server_pb2.IngestEventRequest.FromString(body).event
    assert frame.event is not None
    assert (frame.event.event_id, frame.event.session_id) == ("last", "s")
    assert frame.raw == body[2 : 2 + len(RAW[0])] + body[4 + len(RAW[0]) :]


def test_unknown_fields_around_events_do_no_harm() -> None:
    """Promise: fields that a newer client adds to requests and batches are skipped."""
    extra = length_delimited(99, b"new") + b"\xa0\x06\x05" + b"\xa3\x06\xa4\x06"
    assert parse_single(extra + _single(RAW[0]) + extra).event == GOOD[0]
    body = extra + length_delimited(1, extra + length_delimited(3, RAW[0]) + extra) + extra
    assert _ids(parse_batch(body).frames) == ["e1"]


@pytest.mark.parametrize("inner", [b"", length_delimited(1, b"b"), length_delimited(2, b"\x08\x05") + b"\x58\x07"])
def test_batch_without_events_is_nothing_to_do(inner: bytes) -> None:
    """Promise: an empty batch is valid."""
    assert list(parse_batch(length_delimited(1, inner)).frames) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x12\x01x",
        b"hello, this is no protobuf",
        b'{"event_batch": {"events": []}}',
        b"\n{" + b'"event_batch": {}}',
        b"\xff" * 50,
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x0a\x05\x0a\x02\xff\xff\x07",
        b"\x0b" * 1000,
        bytes(1000),
    ],
)
def test_body_without_a_batch_is_refused(body: bytes) -> None:
    """Promise: a body in which no event can be found is an InvalidRequestError that says so; nothing else is raised."""
    with pytest.raises(InvalidRequestError, match=r"body|event_batch"):
        parse_batch(body)


@pytest.mark.parametrize("body", [b"", b"\x12\x01x", b"hello", b'{"event": {}}', b"\xff" * 50, b"\x08\x01", b"\x0a", b"\x0a\x80"])
def test_body_without_an_event_is_refused(body: bytes) -> None:
    """Promise: a single request without an event is an InvalidRequestError that says so; nothing else is raised."""
    with pytest.raises(InvalidRequestError, match=r"body|event"):
        parse_single(body)


def test_empty_events_are_frames() -> None:
    """Promise: an event without a field is an event of the caller's, to be quarantined and not to be overlooked."""
    assert [frame.event for frame in parse_batch(batch_body([b"", b""])).frames] == [Event(), Event()]
    assert parse_single(b"\x0a\x00").event == Event()


@pytest.mark.parametrize("size", [0, 300_000])
def test_single_event_in_the_place_of_a_batch_is_refused(size: int) -> None:
    """Promise: a single event sent as a batch is not acknowledged and lost, although some parse as an empty batch."""
    bare = Event(event_id="e", type=1)
    full = _event(1, text="x" * size)
    for event in (bare, full):
        with pytest.raises(InvalidRequestError, match="single event"):
            parse_batch(_single(event.SerializeToString()))


@pytest.mark.parametrize("size", [0, 300_000])
def test_batch_in_the_place_of_a_single_event_is_refused(size: int) -> None:
    """Promise: a batch sent as a single event is refused with what to do, also if it parses as an event."""
    batch = EventBatch(batch_id="b", events=[_event(1, text="x" * size), _event(2)])
    with pytest.raises(InvalidRequestError, match="batch of events"):
        parse_single(server_pb2.IngestEventBatchRequest(event_batch=batch).SerializeToString())
    batch.timestamp.seconds = 1_790_000_000
    with pytest.raises(InvalidRequestError, match="batch of events"):
        parse_single(server_pb2.IngestEventBatchRequest(event_batch=batch).SerializeToString())


def test_too_many_events_are_refused_with_the_words_that_make_the_sdk_split() -> None:
    """Promise: the number of events in a request is bounded, whole, cut and large bodies alike."""
    for raws in ([b""] * 11, [b"\xff"] * 11, [b"x" * 30_000] * 11):
        with pytest.raises(RequestTooLargeError, match="high memory usage"):
            parse_batch(batch_body(raws), events_max=10)
    assert len(parse_batch(batch_body([b""] * 10), events_max=10).frames) == 10


def test_event_above_the_limit_is_not_parsed() -> None:
    """Promise: the memory that an event can take is bounded before it is parsed; its bytes and ids are kept."""
    big = _event(7, text="x" * 300_000).SerializeToString()
    frame = parse_batch(batch_body([big, *RAW]), event_bytes_max=100_000).frames[0]
    assert (frame.event, frame.raw, frame.event_id) == (None, big, "e7")
    assert frame.problem == f"event: has {len(big)} bytes; at most 100000 are allowed"
    assert parse_single(_single(big), event_bytes_max=100_000).problem == frame.problem
    assert parse_single(_single(big)).event is not None


def _large_batch() -> tuple[list[Event], bytes]:
    events = [_event(number, text="x" * 3_000) for number in range(300)]
    return events, good_batch_body(events)


def test_large_batch_is_parsed_part_by_part() -> None:
    """Promise: of a large body only the part is parsed that is looked at; walks, slices and single frames agree."""
    events, body = _large_batch()
    found = parse_batch(body).frames
    assert not isinstance(found, list)
    assert len(found) == 300
    assert [frame.event for frame in found] == events
    assert [frame.raw for frame in found] == [event.SerializeToString() for event in events]
    assert [frame.event for frame in found[250:]] == events[250:]
    assert [frame.event for frame in found[10:20:3]] == events[10:20:3]
    assert found[-1].event == events[-1]
    assert found[7].raw == events[7].SerializeToString()
    assert found[5:5] == []
    with pytest.raises(IndexError):
        found[300]


def test_large_batch_with_broken_events_in_several_pieces() -> None:
    """Promise: what holds for small bodies holds for large ones: every intact event, every broken one raw, in order."""
    events, body = _large_batch()
    raws = [event.SerializeToString() for event in events]
    broken = nested_struct_event(50).SerializeToString()
    body = body + batch_body([raws[0], broken, *raws[1:3]]) + length_delimited(3, b"elsewhere") + batch_body([raws[3]])[:-5]
    found = list(parse_batch(body).frames)
    assert [frame.event for frame in found] == [*events, events[0], None, *events[1:3], None]
    assert [frame.raw for frame in found] == [*raws, raws[0], broken, *raws[1:3], raws[3][:-5]]
    assert "cut off" in found[-1].problem
    assert [frame.event is None for frame in parse_batch(body).frames[-4:]] == [True, False, False, True]
    # Also where the part of an event that is there would parse.
    partial = length_delimited(1, b"e3")
    assert raws[3].startswith(partial)
    frame = list(parse_batch(body[: body.rindex(raws[3][:-5]) + len(partial)]).frames)[-1]
    assert (frame.event, frame.raw) == (None, partial)


def test_flood_of_empty_events_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a body of two-byte events, two hundred times as large once parsed, is counted before anything is parsed."""

    def refuse(_: object) -> None:
        pytest.fail("the body was parsed")

    monkeypatch.setattr(frames, "IngestEventBatchRequest", type("Refusing", (), {"FromString": staticmethod(refuse)}))
    with pytest.raises(RequestTooLargeError):
        parse_batch(length_delimited(1, b"\x1a\x00" * 4_000_000))


@pytest.mark.parametrize(
    "body",
    [
        length_delimited(1, b"\x1a\x00" + b"\x0a\x00" * 4_000_000),
        b"\x0a\x02\x1a\x00" * 2_000_000,
        length_delimited(1, b"\x1a\x00") + b"\x10\x00" * 4_000_000,
    ],
)
def test_request_that_is_made_to_be_slow_is_refused(body: bytes) -> None:
    """Promise: reading a request takes bounded work, whatever millions of fields it is made of."""
    with pytest.raises(InvalidRequestError, match="holds more than 10000 fields beside its events"):
        parse_batch(body)
    try:
        frame = parse_single(body)
    except InvalidRequestError as error:
        problem = str(error)
    else:
        problem = frame.problem
    assert "holds more than 1000 fields" in problem or "at most 2097152 are allowed" in problem


def test_frames_show_what_they_are() -> None:
    """Promise: a frame in a log line or a failed test shows its id or its problem, not its content."""
    found = parse_batch(batch_body([RAW[0], RAW[1] + b"\x0c"])).frames
    assert list(map(repr, found)) == [
        "Frame('e1')",
        "Frame('e2', 'event: does not parse as an Event: a group ends that did not begin (byte 18)')",
    ]


def test_walk_over_a_hostile_event_is_bounded() -> None:
    """Promise: saying what is wrong with an event takes bounded work, however many fields it is made of."""
    fields = itertools.repeat(length_delimited(30, b"\x0a\x00"), 50_000)
    raw = RAW[0] + b"".join(fields) + length_delimited(5, b"\xff")
    frame = parse_single(_single(raw))
    assert (frame.event, frame.event_id, frame.problem) == (
        None,
        "e1",
        "event: does not parse as an Event: protobuf does not read it",
    )
