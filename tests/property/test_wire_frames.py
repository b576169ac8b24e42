"""Requests of any bytes: every event that can be had comes out, and only errors of ours."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.errors import InvalidRequestError
from chaukas.server.wire import frames
from chaukas.server.wire.event_bytes import received_bytes
from chaukas.server.wire.fields import MalformedError, encode_varint, fields_of, read_varint
from chaukas.server.wire.frames import Frame, parse_batch, parse_single
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchRequest, IngestEventRequest
from tests.strategies import (
    STRUCT_DEPTH_MAX,
    batch_body,
    events,
    events_with_unknown_fields,
    good_batch_body,
    length_delimited,
    nested_struct_event,
    unhurried,
    unknown_fields,
    varint,
)

_raw_events = st.one_of(events(), events_with_unknown_fields()).map(Event.SerializeToString)
_broken_events = st.one_of(
    st.integers(STRUCT_DEPTH_MAX + 1, 60).map(nested_struct_event).map(Event.SerializeToString),
    st.builds(lambda raw, number: raw + length_delimited(number, b"\xff"), _raw_events, st.sampled_from([1, 2, 3, 5, 22])),
    st.builds(lambda raw, tail: raw + tail, _raw_events, st.sampled_from([b"\x0b", b"\x0c", b"\x0f", b"\x00", b"\x0a\x05abc"])),
    st.builds(lambda raw, text: raw + length_delimited(30, length_delimited(2, text)), _raw_events, st.just(b"\xed\xa0\x80")),
)


def _parses(raw: bytes) -> bool:
    try:
        Event.FromString(raw)
    except DecodeError:
        return False
    return True


def _in_parts() -> object:
    """Treat bodies as if they were too large to be parsed at once."""
    return patch.object(frames, "_PARSED_BYTES_MAX", 64)


def _shown(frame: Frame) -> tuple[bytes, bytes | None, str, str]:
    event = None if frame.event is None else frame.event.SerializeToString(deterministic=True)
    return frame.raw, event, frame.problem, frame.event_id


@unhurried
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda data: length_delimited(1, data))))
def test_any_bytes_are_frames_or_an_invalid_request(body: bytes) -> None:
    """Promise: no body makes the server fail: it is frames, or an InvalidRequestError."""
    for parse in (lambda: list(parse_batch(body).frames), lambda: [parse_single(body)]):
        try:
            found = parse()
        except InvalidRequestError:
            continue
        assert all((frame.event is None) == bool(frame.problem) for frame in found)
        assert all(frame.raw in body or len(found) == 1 for frame in found)


@unhurried
@given(st.lists(_raw_events, max_size=4), st.data())
def test_damaged_batch_is_frames_or_an_invalid_request(raws: list[bytes], data: st.DataObject) -> None:
    """Promise: a body that a network or a disk has damaged gives frames or an InvalidRequestError, in small and large bodies."""
    body = bytearray(batch_body(raws))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    del body[data.draw(st.integers(0, len(body))) :]
    try:
        small = [_shown(frame) for frame in parse_batch(bytes(body)).frames]
    except InvalidRequestError:
        return
    assert all((event is None) == bool(problem) for _, event, problem, _ in small)


@unhurried
@given(st.lists(_raw_events, max_size=5), st.lists(st.tuples(st.integers(0, 5), _broken_events), min_size=1, max_size=3))
def test_cut_yields_exactly_the_intact_events(raws: list[bytes], broken: list[tuple[int, bytes]]) -> None:
    """Promise: with k broken events among n, the n come out equal and in order and the k raw, wherever they stand."""
    mixed = [(raw, True) for raw in raws]
    for place, raw in broken:
        mixed.insert(place, (raw, False))
    try:
        found = list(parse_batch(batch_body([raw for raw, _ in mixed])).frames)
    except InvalidRequestError as error:
        # Only broken events, one of which is no part of a batch but of an event: cannot be, there is none here.
        pytest.fail(str(error))
    assert [frame.raw for frame in found] == [raw for raw, _ in mixed]
    for frame, (raw, good) in zip(found, mixed, strict=True):
        if good:
            assert frame.event is not None
            assert received_bytes(frame.event) == received_bytes(Event.FromString(raw))
        else:
            assert frame.event is None
            assert frame.problem
            assert not _parses(raw) or b"deep" in raw


@unhurried
@given(st.lists(st.one_of(_raw_events, _broken_events), max_size=6), st.one_of(st.just(b""), unknown_fields(), st.just(b"\x07")))
def test_bodies_read_in_parts_are_read_as_bodies_read_whole(raws: list[bytes], tail: bytes) -> None:
    """Promise: the size of a body decides how it is parsed, never what comes out of it."""
    body = batch_body(raws[:2], "a") + batch_body(raws[2:], "b") + tail

    def read(parse: Callable[[], list[Frame]]) -> list[tuple[bytes, bytes | None, str, str]]:
        try:
            return [_shown(frame) for frame in parse()]
        except InvalidRequestError:
            # A large body without any event is refused; a small one that parses is an empty batch.
            return []

    whole = read(lambda: list(parse_batch(body).frames))
    with _in_parts():
        parts = read(lambda: list(parse_batch(body).frames))
        slices = read(lambda: [*parse_batch(body).frames[:3], *parse_batch(body).frames[3:]])
        singly = read(lambda: [found[index] for found in [parse_batch(body).frames] for index in range(len(found))])
    assert parts == slices == singly == whole


@unhurried
@given(st.lists(events(), max_size=5))
def test_good_batches_come_out_as_protobuf_reads_them(found: list[Event]) -> None:
    """Promise: events with every field of the contract come out as they were sent, NaN and NUL and all."""
    body = good_batch_body(found)
    expected = IngestEventBatchRequest.FromString(body).event_batch.events
    parsed = parse_batch(body)
    assert parsed.batch_id == "batch"
    assert [received_bytes(frame.event) for frame in parsed.frames if frame.event] == [
        received_bytes(event) for event in expected
    ]
    # Maps have no order: a copy of a message may write them otherwise. What is kept raw is what stood in the body.
    assert all(frame.raw in body for frame in parsed.frames)
    assert [received_bytes(Event.FromString(frame.raw)) for frame in parsed.frames] == [received_bytes(event) for event in found]


@unhurried
@given(st.lists(_raw_events, min_size=1, max_size=3))
def test_single_event_in_pieces_merges_as_protobuf_merges(raws: list[bytes]) -> None:
    """Promise: `event` given several times means what protobuf says it means."""
    body = b"".join(length_delimited(1, raw) for raw in raws)
    frame = parse_single(body)
    assert frame.event is not None
    assert received_bytes(frame.event) == received_bytes(IngestEventRequest.FromString(body).event)
    assert frame.raw == b"".join(raws)


@unhurried
@given(st.integers(0, 2**64 - 1), st.integers(0, 3))
def test_varints(value: int, padding: int) -> None:
    """Promise: numbers are written as protobuf writes them and read however long they are."""
    assert encode_varint(value) == varint(value)
    padded = varint(value, min(padding, 10 - len(varint(value))))
    assert read_varint(padded + b"\xff", 0, len(padded)) == (value, len(padded))


@unhurried
@given(st.binary(max_size=60))
def test_fields_cover_the_bytes(data: bytes) -> None:
    """Promise: fields follow each other without a gap, up to the end or to the offset of the error."""
    reached = [0]
    try:
        for field in fields_of(data):
            assert field.start == reached[-1]
            assert field.start < field.value <= field.end
            reached.append(field.end)
        broken_at = len(data)
    except MalformedError as error:
        broken_at = error.offset
    # A field that claims too much is given, too; the error then names its start.
    assert broken_at == reached[-1] or (broken_at == reached[-2] and reached[-1] > len(data))
