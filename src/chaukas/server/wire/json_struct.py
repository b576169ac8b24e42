"""`google.protobuf.Struct` in JSON: any object, written and read without ever failing on what the other side stored.

What JSON has no word for: a number that is not finite becomes the text "NaN", "Infinity" or "-Infinity"; a `Value` that
says nothing becomes null. Both come back as that text and that null.
"""

from __future__ import annotations

from google.protobuf.struct_pb2 import Struct, Value

from chaukas.server.wire.json_number import double_to_json, number_of_value
from chaukas.server.wire.json_problem import JsonMismatch, describe

__all__ = ["LEVELS_MAX", "NOT_UNICODE", "fill_struct", "struct_to_json", "too_deep"]

#: Messages below an `Event`, one in another. The protobuf runtime reads 100 levels, and a published client reads events two
#: levels down, in `QueryEventsResponse.response`: what is deeper could be stored and then never be answered.
LEVELS_MAX = 98
NOT_UNICODE = "the text is not Unicode: half of a surrogate pair, or bytes that are not UTF-8"


def struct_to_json(struct: Struct) -> dict[str, object]:
    """The object, its keys in order: a Struct has no order of its own, and the same event must give the same text."""
    fields = struct.fields
    return {key: _value_to_json(fields[key]) for key in sorted(fields)}


def _value_to_json(value: Value) -> object:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        return double_to_json(value.number_value)
    if kind == "struct_value":
        return struct_to_json(value.struct_value)
    if kind == "list_value":
        return [_value_to_json(item) for item in value.list_value.values]
    if kind == "bool_value":
        return value.bool_value
    return None


def fill_struct(struct: Struct, value: object, level: int) -> None:
    """Set `struct` from an object. `level` counts the messages between the event and this one, which is itself counted."""
    if not isinstance(value, dict):
        raise JsonMismatch(f"expected an object, got {describe(value)}")
    if level > LEVELS_MAX:
        raise too_deep()
    fields = struct.fields
    for key, item in value.items():
        try:
            # The entry of a map is a message too, so a value stands two levels below its Struct.
            _fill_value(fields[key], item, level + 2)
        except JsonMismatch as mismatch:
            raise JsonMismatch(found=mismatch.under(key)) from None
        except UnicodeEncodeError:
            raise JsonMismatch(found=JsonMismatch(NOT_UNICODE).under(key)) from None


def _fill_value(target: Value, value: object, level: int) -> None:
    if level > LEVELS_MAX:
        raise too_deep()
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, (int, float)):
        target.number_value = number_of_value(value)
    elif value is None:
        target.null_value = 0  # type: ignore[assignment]
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        fill_struct(target.struct_value, value, level + 1)
    elif isinstance(value, list):
        _fill_list(target, value, level + 1)
    else:
        raise JsonMismatch(f"expected a JSON value, got {describe(value)}")


def _fill_list(target: Value, values: list[object], level: int) -> None:
    if level > LEVELS_MAX:
        raise too_deep()
    target.list_value.SetInParent()
    items = target.list_value.values
    for index, item in enumerate(values):
        try:
            _fill_value(items.add(), item, level + 1)
        except JsonMismatch as mismatch:
            raise JsonMismatch(found=mismatch.under(f"[{index}]")) from None
        except UnicodeEncodeError:
            raise JsonMismatch(found=JsonMismatch(NOT_UNICODE).under(f"[{index}]")) from None


def too_deep() -> JsonMismatch:
    """The mismatch of a value that is nested deeper than an answer can be."""
    return JsonMismatch(
        f"nested too deeply: an event may hold {LEVELS_MAX} levels of messages (32 objects or 47 arrays in a Struct)"
    )
