"""What a step's events say in their content: its name, model, tokens, cost, duration and error.

Nothing here looks at more than the events of one step. Numbers of 0 count as absent: the contract's scalars do not tell them
apart.
"""

from __future__ import annotations

import json
import re
from math import isfinite

from google.protobuf import json_format, struct_pb2

from chaukas.server.explain.drafts import Draft
from chaukas.server.explain.model import Cost, EventRow, StepError, StepKind, Tokens
from chaukas.spec.common.v1 import events_pb2

__all__ = ["cost_of", "error_of", "model_of", "name_of", "output_text", "recorded_duration_ms", "tokens_of"]

_FAILED = events_pb2.EVENT_STATUS_FAILED

#: How frameworks word a tool's failure inside an output that they record as completed.
_FAILURE_WORDS = re.compile(
    r"\s*(?:An error occurred while running the tool|Error executing tool|Error calling tool|Tool execution failed|Unknown tool:"
    r"|Traceback \(most recent call last\)|(?:[A-Za-z]+)?(?:Error|Exception):\s)"
)
_FAILURE_KEYS = ("error", "isError", "is_error")
_MESSAGE_MAX = 2_000


def name_of(draft: Draft) -> str:
    """What the step is called, from the first of its events that tells it: the tool, agent, policy, data source, ..."""
    for row in (draft.start, draft.end):
        name = _name(row) if row is not None else ""
        if name:
            return name
    return ""


def _name(row: EventRow) -> str:
    event, content = row.event, row.content
    if row.kind is StepKind.AGENT:
        return row.agent_name or row.agent_id
    if content == "tool_call":
        call = event.tool_call
        return call.name or call.function_name
    if content == "llm_invocation":
        return event.llm_invocation.model
    if content == "mcp_call":
        return _mcp_name(event.mcp_call)
    if content == "agent_handoff":
        return event.agent_handoff.to_agent_name or event.agent_handoff.to_agent_id
    if content == "policy":
        return event.policy.policy_id
    if content == "data_access":
        return event.data_access.datasource
    if content == "error" and row.kind is StepKind.ERROR:
        return event.error.error_code
    return ""


def _mcp_name(call: events_pb2.MCPCall) -> str:
    """The tool, prompt or resource that was asked for, else the operation."""
    for part in ("request", "response"):
        if call.HasField(part):
            fields = getattr(call, part).fields
            for key in ("tool_name", "prompt_name", "name", "uri"):
                if key in fields and fields[key].string_value:
                    return str(fields[key].string_value)
    return call.operation or call.method


def model_of(draft: Draft) -> str:
    """The model of a model call, from its START when the END does not tell it."""
    if draft.kind is not StepKind.MODEL:
        return ""
    for row in (draft.end, draft.start):
        if row is not None and row.content == "llm_invocation" and row.event.llm_invocation.model:
            return row.event.llm_invocation.model
    return ""


def tokens_of(draft: Draft) -> Tokens | None:
    """Token counts of a model call: of its END, else of its START, else of the cost that it carries."""
    if draft.kind is not StepKind.MODEL:
        return None
    for row in (draft.end, draft.start):
        if row is not None and row.content == "llm_invocation":
            call = row.event.llm_invocation
            prompt, completion, total = call.prompt_tokens, call.completion_tokens, call.total_tokens
            if prompt or completion or total:
                return Tokens(prompt or None, completion or None, total or (prompt + completion))
    for row in (draft.end, draft.start):
        if row is not None and row.event.HasField("cost"):
            cost = row.event.cost
            prompt, completion, total = cost.input_tokens, cost.output_tokens, cost.total_tokens
            if prompt or completion or total:
                return Tokens(prompt or None, completion or None, total or (prompt + completion))
    return None


def cost_of(draft: Draft) -> Cost | None:
    """What the step's END, else its first event says it cost."""
    for row in (draft.end, draft.start):
        if row is not None and row.event.HasField("cost"):
            cost = row.event.cost
            total = cost.total_cost or (cost.input_cost + cost.output_cost)
            if total and isfinite(total):
                return Cost(total, cost.currency)
    return None


def recorded_duration_ms(draft: Draft) -> float | None:
    """How long the step took by its own words, for steps whose two times are not both known."""
    row = draft.end
    if row is None:
        return None
    event = row.event
    value = 0.0
    if row.content == "llm_invocation":
        value = event.llm_invocation.duration_ms
    elif row.content == "tool_response":
        value = event.tool_response.execution_time_ms
    elif row.content == "mcp_call":
        value = event.mcp_call.execution_time_ms
    if not value and event.HasField("performance"):
        value = event.performance.duration_ms
    return value if 0 < value < float("inf") else None


def error_of(draft: Draft) -> StepError | None:
    """Why the step counts as failed, None when nothing says so."""
    row = draft.end or draft.start
    if row is None:
        return None
    event = row.event
    if row.content == "error":
        error = event.error
        return StepError(error.error_message[:_MESSAGE_MAX], error.error_code, "error", row.position)
    if row.content == "tool_response":
        response = event.tool_response
        if response.error_message:
            return StepError(response.error_message[:_MESSAGE_MAX], "", "error", row.position)
        if response.http_status >= 400:
            return StepError(f"HTTP status {response.http_status}", str(response.http_status), "http_status", row.position)
    if row.status == _FAILED:
        return StepError("", "", "status", row.position)
    if row.content in {"tool_response", "mcp_call"}:
        message = _failure_in_output(row)
        if message:
            return StepError(message[:_MESSAGE_MAX], "", "output", row.position)
    return None


def output_text(row: EventRow) -> str:
    """The text of a tool's result as the model sees it: a lone string as it stands, anything else as JSON; empty when absent."""
    if row.content == "tool_response":
        struct = row.event.tool_response.output
    elif row.content == "mcp_call":
        struct = row.event.mcp_call.response
    else:
        return ""
    fields = struct.fields
    if not fields:
        return ""
    if len(fields) == 1:
        for key in ("output", "result", "text", "content"):
            if key in fields and fields[key].WhichOneof("kind") == "string_value":
                return fields[key].string_value
    return json.dumps(_plain(struct), ensure_ascii=False, sort_keys=True)


def _plain(struct: struct_pb2.Struct) -> object:
    """A Struct as Python values; NaN and infinities, which JSON lacks, as their names."""
    try:
        return json_format.MessageToDict(struct)
    except (ValueError, json_format.Error):
        return {}


def _failure_in_output(row: EventRow) -> str:
    """The message of an output that says in a known form that it is an error, else empty."""
    struct = row.event.tool_response.output if row.content == "tool_response" else row.event.mcp_call.response
    fields = struct.fields
    if not fields:
        return ""
    for key in _FAILURE_KEYS:
        if key in fields:
            value = fields[key]
            kind = value.WhichOneof("kind")
            if kind == "string_value" and value.string_value:
                return value.string_value
            if kind == "bool_value" and value.bool_value:
                return output_text(row)
            if kind == "struct_value":
                inner = value.struct_value.fields
                return inner["message"].string_value if "message" in inner else output_text(row)
    for key in ("output", "result", "text", "content", "preview"):
        if key in fields:
            message = _failure_in_text(fields[key].string_value)
            if message:
                return message
    return ""


def _failure_in_text(text: str) -> str:
    """As above for one string, which may be JSON: an object with an `error`, or MCP's text item."""
    if not text:
        return ""
    if _FAILURE_WORDS.match(text):
        return text
    if not text.startswith("{") or len(text) > 20_000 or '"' not in text[:3]:
        return ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    for key in _FAILURE_KEYS:
        error = value.get(key)
        if error:
            return error if isinstance(error, str) else text
    inner = value.get("text")
    return inner if isinstance(inner, str) and _FAILURE_WORDS.match(inner) else ""
