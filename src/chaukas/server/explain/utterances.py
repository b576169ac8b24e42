"""What was said: the words of an input or an output without what an integration wraps around them, and what a step was given."""

from __future__ import annotations

import re

from chaukas.server.explain.contents import output_text
from chaukas.server.explain.model import EventRow, Explanation, Step
from chaukas.server.explain.quoting import one_line, struct_line

__all__ = ["final_text", "given_line", "returned_line", "said"]

#: How an openai-agents result prints itself: the answer, indented, between two known lines.
_RUN_RESULT = re.compile(
    r"\A(?:RunResult|RunResultStreaming):\n(?:- .*\n)*?- Final output \([^\n]*\):\n(?P<answer>.*?)(?:\n- \d+ new item\(s\)|\Z)",
    re.DOTALL,
)
_INDENT = re.compile(r"^ {4}", re.MULTILINE)


def said(row: EventRow) -> str:
    """The text of a message event, empty when it has none."""
    return row.event.message.text if row.content == "message" else ""


def final_text(row: EventRow) -> str:
    """The answer within an output's text: what openai-agents prints around it is left out."""
    text = said(row)
    found = _RUN_RESULT.match(text)
    return _INDENT.sub("", found["answer"]) if found else text


def given_line(explanation: Explanation, step: Step, characters: int = 160) -> str:
    """The arguments of a tool or MCP call on one line; empty when none are recorded."""
    if step.start is None:
        return ""
    row = explanation.record.rows[step.start]
    if row.content == "tool_call" and row.event.tool_call.arguments.fields:
        return struct_line(row.event.tool_call.arguments, characters)
    if row.content == "mcp_call" and row.event.mcp_call.request.fields:
        request = row.event.mcp_call.request
        inner = request.fields.get("arguments", None)
        if inner is not None and inner.WhichOneof("kind") == "struct_value":
            # MCP's tools/call: the name stands beside its arguments, and is told already.
            return struct_line(inner.struct_value, characters)
        return struct_line(request, characters)
    return ""


def returned_line(explanation: Explanation, step: Step, characters: int = 160) -> str:
    """What a tool or MCP call returned, on one line; empty when nothing is recorded."""
    if step.end is None:
        return ""
    return one_line(output_text(explanation.record.rows[step.end]), characters)
