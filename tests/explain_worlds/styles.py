"""How different frameworks write the same thing down: prompts, responses, ids and nesting, in the shapes of real integrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .facts import Json, Text, plain

__all__ = ["STYLES", "Call", "Message", "Style"]


@dataclass(frozen=True)
class Call:
    """A tool call that a model asks for."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Message:
    """One message; `role` is system, user, assistant or tool, `result` the event that holds a tool's result."""

    role: str
    content: Any = ""
    calls: tuple[Call, ...] = ()
    call: Call | None = None
    result: str = ""


@dataclass(frozen=True)
class Style:
    """One framework's habits.

    `form` is how prompts and responses look: `printed`, `chat`, `blocks`, `parts`, or `` for no prompts. `nested`: parents are
    the closest step and not the session's span. `responses`: model ENDs hold what the model answered. `arguments`: tool STARTs
    hold the arguments. `call_ids`: a tool's START and END carry the id of the model's call. `json_results`: tool results are JSON
    inside a string. `input_first`: the input is recorded before the session's START. `scattered`: an END may carry a session and
    a trace of its own.
    """

    name: str
    form: str
    nested: bool
    responses: bool
    arguments: bool
    call_ids: bool
    json_results: bool
    input_first: bool
    scattered: bool = False

    def request(self, messages: Sequence[Message], tools: Sequence[str]) -> dict[str, Any]:
        """A model call's request: the whole conversation, and the tools' schemas."""
        write = {"printed": _printed, "chat": _chat, "blocks": _blocks, "parts": _parts}[self.form]
        written = [item for message in messages for item in write(message)]
        return {"contents" if self.form == "parts" else "messages": written, "tools": [_schema(name) for name in tools]}

    def response(self, text: Text | str, calls: Sequence[Call]) -> dict[str, Any]:
        """A model call's response. Facts stay facts, so that the writer of events sees them."""
        if self.form == "blocks":
            used = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in calls]
            said = [{"type": "text", "text": text}] if str(text) else []
            return {"role": "assistant", "content": said + used, "stop_reason": "tool_use" if calls else "end_turn"}
        if self.form == "parts":
            asked = [{"function_call": {"name": call.name, "args": call.arguments}} for call in calls]
            told = [{"text": text}] if str(text) else []
            return {"candidates": [{"content": {"role": "model", "parts": told + asked}, "finish_reason": "STOP"}]}
        if not calls:
            return {"role": "assistant", "content": text}
        functions = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": Json(call.arguments)}}
            for call in calls
        ]
        return {"role": "assistant", "content": text, "tool_calls": functions}


def _schema(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"Use this tool to {name.replace('_', ' ')}. Returns up to 10 results with status and total.",
        "parameters": {"type": "object", "properties": {"limit": {"type": "integer", "default": 10, "maximum": 100}}},
    }


def _printed(message: Message) -> list[dict[str, Any]]:
    """openai-agents: whole messages as Python prints them, inside the text of a user's message."""
    if message.role == "system":
        return [{"role": "system", "content": plain(message.content)}]
    found: list[dict[str, Any]] = []
    if message.role == "tool":
        assert message.call is not None
        output = plain(message.content if isinstance(message.content, Text | str) else Json(message.content))
        found.append({"call_id": message.call.id, "output": output, "type": "function_call_output"})
    elif message.role == "assistant":
        if str(message.content):
            part = {"annotations": [], "text": plain(message.content), "type": "output_text"}
            found.append({"id": "msg_1", "content": [part], "role": "assistant", "status": "completed", "type": "message"})
        for call in message.calls:
            arguments = plain(Json(call.arguments))
            found.append({"arguments": arguments, "call_id": call.id, "name": call.name, "type": "function_call"})
    else:
        found.append({"content": plain(message.content), "role": "user"})
    return [{"role": "user", "content": repr(item)} for item in found]


def _chat(message: Message) -> list[dict[str, Any]]:
    written: dict[str, Any] = {"role": message.role, "content": plain(message.content)}
    if message.calls:
        functions = [{"name": call.name, "arguments": plain(Json(call.arguments))} for call in message.calls]
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": function}
            for call, function in zip(message.calls, functions, strict=True)
        ]
    if message.call is not None:
        written["tool_call_id"] = message.call.id
        if not isinstance(message.content, Text | str):
            written["content"] = plain(Json(message.content))
    return [written]


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.call is not None:
        content = message.content if isinstance(message.content, Text | str) else Json(message.content)
        block = {"type": "tool_result", "tool_use_id": message.call.id, "content": plain(content)}
        return [{"role": "user", "content": [block]}]
    if not message.calls:
        return [{"role": message.role, "content": plain(message.content)}]
    said = [{"type": "text", "text": plain(message.content)}] if str(message.content) else []
    used = [{"type": "tool_use", "id": call.id, "name": call.name, "input": plain(call.arguments)} for call in message.calls]
    return [{"role": "assistant", "content": said + used}]


def _parts(message: Message) -> list[dict[str, Any]]:
    if message.call is not None:
        response = plain(message.content)
        answered = {"name": message.call.name, "response": response if isinstance(response, dict) else {"result": response}}
        return [{"role": "user", "parts": [{"function_response": answered}]}]
    parts = [{"text": plain(message.content)}] if str(message.content) else []
    parts += [{"function_call": {"name": call.name, "args": plain(call.arguments)}} for call in message.calls]
    return [{"role": "model" if message.role == "assistant" else message.role, "parts": parts}]


def _style(name: str, form: str, habits: str, *, scattered: bool = False) -> Style:
    has = habits.split()
    names = ("nested", "responses", "arguments", "call_ids", "json_results", "input_first")
    return Style(name, form, **{habit: habit in has for habit in names}, scattered=scattered)


STYLES = (
    _style("flat and printed", "printed", "json_results input_first"),
    _style("flat, printed, with arguments, scattered", "printed", "arguments json_results input_first", scattered=True),
    _style("chat with call ids", "chat", "nested responses arguments call_ids json_results"),
    _style("flat chat with call ids", "chat", "responses arguments call_ids json_results input_first"),
    _style("blocks with call ids", "blocks", "nested responses arguments call_ids"),
    _style("parts without ids", "parts", "nested responses arguments"),
    _style("by hand, without prompts", "", "nested arguments"),
)
