"""Which tools a model asked for: what its response says, and what the history in a later prompt says.

Integrations often record no response; then the next prompt of the run, which repeats the conversation, is the only witness. A
model call of which neither is recorded testifies nothing: `with_response` and `with_history` list those that do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from google.protobuf import struct_pb2

from chaukas.server.explain.model import Explanation, Run, Step, StepKind

__all__ = ["Requests", "requests_of"]

_HISTORY_KEYS = ("messages", "input", "contents")
_CALL_TYPES = frozenset({"function_call", "tool_use", "tool_call", "function", "mcp_call"})
_CALL_KEYS = ("function", "functionCall", "function_call", "toolUse", "tool_call")
_LIST_KEYS = ("tool_calls", "content", "parts", "output", "choices", "message", "messages", "candidates")
_ASKED_REASONS = frozenset({"tool_calls", "tool_use", "function_call", "tool_call"})
#: Calls in messages that were printed (Python) or dumped (JSON) into a string.
_PRINTED_CALL = re.compile(r"""function_call|tool_use|tool_calls?|functionCall|toolUse""")
_PRINTED_NAME = re.compile(r"""['"](?:name|tool_name|function_name)['"]: ?['"]([^'"]{1,200})['"]""")
_PRINTED_ID = re.compile(r"""['"](?:call_id|id|tool_call_id|toolUseId)['"]: ?['"]([^'"]{1,200})['"]""")
_DEPTH_MAX = 12


@dataclass(slots=True)
class Requests:
    """What the model calls of one run are known to have asked for."""

    names: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    #: Step numbers of model calls whose response is recorded.
    with_response: set[int] = field(default_factory=set)
    #: Step numbers of model calls whose prompt shows earlier tool calls.
    with_history: set[int] = field(default_factory=set)
    #: Responses that say that a tool was called, but not which.
    unnamed: set[int] = field(default_factory=set)


def requests_of(explanation: Explanation, run: Run) -> Requests:
    """Read the responses and histories of a run's model calls, every message once as far as prompts grow at their end."""
    found = Requests()
    read: dict[str, int] = {}
    for number in run.steps:
        step = explanation.steps[number]
        if step.kind is StepKind.MODEL:
            for position in step.events:
                row = explanation.record.rows[position]
                if row.content == "llm_invocation":
                    call = row.event.llm_invocation
                    if call.HasField("response") and call.response.fields:
                        _read_response(found, step, call.response, call.finish_reason)
                    if position == step.start and call.HasField("request"):
                        _read_history(found, step, call.request, read)
    return found


def _read_response(found: Requests, step: Step, response: struct_pb2.Struct, finish_reason: str) -> None:
    names, ids = len(found.names), len(found.ids)
    _read_struct(found, response, 0)
    reason = finish_reason or (response.fields["finish_reason"].string_value if "finish_reason" in response.fields else "")
    if reason in _ASKED_REASONS and (len(found.names), len(found.ids)) == (names, ids):
        found.unnamed.add(step.number)
    found.with_response.add(step.number)


def _read_history(found: Requests, step: Step, request: struct_pb2.Struct, read: dict[str, int]) -> None:
    for key in _HISTORY_KEYS:
        if key not in request.fields or request.fields[key].WhichOneof("kind") != "list_value":
            continue
        values = request.fields[key].list_value.values
        agent = f"{step.agent_id}/{key}"
        before = read.get(agent, 0)
        size = len(values)
        read[agent] = size
        calls = False
        # A prompt that did not grow was trimmed or is another conversation: read it whole.
        for item in values[before if size > before else 0 :]:
            calls = _read_value(found, item, 0) or calls
        if calls or before:
            found.with_history.add(step.number)


def _read_value(found: Requests, value: struct_pb2.Value, depth: int) -> bool:
    """Whether the value held a call; what it asked for is added."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _read_struct(found, value.struct_value, depth)
    if kind == "list_value":
        calls = False
        for item in value.list_value.values if depth < _DEPTH_MAX else ():
            calls = _read_value(found, item, depth + 1) or calls
        return calls
    if kind == "string_value":
        return _read_printed(found, value.string_value)
    return False


def _read_struct(found: Requests, struct: struct_pb2.Struct, depth: int) -> bool:
    if depth >= _DEPTH_MAX:
        return False
    fields = struct.fields
    calls = False
    is_call = ("type" in fields and fields["type"].string_value in _CALL_TYPES) or "arguments" in fields
    if is_call and "name" in fields and fields["name"].string_value:
        _add(found, struct)
        calls = True
    for key in _CALL_KEYS:
        if key in fields and fields[key].WhichOneof("kind") == "struct_value":
            inner = fields[key].struct_value
            if "name" in inner.fields:
                _add(found, inner)
                if "id" in fields:
                    found.ids.add(fields["id"].string_value)
                calls = True
    for key in _LIST_KEYS:
        if key in fields:
            calls = _read_value(found, fields[key], depth + 1) or calls
    return calls


def _add(found: Requests, call: struct_pb2.Struct) -> None:
    fields = call.fields
    found.names.add(fields["name"].string_value)
    for key in ("id", "call_id"):
        if key in fields and fields[key].string_value:
            found.ids.add(fields[key].string_value)


def _read_printed(found: Requests, text: str) -> bool:
    if ("tool" not in text and "function" not in text) or _PRINTED_CALL.search(text) is None:
        return False
    names = _PRINTED_NAME.findall(text)
    found.names.update(names)
    found.ids.update(_PRINTED_ID.findall(text))
    return bool(names)
