"""`google.protobuf.Any` in JSON: the extensions of an event, of types that this server may never have heard of.

Two forms. A type that this process knows stands as protobuf's JSON writes it: its fields beside `@type`, or its value under
`value`. Everything else, also bytes that are no such message, stands as `{"@type": …, "@encoding": "base64", "value": …}`,
which loses nothing and never fails. No field of a protobuf message can be named `@encoding`, so the two can not be confused.
"""

from __future__ import annotations

import base64
import binascii

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from chaukas.server.wire.json_problem import JsonMismatch, describe, shorten

__all__ = ["any_to_json", "fill_any"]

#: What the protobuf runtime raises for a message that its JSON has no form for.
_NO_FORM = (json_format.Error, DecodeError, ValueError, TypeError, RecursionError)


def any_to_json(packed: AnyMessage) -> object:
    """The readable form where it says the same as the bytes, base64 otherwise."""
    kind = _known_type(packed.type_url)
    readable = _readable(packed, kind) if kind is not None else None
    if readable is not None:
        return readable
    return {"@type": packed.type_url, "@encoding": "base64", "value": base64.b64encode(packed.value).decode("ascii")}


def fill_any(packed: AnyMessage, value: object, level: int = 0) -> None:  # noqa: ARG001 - the signature of every filler
    """Set `packed` from either form; `{}` is the empty Any. Raises `JsonMismatch`."""
    if not isinstance(value, dict):
        raise JsonMismatch(f"expected an object, got {describe(value)}")
    if not value:
        return
    type_url = value.get("@type")
    if not isinstance(type_url, str):
        raise JsonMismatch("the key @type is required, with the type as a string")
    packed.type_url = type_url
    kind = _known_type(type_url)
    if "@encoding" in value or kind is None:
        packed.value = _bytes_of(value, type_url)
        return
    # Copied, because the runtime takes @type out of the object that it is given.
    packed.value = _parsed(dict(value), kind).SerializeToString(deterministic=True)


def _known_type(type_url: str) -> type[Message] | None:
    name = type_url.rpartition("/")[2]
    if "/" not in type_url or not name:
        return None
    try:
        return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
    except KeyError:
        return None


def _readable(packed: AnyMessage, kind: type[Message]) -> object | None:
    """Protobuf's JSON, if reading it gives back an equal message; None otherwise (NaN in a Struct, unknown fields, bad bytes)."""
    try:
        form = json_format.MessageToDict(packed, preserving_proto_field_name=True)
        same = _parsed(dict(form), kind) == kind.FromString(packed.value)
    except (*_NO_FORM, JsonMismatch):
        return None
    # The empty Any is written as {}, which would lose a type without content only if the runtime left out the type.
    return form if same and form.get("@type") == packed.type_url else None


def _parsed(form: dict[str, object], kind: type[Message]) -> Message:
    packed = AnyMessage()
    try:
        json_format.ParseDict(form, packed)
        return kind.FromString(packed.value)
    except KeyError as error:
        raise JsonMismatch(f"the key {error.args[0]} is required for this type") from None
    except _NO_FORM as error:
        raise JsonMismatch(f"is no {kind.DESCRIPTOR.full_name}: {str(error)[:200]}") from None


def _bytes_of(value: dict[str, object], type_url: str) -> bytes:
    text = value.get("value", "")
    if value.get("@encoding", "base64") != "base64":
        raise JsonMismatch("@encoding can only be base64")
    if not value.keys() <= {"@type", "@encoding", "value"} or not isinstance(text, str):
        raise JsonMismatch(f"the type {shorten(type_url)} is not known here; give its bytes as base64 in the key value")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise JsonMismatch("value is not base64") from None
