"""The fields of the contract's messages in JSON, read from the descriptors: which key, which type, how to write, how to read.

One `MessageForm` per message type. It writes the public OpenAPI form (snake_case keys, short enum names) and reads that form,
protobuf's own JSON form, and any mixture of both: keys in snake_case or camelCase, enum values by either name or number.
Generic over what the installed contract declares: with the published modules in place of ours, our additions are not there
and nothing else changes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chaukas.server.wire.fields import encode_varint
from chaukas.server.wire.json_any import any_to_json, fill_any
from chaukas.server.wire.json_number import (
    INT32,
    INT64,
    double_from_json,
    double_to_json,
    enum_reader,
    enum_writer,
    integer_from_json,
)
from chaukas.server.wire.json_problem import PROBLEMS_MAX, JsonMismatch, describe, shorten
from chaukas.server.wire.json_struct import LEVELS_MAX, NOT_UNICODE, fill_struct, struct_to_json, too_deep
from chaukas.server.wire.json_time import fill_time, time_to_json

__all__ = ["CONTENT_KINDS", "REQUIRED", "MessageForm", "form_of"]

#: By the name of the field in the oneof `content`: the `kind` of the public form. `state_update` is our addition to it.
CONTENT_KINDS: Mapping[str, str] = {
    "message": "message",
    "tool_call": "tool_call",
    "tool_response": "tool_response",
    "llm_invocation": "llm_invocation",
    "policy": "policy_decision",
    "data_access": "data_access",
    "state_update": "state_update",
    "error": "error_info",
    "agent_handoff": "agent_handoff",
    "mcp_call": "mcp_call",
}
#: Keys that the public form requires. They are always written, empty where the event says nothing, so that a client
#: generated from the published document can read every answer. They are not required of anybody who sends.
REQUIRED: Mapping[str, Mapping[str, str]] = {
    "Event": {"event_id": "", "type": "UNSPECIFIED", "status": "UNSPECIFIED", "session_id": ""},
    "MessageContent": {"text": ""},
    "ToolCall": {"name": ""},
    "ToolResponse": {"tool_call_id": ""},
    "LLMInvocation": {"provider": "", "model": ""},
    "PolicyDecision": {"policy_id": "", "outcome": ""},
    "DataAccess": {"datasource": ""},
    "ErrorInfo": {"error_message": ""},
    "AgentHandoff": {"from_agent_id": "", "to_agent_id": ""},
    "MCPCall": {"server_name": "", "operation": ""},
}
# Our additions that a message of the published modules does not declare. An answer's server_timestamp means nothing when it
# is sent back; a query's additions are set as unknown fields, where the query engine looks for them.
_QUERY_ADDITIONS: Mapping[str, Callable[[object], bytes]] = {
    "session_id": lambda value: b"\xc2\x3e" + encode_varint(len(text := _string(value).encode())) + text,
    "include_total": lambda value: b"\xc8\x3e" + bytes([_boolean(value)]),
}

_Writer = Callable[[Any], object]
_Filler = Callable[[Any, object, int], None]
_Setter = Callable[[Any, object, int], None]


class MessageForm:
    """How one message type stands in JSON."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._writers: dict[FieldDescriptor, tuple[str, _Writer | None]] = {}
        self._setters: dict[str, _Setter] = {}
        self._names: dict[str, str] = {}
        self._contents: dict[str, _Setter] = {}
        self._required = dict(REQUIRED.get(descriptor.name, {}))
        for field in descriptor.fields:
            self._add(field)
        if descriptor.name == "Event":
            self._add_event_keys()
        elif descriptor.name == "QueryRequest":
            self._add_query_keys()

    def write(self, message: Message) -> dict[str, object]:
        """The public form: the required keys, and every field that is set. Unknown fields have no form and are left out."""
        out: dict[str, object] = dict(self._required)
        writers = self._writers
        for field, value in message.ListFields():
            name, writer = writers[field]
            out[name] = value if writer is None else writer(value)
        return out

    def fill(self, message: Message, value: object, level: int = 0) -> None:
        """Set the fields of a new message. `level` counts the messages between the event and this one, itself counted.

        null means "not set", as in protobuf's JSON. Raises `JsonMismatch` with everything that is wrong, as far as it matters.
        """
        if not isinstance(value, dict):
            raise JsonMismatch(f"expected an object, got {describe(value)}")
        if level > LEVELS_MAX:
            raise too_deep()
        found: list[tuple[str, str]] = []
        for key, item in value.items():
            try:
                self._set(message, key, item, level, value)
            except JsonMismatch as mismatch:
                found.extend(mismatch.under(key))
            except UnicodeEncodeError:
                found.extend(JsonMismatch(NOT_UNICODE).under(key))
            if len(found) > PROBLEMS_MAX:
                break
        if found:
            raise JsonMismatch(found=found)

    def _set(self, message: Message, key: str, item: object, level: int, siblings: dict[str, object]) -> None:
        setter = self._setters.get(key)
        if setter is None:
            raise JsonMismatch(_unknown_key(key, self._names))
        if (name := self._names[key]) != key and name in siblings:
            raise JsonMismatch(f"given twice, also as {name}")
        if item is not None:
            setter(message, item, level)

    def _add(self, field: FieldDescriptor) -> None:
        setter = _setter(field)
        if field.containing_oneof is not None and field.message_type is not None:
            # A content that a later release of the contract adds is known by its own name.
            kind = CONTENT_KINDS.get(field.name, field.name)
            self._writers[field] = (
                "content",
                _content_writer(field.name, kind, _message_writer(field.message_type)),
            )
            setter = self._contents[kind] = partial(_set_content, setter)
        else:
            self._writers[field] = (field.name, _writer(field))
        for key in (field.name, field.json_name):
            self._setters[key] = setter
            self._names[key] = field.name

    def _add_event_keys(self) -> None:
        self._setters["content"] = partial(_set_content_of_kind, self._contents)
        self._names["content"] = "content"
        for key in ("server_timestamp", "serverTimestamp"):
            self._setters.setdefault(key, lambda _message, _value, _level: None)
            self._names.setdefault(key, "server_timestamp")

    def _add_query_keys(self) -> None:
        for name, encode in _QUERY_ADDITIONS.items():
            for key in (name, _camel_case(name)):
                self._setters.setdefault(key, partial(_set_unknown_field, encode))
                self._names.setdefault(key, name)


@lru_cache(maxsize=128)
def form_of(descriptor: Descriptor) -> MessageForm:
    """The form of a message type, made once."""
    return MessageForm(descriptor)


def _unknown_key(key: str, names: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(key[:64], names, n=1)
    return f"unknown key; did you mean {names[near[0]]}?" if near else "unknown key"


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


# Writing. ListFields gives scalars as Python values; only what JSON says differently needs a function.


def _writer(field: FieldDescriptor) -> _Writer | None:
    if _is_map(field):
        return lambda entries: {key: entries[key] for key in sorted(entries)}
    one = _value_writer(field)
    if not field.is_repeated:
        return one
    return list if one is None else lambda items: [one(item) for item in items]


def _value_writer(field: FieldDescriptor) -> _Writer | None:
    if field.message_type is not None:
        return _message_writer(field.message_type)
    if (enum := field.enum_type) is not None:
        return enum_writer(enum)
    return double_to_json if field.type == FieldDescriptor.TYPE_DOUBLE else None


def _message_writer(kind: Descriptor) -> _Writer:
    return _WELL_KNOWN_WRITERS.get(kind.full_name) or form_of(kind).write


_WELL_KNOWN_WRITERS: Mapping[str, _Writer] = {
    "google.protobuf.Any": any_to_json,
    "google.protobuf.Struct": struct_to_json,
    "google.protobuf.Timestamp": time_to_json,
}


def _content_writer(name: str, kind: str, write: Callable[[Any], Any]) -> _Writer:
    """`content` with its discriminator. A Struct has keys of its own, `kind` perhaps among them, so it stands one level lower."""
    if write is struct_to_json:
        return lambda struct: {"kind": kind, name: struct_to_json(struct)}
    return lambda message: {"kind": kind, **write(message)}


# Reading. A setter takes the message, the JSON value and the level of the message.


def _setter(field: FieldDescriptor) -> _Setter:
    if (kind := field.message_type) is not None:
        if _is_map(field):
            return partial(_set_map, field.name, _value_reader(kind.fields_by_name["value"]))
        fill = _WELL_KNOWN_FILLERS.get(kind.full_name) or form_of(kind).fill
        return partial(_add_messages if field.is_repeated else _set_message, field.name, fill)
    return partial(_add_values if field.is_repeated else _set_value, field.name, _value_reader(field))


_WELL_KNOWN_FILLERS: Mapping[str, _Filler] = {
    "google.protobuf.Any": fill_any,
    "google.protobuf.Struct": fill_struct,
    "google.protobuf.Timestamp": fill_time,
}


def _value_reader(field: FieldDescriptor) -> Callable[[object], object]:
    if (enum := field.enum_type) is not None:
        return enum_reader(enum)
    readers: Mapping[int, Callable[[object], object]] = {
        FieldDescriptor.TYPE_STRING: _string,
        FieldDescriptor.TYPE_BOOL: _boolean,
        FieldDescriptor.TYPE_DOUBLE: double_from_json,
        FieldDescriptor.TYPE_INT32: lambda value: integer_from_json(value, INT32),
        FieldDescriptor.TYPE_INT64: lambda value: integer_from_json(value, INT64),
    }
    return readers[field.type]


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise JsonMismatch(f"expected a string, got {describe(value)}")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise JsonMismatch(f"expected true or false, got {describe(value)}")
    return value


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise JsonMismatch(f"expected an array, got {describe(value)}")
    return value


def _set_value(name: str, read: Callable[[object], object], message: Message, value: object, _level: int) -> None:
    setattr(message, name, read(value))


def _add_values(name: str, read: Callable[[object], object], message: Message, value: object, _level: int) -> None:
    add = getattr(message, name).append
    for index, item in enumerate(_items(value)):
        try:
            add(read(item))
        except JsonMismatch as mismatch:
            raise JsonMismatch(found=mismatch.under(f"[{index}]")) from None
        except UnicodeEncodeError:
            raise JsonMismatch(found=JsonMismatch(NOT_UNICODE).under(f"[{index}]")) from None


def _set_message(name: str, fill: _Filler, message: Message, value: object, level: int) -> None:
    target = getattr(message, name)
    target.SetInParent()
    fill(target, value, level + 1)


def _add_messages(name: str, fill: _Filler, message: Message, value: object, level: int) -> None:
    add = getattr(message, name).add
    for index, item in enumerate(_items(value)):
        try:
            fill(add(), item, level + 1)
        except JsonMismatch as mismatch:
            raise JsonMismatch(found=mismatch.under(f"[{index}]")) from None


def _set_map(name: str, read: Callable[[object], object], message: Message, value: object, _level: int) -> None:
    if not isinstance(value, dict):
        raise JsonMismatch(f"expected an object, got {describe(value)}")
    entries = getattr(message, name)
    for key, item in value.items():
        try:
            entries[key] = read(item)
        except JsonMismatch as mismatch:
            raise JsonMismatch(found=mismatch.under(key)) from None


def _set_content(setter: _Setter, event: Message, value: object, level: int) -> None:
    if (present := event.WhichOneof("content")) is not None:
        raise JsonMismatch(f"the event has two contents; the other is {CONTENT_KINDS.get(present, present)}")
    setter(event, value, level)


def _set_content_of_kind(by_kind: Mapping[str, _Setter], event: Message, value: object, level: int) -> None:
    if not isinstance(value, dict):
        raise JsonMismatch(f"expected an object, got {describe(value)}")
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in by_kind:
        given = shorten(kind) if isinstance(kind, str) else "nothing" if kind is None else describe(kind)
        raise JsonMismatch(found=JsonMismatch(f"expected one of {', '.join(by_kind)}; got {given}").under("kind"))
    rest = {key: item for key, item in value.items() if key != "kind"}
    if kind == "state_update":
        _set_state(kind, by_kind[kind], event, rest, level)
    else:
        by_kind[kind](event, rest, level)


def _set_state(name: str, setter: _Setter, event: Message, members: dict[str, object], level: int) -> None:
    keys = (name, _camel_case(name))
    if others := [key for key in members if key not in keys]:
        raise JsonMismatch(found=JsonMismatch(f"unknown key; the state stands in {name}").under(others[0]))
    if len(members) > 1:
        raise JsonMismatch(found=JsonMismatch("given twice").under(name))
    state = next(iter(members.values()), None)
    try:
        setter(event, {} if state is None else state, level)
    except JsonMismatch as mismatch:
        raise JsonMismatch(found=mismatch.under(name)) from None


def _set_unknown_field(encode: Callable[[object], bytes], message: Message, value: object, _level: int) -> None:
    message.MergeFromString(encode(value))


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
