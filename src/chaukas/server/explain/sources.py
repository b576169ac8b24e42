"""Which texts and values of an event count as evidence, each with the path of its field.

A path is written as in the contract: `message.text`, `tool_response.output.charges[0].id`, `llm_invocation.request.messages[3]`.
Ranges within a passage are characters of that one string; a number in a Struct is read as it is printed (`289.9`, `60418`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from google.protobuf import struct_pb2

from chaukas.server.explain.evidence import Place
from chaukas.server.explain.model import Edge, EventRow, StepKind

__all__ = ["Passage", "PassageRole", "instructions_of", "leaves_of", "number_text", "passages_of", "value_leaves"]

_DEPTH_MAX = 32
#: What openai-agents' integration records as an output: the printed result object, with the answer inside.
_PRINTED_RESULT = re.compile(
    r"RunResult\w*+:\n(?:- (?!Final output)[^\n]*+\n)*+- Final output \([^\n]*+\n[ ]*+(.*?)\n- \d+ new item\(s\)\n", re.DOTALL
)
_INSTRUCTION_KEYS = ("instructions", "system", "system_prompt", "prompt")
_REASON_KEYS = ("retry_reason", "reason")


class PassageRole(StrEnum):
    """How a text came into the record."""

    GIVEN = "given"  # it came from outside the agent: an input, what a tool returned, a document, an error
    MADE = "made"  # the agent or its model wrote it: a response, an output, data that it handed over
    ASKED = "asked"  # arguments of a call: they have causes, but cause nothing themselves
    NAMED = "named"  # an id that the record gives to a document or chunk
    PROMPT = "prompt"  # first seen in a model's prompt, and in no event before it


class Passage(NamedTuple):
    """One text of an event. `leaf` says that it is one value of structured content, and not prose of its own.

    `offset` is where the text begins in its field: not 0 where an integration printed an object around the answer.
    """

    field: str
    text: str
    role: PassageRole
    leaf: bool = False
    offset: int = 0

    def place(self, position: int, start: int, end: int) -> Place:
        """Characters `start`..`end` of the passage as a place in the field."""
        return Place(position, self.field, self.offset + start, self.offset + end)


def passages_of(row: EventRow) -> list[Passage]:
    """The texts of an event that take part in content matches; model requests are `context`'s part."""
    found: list[Passage] = []
    event, content = row.event, row.content
    if content == "message":
        role = PassageRole.GIVEN if row.kind in {StepKind.INPUT, StepKind.SYSTEM} else PassageRole.MADE
        text = event.message.text
        printed = _PRINTED_RESULT.match(text) if text.startswith("RunResult") else None
        if printed is None:
            _text(found, "message.text", text, role)
        elif printed[1].strip():
            found.append(Passage("message.text", printed[1], role, offset=printed.start(1)))
    elif content == "tool_call":
        _struct(found, "tool_call.arguments", event.tool_call.arguments, PassageRole.ASKED)
    elif content == "tool_response":
        _struct(found, "tool_response.output", event.tool_response.output, PassageRole.GIVEN)
        _text(found, "tool_response.error_message", event.tool_response.error_message, PassageRole.GIVEN)
    elif content == "mcp_call":
        if row.edge is Edge.START:
            _struct(found, "mcp_call.request", event.mcp_call.request, PassageRole.ASKED)
        else:
            _struct(found, "mcp_call.response", event.mcp_call.response, PassageRole.GIVEN)
    elif content == "llm_invocation":
        if event.llm_invocation.HasField("response"):
            _struct(found, "llm_invocation.response", event.llm_invocation.response, PassageRole.MADE)
    else:
        _points(found, row)
    return found


def _points(found: list[Passage], row: EventRow) -> None:
    event, content = row.event, row.content
    if content == "agent_handoff":
        _struct(found, "agent_handoff.handoff_data", event.agent_handoff.handoff_data, PassageRole.MADE)
        _text(found, "agent_handoff.reason", event.agent_handoff.reason, PassageRole.MADE)
    elif content == "policy":
        _text(found, "policy.rationale", event.policy.rationale, PassageRole.GIVEN)
    elif content == "data_access":
        for name, ids in (("document_ids", event.data_access.document_ids), ("chunk_ids", event.data_access.chunk_ids)):
            found.extend(
                Passage(f"data_access.{name}[{number}]", text, PassageRole.NAMED, leaf=True)
                for number, text in enumerate(ids)
                if text
            )
    elif content == "error":
        _text(found, "error.error_message", event.error.error_message, PassageRole.GIVEN)
    elif content == "state_update":
        _struct(found, "state_update", event.state_update, PassageRole.MADE)
    if row.kind is StepKind.RETRY and event.HasField("metadata"):
        for key in _REASON_KEYS:
            if key in event.metadata.fields:
                _text(found, f"metadata.{key}", event.metadata.fields[key].string_value, PassageRole.ASKED)


def instructions_of(row: EventRow) -> list[Passage]:
    """The standing instructions that an agent's START or a state update tells: part of prompts, never evidence of content."""
    event = row.event
    if row.kind is not StepKind.AGENT or not event.HasField("metadata"):
        return []
    fields = event.metadata.fields
    return [
        Passage(f"metadata.{key}", fields[key].string_value, PassageRole.MADE)
        for key in _INSTRUCTION_KEYS
        if key in fields and fields[key].string_value
    ]


def _text(found: list[Passage], field: str, text: str, role: PassageRole) -> None:
    if text:
        found.append(Passage(field, text, role))


def _struct(found: list[Passage], field: str, struct: struct_pb2.Struct, role: PassageRole) -> None:
    for path, text in leaves_of(struct, field):
        found.append(Passage(path, text, role, leaf=True))


def leaves_of(struct: struct_pb2.Struct, path: str) -> list[tuple[str, str]]:
    """Path and text of every string and number in a Struct, in the order of their keys (maps have none of their own)."""
    found: list[tuple[str, str]] = []
    _add_struct(found, struct, path, 0)
    return found


def value_leaves(value: struct_pb2.Value, path: str) -> list[tuple[str, str]]:
    """The same for one value."""
    found: list[tuple[str, str]] = []
    _add_value(found, value, path, 0)
    return found


def _add_struct(found: list[tuple[str, str]], struct: struct_pb2.Struct, path: str, depth: int) -> None:
    fields = struct.fields
    for key in sorted(fields):
        _add_value(found, fields[key], f"{path}.{key}", depth)


def _add_value(found: list[tuple[str, str]], value: struct_pb2.Value, path: str, depth: int) -> None:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        if text:
            found.append((path, text))
    elif kind == "number_value":
        found.append((path, number_text(value.number_value)))
    elif kind == "struct_value" and depth < _DEPTH_MAX:
        _add_struct(found, value.struct_value, path, depth + 1)
    elif kind == "list_value" and depth < _DEPTH_MAX:
        for number, item in enumerate(value.list_value.values):
            _add_value(found, item, f"{path}[{number}]", depth + 1)


def number_text(number: float) -> str:
    """A number as JSON prints it: without a fraction where it has none."""
    return str(int(number)) if number.is_integer() and abs(number) < 1e16 else repr(number)
