"""Requests to events: read whole where protobuf reads them, cut into event frames where it does not (DESIGN §3).

The requests of the client and of the server package have the same shape, so one reading serves both:
`IngestEventRequest{event = 1}`, and `IngestEventBatchRequest{event_batch = 1}` with `EventBatch{batch_id = 1, events = 3}`.

Every event that comes out of here parsed at the depth at which it stands in a batch and in an answer, see
`event_bytes.parse_as_answered`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

from google.protobuf.message import DecodeError

from chaukas.server.errors import InvalidRequestError
from chaukas.server.wire.cut import BatchCut, cut_off, too_many_events
from chaukas.server.wire.diagnosis import diagnose
from chaukas.server.wire.event_bytes import parse_as_answered
from chaukas.server.wire.fields import LEN, MalformedError, encode_varint, fields_of
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchRequest

__all__ = ["BATCH_EVENTS_MAX", "EVENT_BYTES_MAX", "Frame", "ParsedBatch", "parse_batch", "parse_single"]

BATCH_EVENTS_MAX = 100_000
EVENT_BYTES_MAX = 2 * 1024 * 1024

#: What is parsed at once; larger bodies are parsed in parts of this size, as their frames are asked for. A parsed event can be
#: five hundred times as large as its bytes (an empty one has two), which is bearable only while there are few of them.
_PARSED_BYTES_MAX = 256 * 1024
_PARSED_EVENTS_MAX = 2000
#: So small that the events need not be counted before.
_UNCOUNTED_BYTES_MAX = 32 * 1024

_EVENT_FIELD = 1
_EVENTS_FIELD = 3
#: Fields of a request for a single event, in which one is to be expected.
_SINGLE_FIELDS_MAX = 1000
#: Fields of an event that are looked at to see whether it is a batch.
_LOOKED_AT_MAX = 16


class Frame:
    """One event of a request: its bytes as received, and the event if they parse as one.

    Where they do not (`event` is None), `problem` says why, and the ids are what could be read of them, so that people find
    it again: unchecked, and possibly empty.
    """

    __slots__ = ("_index", "_source", "event", "event_id", "problem", "project_id", "tenant_id")

    def __init__(
        self,
        raw: bytes | BatchCut | _Body,
        event: Event | None,
        problem: str = "",
        event_id: str = "",
        tenant_id: str = "",
        project_id: str = "",
        index: int = 0,
    ) -> None:
        self._source = raw
        self._index = index
        self.event = event
        self.problem = problem
        self.event_id = event_id
        self.tenant_id = tenant_id
        self.project_id = project_id

    @property
    def raw(self) -> bytes:
        """The bytes of the event in the request; cut out of its body only when they are asked for."""
        source = self._source
        return source if isinstance(source, bytes) else source.raw(self._index)

    def __repr__(self) -> str:
        return f"Frame({self.event_id!r}, {self.problem!r})" if self.event is None else f"Frame({self.event.event_id!r})"


@dataclass(slots=True)
class ParsedBatch:
    """The events of a batch request, in order.

    The frames of a large body are parsed when they are asked for: whoever takes them one after another, or slice by slice, and
    lets go of them needs no more memory than the body and one slice.
    """

    batch_id: str
    frames: Sequence[Frame]


def parse_batch(body: bytes, *, events_max: int = BATCH_EVENTS_MAX, event_bytes_max: int = EVENT_BYTES_MAX) -> ParsedBatch:
    """The frames of a serialised `IngestEventBatchRequest`.

    A body that protobuf does not read as a whole is cut: intact events come out as events, the others raw with their problem,
    and so do the bytes behind a place where the structure breaks. A frame above `event_bytes_max` is not parsed.

    Raises `InvalidRequestError` when the body holds no batch, or no event can be found in one that does not parse;
    `RequestTooLargeError` above `events_max` events.
    """
    cut = BatchCut(body, events_max) if len(body) > _UNCOUNTED_BYTES_MAX else None
    if len(body) <= _PARSED_BYTES_MAX and (cut is None or len(cut) <= _PARSED_EVENTS_MAX):
        try:
            request = IngestEventBatchRequest.FromString(body)
        except DecodeError:
            pass
        else:
            return _parse_whole(request, cut, body, events_max)
    if cut is None:
        cut = BatchCut(body, events_max)
    if not cut.events:
        raise InvalidRequestError("body", "is not a serialised IngestEventBatchRequest, and no event can be found in it")
    frames: Sequence[Frame] = _LazyFrames(cut, event_bytes_max)
    if len(body) <= _PARSED_BYTES_MAX and len(cut) <= _PARSED_EVENTS_MAX:
        frames = list(frames)
    _refuse_single(cut, frames)
    return ParsedBatch(cut.batch_id, frames)


def parse_single(body: bytes, *, event_bytes_max: int = EVENT_BYTES_MAX) -> Frame:
    """The frame of a serialised `IngestEventRequest`; several `event` fields are one event, merged, as in protobuf.

    Raises `InvalidRequestError` when there is none.
    """
    raw, problem = _single_event(body)
    frame = _parse_frame(raw, problem, event_bytes_max)
    if frame.event is None or not frame.event.type:
        _refuse_batch(raw)
    return frame


def _single_event(body: bytes) -> tuple[bytes, str]:
    """The bytes of the event in an `IngestEventRequest`, and why they must not be parsed, or ""."""
    parts: list[bytes] = []
    problem = ""
    try:
        for number, field in enumerate(fields_of(body)):
            if number == _SINGLE_FIELDS_MAX:
                raise InvalidRequestError("body", f"holds more than {_SINGLE_FIELDS_MAX} fields")
            if field.number == _EVENT_FIELD and field.wire_type == LEN:
                parts.append(body[field.value : field.end])
                if field.end > len(body):
                    problem = cut_off(field, len(body))
    except MalformedError as error:
        # What follows an event in this request is no event: with one found, nothing of use is lost.
        if not parts:
            raise InvalidRequestError("body", f"is not a serialised IngestEventRequest: {error}") from error
    if not parts:
        raise InvalidRequestError("event", "is required; the body holds none")
    return parts[0] if len(parts) == 1 else b"".join(parts), problem


def _parse_whole(request: IngestEventBatchRequest, cut: BatchCut | None, body: bytes, events_max: int) -> ParsedBatch:
    if not request.HasField("event_batch"):
        raise InvalidRequestError("event_batch", "is required; the body holds none")
    batch = request.event_batch
    events = batch.events
    count = len(events)
    if count > events_max:
        raise too_many_events(events_max)
    if not count:
        _refuse_single(BatchCut(body, events_max), ())
    source = _Body(body) if cut is None else cut
    return ParsedBatch(batch.batch_id, [Frame(source, event, "", "", "", "", index) for index, event in enumerate(events)])


def _parse_frame(raw: bytes, problem: str, event_bytes_max: int) -> Frame:
    if not problem and len(raw) > event_bytes_max:
        problem = f"has {len(raw)} bytes; at most {event_bytes_max} are allowed"
    if not problem:
        try:
            return Frame(raw, parse_as_answered(raw))
        except DecodeError:
            pass
    found = diagnose(raw)
    return Frame(raw, None, f"event: {problem or found.problem}", found.event_id, found.tenant_id, found.project_id)


def _refuse_single(cut: BatchCut, frames: Sequence[Frame]) -> None:
    """Say so when a batch without one readable event is a single event, sent to the wrong place.

    Single events can be read as batches, often empty ones: to answer that nothing was wrong with it would lose the event.
    """
    if cut.holds_event_type and all(frame.event is None for frame in frames):
        raise InvalidRequestError("body", "holds a single event (IngestEventRequest) where a batch is expected")


def _refuse_batch(raw: bytes) -> None:
    """Say so when an event that cannot be stored is a batch, sent to the wrong place."""
    try:
        for field in islice(fields_of(raw), _LOOKED_AT_MAX):
            if field.number == _EVENTS_FIELD and field.wire_type == LEN:
                event = parse_as_answered(raw[field.value : field.end])
                if event.event_id and event.type:
                    raise InvalidRequestError(
                        "body", "holds a batch of events (IngestEventBatchRequest) where a single event is expected"
                    )
    except (MalformedError, DecodeError):
        return


class _Body:
    """The body of a batch that parsed as a whole; cut only when the bytes of one of its events are asked for."""

    __slots__ = ("_body", "_cut")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._cut: BatchCut | None = None

    def raw(self, index: int) -> bytes:
        if self._cut is None:
            self._cut = BatchCut(self._body, len(self._body))
        return self._cut.raw(index)


class _LazyFrames(Sequence[Frame]):
    """The frames of a large body, parsed in parts as they are asked for."""

    def __init__(self, cut: BatchCut, event_bytes_max: int) -> None:
        self._cut = cut
        self._event_bytes_max = event_bytes_max

    def __len__(self) -> int:
        return len(self._cut)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        numbers = range(len(self._cut))[index]
        if isinstance(numbers, int):
            return self._frame(numbers)
        if numbers.step == 1:
            return list(self._parsed(numbers.start, numbers.stop))
        return [self._frame(number) for number in numbers]

    def __iter__(self) -> Iterator[Frame]:
        return self._parsed(0, len(self._cut))

    def _parsed(self, first: int, stop: int) -> Iterator[Frame]:
        while first < stop:
            part_stop = self._cut.part_stop(
                first, min(stop, first + _PARSED_EVENTS_MAX), min(_PARSED_BYTES_MAX, self._event_bytes_max)
            )
            yield from self._together(first, part_stop) or map(self._frame, range(first, part_stop))
            first = part_stop

    def _together(self, first: int, stop: int) -> list[Frame] | None:
        """The frames from `first` to `stop` by one call of the parser, which takes half the time; None where it refuses them."""
        cut = self._cut
        if first in cut.problems or cut.size_bytes(first) > self._event_bytes_max:
            return None
        start, end = cut.span(first, stop - 1)
        inner = b"\x1a" + encode_varint(cut.size_bytes(first))
        try:
            request = IngestEventBatchRequest.FromString(
                b"\x0a" + encode_varint(len(inner) + end - start) + inner + cut.body[start:end]
            )
        except DecodeError:
            return None
        return [Frame(cut, event, "", "", "", "", index) for index, event in enumerate(request.event_batch.events, first)]

    def _frame(self, index: int) -> Frame:
        return _parse_frame(self._cut.raw(index), self._cut.problems.get(index, ""), self._event_bytes_max)
