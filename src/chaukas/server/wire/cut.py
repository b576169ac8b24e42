"""Where the events of a batch request stand in its bytes (DESIGN §3).

For requests that do not parse as a whole, and for those that are too large to be parsed at once.
"""

from __future__ import annotations

from array import array

from chaukas.server.errors import InvalidRequestError, RequestTooLargeError
from chaukas.server.wire.fields import LEN, VARINT, Field, MalformedError, fields_of

__all__ = ["BatchCut", "cut_off", "too_many_events"]

_REQUEST_FIELD = 1
#: Fields of requests and batches that are no events. Large requests are not seen by the runtime, which reads faster.
_OTHER_FIELDS_MAX = 10_000
_BATCH_ID_FIELD = 1
_EVENTS_FIELD = 3
_EVENTS_TAG = _EVENTS_FIELD << 3 | LEN
#: `Event.type`; no field of an `EventBatch`.
_EVENT_TYPE_FIELD = 7


def too_many_events(events_max: int) -> RequestTooLargeError:
    """The refusal whose words make the SDK send halves (contract: HTTP)."""
    return RequestTooLargeError(f"high memory usage: the batch holds more than {events_max} events; send it in parts")


def cut_off(field: Field, limit: int) -> str:
    """The problem of a field that claims more bytes than there are before `limit`."""
    return f"is cut off: the last {field.end - limit} of {field.end - field.value} bytes are missing"


class BatchCut:
    """The places of all event frames in a serialised `IngestEventBatchRequest`, sixteen bytes each.

    Whatever follows the place where the structure breaks is a frame as well, so that none of the bytes that may hold events
    are lost. `events` counts the frames without those. Raises `RequestTooLargeError` above `events_max` frames and
    `InvalidRequestError` above ten thousand fields beside the events.
    """

    __slots__ = (
        "_breaks",
        "_ends",
        "_events_max",
        "_other_fields",
        "_starts",
        "batch_id",
        "body",
        "events",
        "holds_event_type",
        "problems",
    )

    def __init__(self, body: bytes, events_max: int) -> None:
        self.body = body
        self.batch_id = ""
        self.events = 0
        #: A field stands directly in the batch that an event has and a batch has not.
        self.holds_event_type = False
        #: By number of the frame: why it cannot be an event although its bytes might parse.
        self.problems: dict[int, str] = {}
        #: Frames that are not of one piece with the frame before: the first one of a batch, and those with a problem.
        self._breaks: set[int] = set()
        self._starts = array("Q")
        self._ends = array("Q")
        self._events_max = events_max
        self._other_fields = 0
        self._over_request()

    def __len__(self) -> int:
        return len(self._starts)

    def raw(self, index: int) -> bytes:
        """A copy of the bytes of one frame."""
        return self.body[self._starts[index] : self._ends[index]]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """From where frame `first` begins, behind its tag and length, to where frame `last` ends."""
        return self._starts[first], self._ends[last]

    def part_stop(self, first: int, stop: int, bytes_max: int) -> int:
        """Where the part ends that begins with frame `first`: intact frames of one batch, up to `bytes_max` or one frame."""
        end_max = self._starts[first] + bytes_max
        part_stop = first + 1
        while part_stop < stop and part_stop not in self._breaks and self._ends[part_stop] <= end_max:
            part_stop += 1
        return part_stop

    def size_bytes(self, index: int) -> int:
        """Length of one frame."""
        return self._ends[index] - self._starts[index]

    def _over_request(self) -> None:
        limit = len(self.body)
        try:
            for field in fields_of(self.body):
                self._count_other_field()
                if field.number == _REQUEST_FIELD and field.wire_type == LEN:
                    self._breaks.add(len(self._starts))
                    self._over_batch(field.value, min(field.end, limit))
                    if field.end > limit:
                        return
        except MalformedError as error:
            self._add_rest(error, limit)

    def _over_batch(self, position: int, limit: int) -> None:
        try:
            while position < limit:
                position = self._over_plain_events(position, limit)
                fields = fields_of(self.body, position, limit)
                field = next(fields, None)
                if field is None:
                    return
                if field.number == _EVENTS_FIELD and field.wire_type == LEN:
                    self._add_event(field, limit)
                    position = field.end
                    continue
                self._count_other_field()
                if field.number == _BATCH_ID_FIELD and field.wire_type == LEN:
                    self.batch_id = self.body[field.value : min(field.end, limit)].decode(errors="replace")
                self.holds_event_type |= field.number == _EVENT_TYPE_FIELD and field.wire_type == VARINT
                if field.end > limit:
                    next(fields)
                position = field.end
        except MalformedError as error:
            self._add_rest(error, limit)

    def _over_plain_events(self, position: int, limit: int) -> int:
        """Take the intact events that follow each other from `position` on; where they end, or where there is more to say.

        Nearly all of a batch is this, so it is read without a call per event.
        """
        body, starts, ends = self.body, self._starts, self._ends
        known = len(starts)
        while position + 4 < limit and body[position] == _EVENTS_TAG and len(starts) < self._events_max:
            size, at = body[position + 1], position + 2
            if size >= 0x80:
                size, at = size & 0x7F | body[at] << 7, at + 1
                if size >= 0x4000:
                    size, at = size & 0x3FFF | body[at] << 14, at + 1
            # A size with a fourth byte comes out with its top bit set, and is left to the general reading.
            if size >= 0x20_0000 or at + size > limit:
                break
            position = at + size
            starts.append(at)
            ends.append(position)
        self.events += len(starts) - known
        return position

    def _add_event(self, field: Field, limit: int) -> None:
        if field.end > limit:
            self._mark(cut_off(field, limit))
        self.events += 1
        self._add(field.value, min(field.end, limit))

    def _count_other_field(self) -> None:
        """Refuse requests that are made to be slow to read: a batch has a handful of fields beside its events."""
        self._other_fields += 1
        if self._other_fields > _OTHER_FIELDS_MAX:
            raise InvalidRequestError("body", f"holds more than {_OTHER_FIELDS_MAX} fields beside its events")

    def _add_rest(self, error: MalformedError, limit: int) -> None:
        self._mark(f"is what follows a break in the request: {error}")
        self._add(error.offset, limit)

    def _mark(self, problem: str) -> None:
        """Give the frame that is added next a problem."""
        self.problems[len(self._starts)] = problem
        self._breaks.add(len(self._starts))

    def _add(self, start: int, end: int) -> None:
        if len(self._starts) >= self._events_max:
            raise too_many_events(self._events_max)
        self._starts.append(start)
        self._ends.append(end)
