"""An event in one line, for a person at a terminal.

The text of events comes from strangers: what would move the cursor, colour the screen or turn the writing direction is
replaced, so that a recorded string can not make the terminal show something else than what was recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["describe", "printable"]

#: C0 and C1 controls, DEL, the separators that terminals break lines at, and the marks that change the writing direction.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
#: No terminal line shows more; cutting early keeps an event of 2 MiB as cheap as a small one.
_SHOWN_CHARACTERS_MAX = 400
_SHOWN_MEMBERS_MAX = 12
#: How deep the values of a Struct are written out.
_SHOWN_LEVELS_MAX = 2


def printable(text: str) -> str:
    """`text` with each run of characters that a terminal would obey replaced by one blank."""
    return _UNSAFE.sub(" ", text)


def describe(event: Event) -> str:
    """What the event says, from its content: at most 400 printable characters, empty when it says nothing."""
    kind = event.WhichOneof("content")
    text = _GIST[kind](event) if kind is not None else ""
    if not text and event.HasField("retry"):
        text = f"attempt {event.retry.attempt} {event.retry.strategy}"
    return printable((text or _members(event.metadata))[:_SHOWN_CHARACTERS_MAX]).strip()


def _message(event: Event) -> str:
    role = event.message.role
    return f"{role}: {event.message.text}" if role else event.message.text


def _tool_call(event: Event) -> str:
    return f"{event.tool_call.name or event.tool_call.function_name}({_members(event.tool_call.arguments)})"


def _tool_response(event: Event) -> str:
    return event.tool_response.error_message or _members(event.tool_response.output)


def _handoff(event: Event) -> str:
    handoff = event.agent_handoff
    giver, taker = handoff.from_agent_name or handoff.from_agent_id, handoff.to_agent_name or handoff.to_agent_id
    return f"{giver} → {taker} {handoff.reason}"


def _model_call(event: Event) -> str:
    call = event.llm_invocation
    if call.prompt_tokens or call.completion_tokens:
        tokens = f"{call.prompt_tokens}+{call.completion_tokens} tokens"
    else:
        tokens = f"{call.total_tokens} tokens" if call.total_tokens else ""
    return _words(call.provider, call.model, tokens, call.finish_reason)


def _members(struct: Struct, levels: int = _SHOWN_LEVELS_MAX) -> str:
    """`key=value` pairs in the order of the keys: a Struct has none of its own, and a listing must not change by itself."""
    keys = sorted(struct.fields)
    shown = " ".join(f"{key}={_value(struct.fields[key], levels)}" for key in keys[:_SHOWN_MEMBERS_MAX])
    return shown if len(keys) <= _SHOWN_MEMBERS_MAX else f"{shown} …"


def _value(value: Value, levels: int) -> str:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value[:_SHOWN_CHARACTERS_MAX]
        case "number_value":
            return f"{value.number_value:g}"
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "list_value":
            return _items(value.list_value, levels)
        case "struct_value":
            return "{" + (_members(value.struct_value, levels - 1) if levels > 0 else "…") + "}"
        case _:
            return "null"


def _items(values: ListValue, levels: int) -> str:
    if levels == 0:
        return "[…]"
    shown = ", ".join(_value(value, levels - 1) for value in values.values[:_SHOWN_MEMBERS_MAX])
    return f"[{shown}, …]" if len(values.values) > _SHOWN_MEMBERS_MAX else f"[{shown}]"


def _words(*parts: str) -> str:
    return " ".join(filter(None, parts))


#: By the name of the content field: its gist, from the fields that real traffic fills.
_GIST: dict[str, Callable[[Event], str]] = {
    "message": _message,
    "tool_call": _tool_call,
    "tool_response": _tool_response,
    "llm_invocation": _model_call,
    "policy": lambda event: _words(event.policy.policy_id, event.policy.outcome, event.policy.rationale),
    "data_access": lambda event: _words(event.data_access.datasource, *event.data_access.document_ids[:_SHOWN_MEMBERS_MAX]),
    "state_update": lambda event: _members(event.state_update),
    "error": lambda event: _words(event.error.error_code, event.error.error_message),
    "agent_handoff": _handoff,
    "mcp_call": lambda event: _words(event.mcp_call.server_name, event.mcp_call.operation, event.mcp_call.method),
}
