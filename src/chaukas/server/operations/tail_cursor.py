"""Where a tail stands, as a cursor that resumes it exactly, even after the server was started again.

Two forms, both small whatever the size of the record. With few logs in scope the next index of each is named. With more of
them the position is a point in the order of arrival, together with the number of events that stood in front of it: the same
number at the same point means that the same events stand there. Should the server's clock have been set back in between, the
numbers differ and the cursor is refused: a tail that resumes has lost nothing and repeats nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from chaukas.server.cursor import CursorSeal
from chaukas.server.errors import InvalidRequestError
from chaukas.server.storage.contract import ArrivalPoint, ArrivalReader, Arrivals, StoredEvent

__all__ = ["TailPosition", "resumed"]

#: Logs that a cursor names at most; a cursor then has at most 400 characters.
_NAMED_LOGS_MAX: Final = 16
_NAMED, _POINTED = b"\x01", b"\x02"
#: log_id, next_index.
_LOG: Final = struct.Struct(">qq")
#: received_at_ns, log_id, next_index, events in front.
_POINT: Final = struct.Struct(">qqqq")
_FIELD: Final = "since"


@dataclass(slots=True)
class TailPosition:
    """Everything in front of it was delivered or did not match."""

    after: dict[int, int]
    #: The latest point that was passed; None when none is known.
    point: ArrivalPoint | None = None
    #: The sum of `after`: how many events of the scope stand in front.
    rank: int = field(init=False)

    def __post_init__(self) -> None:
        self.rank = sum(self.after.values())

    def pass_event(self, event: StoredEvent, rank: int) -> None:
        """Move behind an event that is delivered; `rank` as in `Arrivals`."""
        place = event.position
        self.after[place.log_id] = place.index + 1
        self._pass(ArrivalPoint(event.received_at_ns, place.log_id, place.index + 1))
        self.rank = rank

    def pass_all(self, found: Arrivals) -> None:
        """Move behind everything that was looked at."""
        self.after = found.after
        if found.point is not None:
            self._pass(found.point)
            self.rank = sum(found.after.values())

    def _pass(self, point: ArrivalPoint) -> None:
        if self.point is None or point > self.point:
            self.point = point

    def cursor(self, seal: CursorSeal, binding: bytes) -> str:
        """The position as a token."""
        if self.point is None or len(self.after) <= _NAMED_LOGS_MAX:
            payload = _NAMED + b"".join(_LOG.pack(*item) for item in sorted(self.after.items()))
        else:
            point = self.point
            payload = _POINTED + _POINT.pack(point.received_at_ns, point.log_id, point.next_index, self.rank)
        return seal.token(payload, binding)


async def resumed(
    token: str, seal: CursorSeal, binding: bytes, store: ArrivalReader, scope: tuple[str | None, str | None]
) -> TailPosition:
    """The position that a cursor carries. Raises `InvalidRequestError`."""
    payload = seal.payload(token, binding)
    if payload is None:
        raise InvalidRequestError(_FIELD, "is not a cursor of this tail; send the id as it was received, with the same filter")
    body = payload[1:]
    if payload[:1] == _NAMED:
        return TailPosition(dict(_LOG.iter_unpack(body)))
    received_at_ns, log_id, next_index, rank = _POINT.unpack(body)
    point = ArrivalPoint(received_at_ns, log_id, next_index)
    position = TailPosition(await store.arrivals_at(*scope, point), point)
    if position.rank != rank:
        raise InvalidRequestError(
            _FIELD,
            "cannot be resumed exactly, because the server's clock was set back or its record replaced; begin without it, or"
            f" name a tenant_id with at most {_NAMED_LOGS_MAX} projects, whose cursors do not depend on the clock",
        )
    return position
