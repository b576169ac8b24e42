"""The tool calls that recorded model responses ask for, with the places of their ids and arguments."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf import struct_pb2

from chaukas.server.explain.evidence import Place
from chaukas.server.explain.model import EventRow, Explanation, StepKind
from chaukas.server.explain.sources import leaves_of, number_text

__all__ = ["AskedCall", "ModelCalls", "signature_of_json", "signature_of_struct"]

_ARGUMENT_KEYS = ("arguments", "input", "args", "parameters")
_ID_KEYS = ("id", "call_id", "tool_call_id", "toolUseId")
_DEPTH_MAX = 16
#: The object of an MCP request that holds the arguments.
_MCP_ARGUMENTS = ("arguments", "args", "params")

Signature = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A call in a response: the tool's name, the id (often empty), and what its arguments say, in any order of keys."""

    position: int
    run: int
    name: str
    call_id: str
    id_place: Place
    arguments_place: Place
    arguments: Signature


class ModelCalls:
    """All calls that responses ask for, found by id or by name and arguments."""

    def __init__(self, explanation: Explanation) -> None:
        self._by_id: dict[str, list[AskedCall]] = {}
        self._by_name: defaultdict[tuple[int, str], list[AskedCall]] = defaultdict(list)
        for step in explanation.steps:
            if step.kind is StepKind.MODEL:
                for position in step.events:
                    row = explanation.record.rows[position]
                    if row.content == "llm_invocation" and row.event.llm_invocation.HasField("response"):
                        for call in _calls(row, step.run, row.event.llm_invocation.response, "llm_invocation.response", "", 0):
                            if call.call_id:
                                self._by_id.setdefault(call.call_id, []).append(call)
                            self._by_name[call.run, call.name].append(call)
        for calls in self._by_name.values():
            calls.sort(key=_position)

    def asked_by_id(self, call_id: str, position: int) -> AskedCall | None:
        """The call with an id, of the latest response before a position, or of the first one when all came later."""
        calls = self._by_id.get(call_id)
        if not calls:
            return None
        before = [call for call in calls if call.position < position]
        return max(before, key=_position) if before else min(calls, key=_position)

    def asked_by_arguments(self, run: int, name: str, row: EventRow) -> list[AskedCall]:
        """The call of the latest response before an event that asks for this tool with the same arguments; none without any."""
        calls = self._by_name.get((run, name))
        if not calls:
            return []
        place = bisect_left(calls, row.position, key=_position)
        if not place:
            return []
        latest = calls[place - 1].position
        arguments = _arguments_of(row)
        return [call for call in calls[:place][-16:] if call.position == latest and arguments and call.arguments == arguments][:1]


def _position(call: AskedCall) -> int:
    return call.position


def _calls(row: EventRow, run: int, struct: struct_pb2.Struct, path: str, call_id: str, depth: int) -> Iterator[AskedCall]:
    fields = struct.fields
    id_field = ""
    for key in _ID_KEYS:
        if key in fields and fields[key].string_value:
            call_id, id_field = fields[key].string_value, f"{path}.{key}"
            break
    name = fields["name"].string_value if "name" in fields else ""
    argument_key = next((key for key in _ARGUMENT_KEYS if key in fields), "")
    if name and argument_key:
        value = fields[argument_key]
        place = Place(row.position, f"{path}.{argument_key}")
        yield AskedCall(
            row.position, run, name, call_id, Place(row.position, id_field or path), place, _signature_of_value(value)
        )
        return
    if depth < _DEPTH_MAX:
        for key in sorted(fields):
            yield from _value_calls(row, run, fields[key], f"{path}.{key}", call_id, depth)


def _value_calls(row: EventRow, run: int, value: struct_pb2.Value, path: str, call_id: str, depth: int) -> Iterator[AskedCall]:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        yield from _calls(row, run, value.struct_value, path, call_id, depth + 1)
    elif kind == "list_value":
        for number, item in enumerate(value.list_value.values):
            if item.WhichOneof("kind") == "struct_value":
                yield from _calls(row, run, item.struct_value, f"{path}[{number}]", "", depth + 1)


def _signature_of_value(value: struct_pb2.Value) -> Signature:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return signature_of_struct(value.struct_value)
    return signature_of_json(value.string_value) if kind == "string_value" else ()


def _arguments_of(row: EventRow) -> Signature:
    if row.content == "tool_call":
        return signature_of_struct(row.event.tool_call.arguments)
    if row.content == "mcp_call":
        fields = row.event.mcp_call.request.fields
        for key in _MCP_ARGUMENTS:
            if key in fields:
                return _signature_of_value(fields[key])
    return ()


def signature_of_struct(struct: struct_pb2.Struct) -> Signature:
    """Every string and number of a Struct in alphabetical order: the same for any order of keys."""
    return tuple(sorted(text for _, text in leaves_of(struct, "")))


def signature_of_json(text: str) -> Signature:
    """The same of JSON in a string; empty for anything but an object or a list."""
    if not text.startswith(("{", "[")):
        return ()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and item:
            found.append(item)
        elif isinstance(item, int | float) and not isinstance(item, bool):
            found.append(str(item) if isinstance(item, int) else number_text(item))
    return tuple(sorted(found))
