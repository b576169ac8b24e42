"""Which texts of an event are searched.

A text is every string that is not empty of the contract's message, but for the envelope's opaque ids and hashes: names,
branch, tags, all strings of the content, policies, data access, infrastructure, cost, and within each `Struct` all keys,
strings, and numbers (as JSON prints them). Booleans, nulls, numbers of declared fields, times, enums, unknown fields and the
payloads of `extensions` are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, cast

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct, Value

from chaukas.server.errors import StorageError
from chaukas.server.wire.json_number import double_to_json
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["OPAQUE_FIELDS", "located_texts", "number_text", "texts_of"]

#: Ids and hashes of the envelope: a query has filters for those that somebody looks for.
OPAQUE_FIELDS: Final = frozenset(
    {
        *("event_id", "tenant_id", "project_id", "session_id", "span_id", "parent_span_id", "trace_id"),
        *("invocation_id", "response_id", "hash_prev", "content_hash", "worm_proof_id"),
    }
)


def texts_of(stored: bytes) -> list[str]:
    """The texts of an event by its stored bytes, in the order of the fields. Raises `StorageError` for bytes that are none."""
    try:
        event = Event.FromString(stored)
    except DecodeError as error:
        raise StorageError("a stored event cannot be read") from error
    return [text for _, text in located_texts(event)]


def located_texts(event: Event) -> Iterator[tuple[str, str]]:
    """Each text with its path (`llm_invocation.request.messages[0].content`); a key stands at the path of its value."""
    for field, value in event.ListFields():
        if field.name not in OPAQUE_FIELDS:
            yield from _walk_field(field, value, field.name)


def number_text(number: float) -> str:
    """A number of a `Struct` as it stands in JSON."""
    shown = double_to_json(number)
    return shown if isinstance(shown, str) else repr(shown)


def _walk_field(field: FieldDescriptor, value: object, path: str) -> Iterator[tuple[str, str]]:
    if field.is_repeated:
        for index, item in enumerate(cast("Iterable[object]", value)):
            yield from _walk_one(item, f"{path}[{index}]")
    else:
        yield from _walk_one(value, path)


def _walk_one(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if value:
            yield path, value
    elif isinstance(value, Struct):
        yield from _walk_struct(value, path)
    elif isinstance(value, Message) and not isinstance(value, AnyMessage):
        for inner, inner_value in value.ListFields():
            yield from _walk_field(inner, inner_value, f"{path}.{inner.name}")


def _walk_struct(struct: Struct, path: str) -> Iterator[tuple[str, str]]:
    for key in sorted(struct.fields):
        inner = f"{path}.{key}"
        if key:
            yield inner, key
        yield from _walk_value(struct.fields[key], inner)


def _walk_value(value: Value, path: str) -> Iterator[tuple[str, str]]:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        if value.string_value:
            yield path, value.string_value
    elif kind == "number_value":
        yield path, number_text(value.number_value)
    elif kind == "struct_value":
        yield from _walk_struct(value.struct_value, path)
    elif kind == "list_value":
        for index, item in enumerate(value.list_value.values):
            yield from _walk_value(item, f"{path}[{index}]")
