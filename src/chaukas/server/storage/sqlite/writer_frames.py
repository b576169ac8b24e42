"""What the server and the process that writes its record say to each other, over a pair of connected sockets.

A frame is its length (4 bytes, big-endian) and a pickle: both ends are the same release of this package, run by the same
interpreter, and nobody else can reach the sockets. A question is (verb, arguments); an answer (True, what was returned) or
(False, what was raised). Events go as tuples of their fields, which pickle at a sixth of the cost of their dataclass.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from chaukas.server.storage.contract import EventRecord, Outcome, QuarantineItem

__all__ = ["LENGTH", "frame", "pack_items", "pack_outcomes", "unframe", "unpack_items", "unpack_outcomes"]

LENGTH = struct.Struct(">I")

_EVENT_FIELDS = attrgetter(*(each.name for each in fields(EventRecord)))
_QUARANTINE_FIELDS = attrgetter(*(each.name for each in fields(QuarantineItem)))
_OUTCOME_FIELDS = attrgetter(*(each.name for each in fields(Outcome)))
_EVENT_LENGTH = len(fields(EventRecord))

PackedItems = list[tuple[Any, ...]]


def frame(message: object) -> bytes:
    """The bytes of one message."""
    body = pickle.dumps(message, protocol=5)
    return LENGTH.pack(len(body)) + body


def unframe(body: bytes | bytearray) -> Any:  # noqa: ANN401  each verb has its own types
    """The message of a frame, without its length."""
    return pickle.loads(body)  # noqa: S301  from our own process, see above


def pack_items(items: Sequence[EventRecord | QuarantineItem]) -> PackedItems:
    """Items for a frame; events and quarantined items differ in the number of their fields."""
    return [_EVENT_FIELDS(item) if type(item) is EventRecord else _QUARANTINE_FIELDS(item) for item in items]


def unpack_items(packed: PackedItems) -> list[EventRecord | QuarantineItem]:
    """The items of a frame. Bytes that were one object on the other side (`stored` and `received`) are one here too."""
    return [EventRecord(*each) if len(each) == _EVENT_LENGTH else QuarantineItem(*each) for each in packed]


def pack_outcomes(outcomes: Sequence[Outcome]) -> PackedItems:
    """Outcomes for a frame."""
    return list(map(_OUTCOME_FIELDS, outcomes))


def unpack_outcomes(packed: PackedItems) -> list[Outcome]:
    """The outcomes of a frame."""
    return [Outcome(*each) for each in packed]
