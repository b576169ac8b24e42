"""Code points that break programs, and events that hold them in every text field of the contract."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["events_with_odd_text", "odd_texts"]

#: Controls, invisible format marks, spaces, line and paragraph separators, and what is assigned to nobody for ever.
_ODD_CATEGORIES = {"Cc", "Cf", "Zs", "Zl", "Zp"}
_NONCHARACTERS = {*range(0xFDD0, 0xFDF0), *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF))}
#: First and last of each length in UTF-8, around the surrogates, private use, a combining mark, letters that change their length
#: when their case is changed, emoji with joiners and flags.
_EDGES = {
    0x7F,
    0x80,
    0x7FF,
    0x800,
    0xD7FF,
    0xE000,
    0xFFFD,
    0x10000,
    0x10FFFF,
    0xF0000,
    0x301,
    0x130,
    0xDF,
    0xFB03,
    0x1F469,
    0x1F1E9,
}
_CONTENTS = [field.name for field in Event.DESCRIPTOR.oneofs_by_name["content"].fields]
#: Ids with a meaning of their own; each event sets them by itself.
_OWN = {"event_id", "tenant_id", "project_id", "hash_prev", "content_hash", "worm_proof_id"}


def _odd_code_points() -> list[str]:
    odd = {number for number in range(0x110000) if unicodedata.category(chr(number)) in _ODD_CATEGORIES}
    return [chr(number) for number in sorted(odd | _NONCHARACTERS | _EDGES)]


def odd_texts(length: int) -> list[str]:
    """All odd code points, as texts of this many of them."""
    points = _odd_code_points()
    return ["".join(points[at : at + length]) for at in range(0, len(points), length)]


def _fill(message: Message, text: str) -> None:
    """Set every text field of a message, and those of all messages in it; of a choice the first alternative."""
    chosen: set[str] = set()
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None:
            if field.containing_oneof.name in chosen or field.name in _CONTENTS:
                continue
            chosen.add(field.containing_oneof.name)
        if field.name in _OWN:
            continue
        _fill_field(message, field, text)


def _fill_field(message: Message, field: FieldDescriptor, text: str) -> None:
    value: Any = getattr(message, field.name)
    if isinstance(value, Struct):
        value.update({text: [text, {text: text}], "": ""})
    elif field.type == FieldDescriptor.TYPE_STRING:
        if field.is_repeated:
            value.extend([text, "", text])
        else:
            setattr(message, field.name, text)
    elif field.message_type is not None and field.message_type.file.package.startswith("chaukas."):
        _fill(value.add() if field.is_repeated else value, text)


def events_with_odd_text() -> Iterator[Event]:
    """Each odd code point in each text field, in each kind of content; in ids, tenants and projects too."""
    for number, text in enumerate(odd_texts(40)):
        for content in _CONTENTS:
            event = Event(event_id=f"{number}-{content}{text}", tenant_id="odd", project_id="fields", type=63)
            event.timestamp.seconds = 1_700_000_000 + number
            _fill(event, text)
            _fill_field(event, Event.DESCRIPTOR.fields_by_name[content], text)
            yield event
    # Percent-encoding triples the bytes of a name in a log's origin, which is bounded.
    for number, text in enumerate(odd_texts(8)):
        event = Event(event_id=text, tenant_id=text, project_id=text, session_id=text, type=63)
        event.timestamp.seconds = 1_800_000_000 + number
        yield event
