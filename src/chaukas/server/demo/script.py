"""One recorded run, told event after event, as the integration of its framework would have recorded it.

A script keeps what the agent's model has been told so far: the question, its own answers and what tools gave back. Each model
call sends all of it, so that the cause of a later event stands in the content of an earlier one, as in real recordings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from chaukas.server.demo.event_writer import EventWriter
from chaukas.server.demo.style import Style
from chaukas.spec.common.v1.events_pb2 import (
    AgentHandoff,
    DataAccess,
    ErrorInfo,
    Event,
    LLMInvocation,
    MCPCall,
    MessageContent,
    PolicyDecision,
    RetryInfo,
    ToolCall,
    ToolResponse,
)

__all__ = ["Failure", "Script"]

_MS: Final = 1_000_000
#: Text per token of a language model, roughly, in characters.
_CHARACTERS_PER_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something did not work."""

    message: str
    code: str
    recoverable: bool = True
    action: str = ""
    stack_trace: str = ""

    def to_error(self) -> ErrorInfo:
        """As the contract has it."""
        return ErrorInfo(
            error_message=self.message,
            error_code=self.code,
            recoverable=self.recoverable,
            recovery_action=self.action,
            stack_trace=self.stack_trace,
        )


class Script:
    """Tells one run; each method is something that happens, and time passes meanwhile."""

    def __init__(
        self,
        name: str,
        style: Style,
        began_ns: int,
        *,
        project: str,
        model: str,
        session_id: str = "",
        tags: Sequence[str] = (),
        branch: str = "",
    ) -> None:
        self.messages: list[dict[str, Any]] = []
        self.style = style
        self.model_name = model
        self._writer = EventWriter(name, style, began_ns, project=project, session_id=session_id, tags=tags, branch=branch)
        self._emit = self._writer.emit
        self.wait = self._writer.wait

    @property
    def events(self) -> list[Event]:
        """What was told so far, in the order in which the client sent it."""
        return self._writer.events

    @property
    def session_id(self) -> str:
        """The session of all events."""
        return self._writer.session_id

    # -- the run and its agents

    @contextmanager
    def session(self, question: str, *, asked_by: str = "user", **details: object) -> Iterator[None]:
        """The whole run, begun by what somebody asked."""
        started = {"framework": self.style.framework, "model": self.model_name, **details}
        if self.style.input_first:
            self.ask(question, asked_by)
        began_ns = self._writer.now_ns
        self._emit("SESSION_START", "STARTED", span=self._writer.session_span, parent="", agent="", metadata=started)
        if not self.style.input_first:
            self.ask(question, asked_by)
        yield
        self.wait(2)
        ended = {"framework": self.style.framework, "success": True, "duration_ms": (self._writer.now_ns - began_ns) / _MS}
        self._emit("SESSION_END", span=self._writer.session_span, parent="", agent="", metadata=ended)

    def begin_session(self, question: str, **details: object) -> None:
        """A run that will not come to its end."""
        started = {"framework": self.style.framework, "model": self.model_name, **details}
        self._emit("SESSION_START", "STARTED", span=self._writer.session_span, parent="", agent="", metadata=started)
        self.ask(question)

    @contextmanager
    def agent(self, name: str, instructions: str, tools: Sequence[str] = (), **details: object) -> Iterator[None]:
        """One agent's turn; what happens inside is its doing."""
        span = self.begin_agent(name, instructions, tools, **details)
        yield
        self.end_agent(span)

    def begin_agent(self, name: str, instructions: str, tools: Sequence[str] = (), **details: object) -> str:
        """An agent takes up its turn; returns its span, which `end_agent` takes."""
        self.wait(3)
        span = self._writer.make_id("span", 16)
        described = {"framework": self.style.framework, "instructions": instructions, "tools": list(tools), **details}
        self._writer.agents.append(name)
        self._emit("AGENT_START", "STARTED", author="AGENT", span=span, metadata=described)
        if self.style.nested:
            self._writer.parents.append(span)
        self.messages = [{"role": "system", "content": instructions}, *(m for m in self.messages if m["role"] != "system")]
        return span

    def end_agent(self, span: str) -> None:
        """The turn ends with the last answer."""
        self.wait(2)
        if self.style.nested:
            self._writer.parents.pop()
        spoken = [message["content"] for message in self.messages if message["role"] == "assistant" and message["content"]]
        output = {"framework": self.style.framework, "output": spoken[-1] if spoken else None}
        self._emit("AGENT_END", author="AGENT", span=span, metadata=output)
        self._writer.agents.pop()

    def handoff(self, taker: str, reason: str, data: Mapping[str, Any], kind: str = "delegation") -> None:
        """The current agent gives its work to another."""
        self.wait(4)
        giver = self._writer.agents[-1]
        handed = AgentHandoff(
            from_agent_id=self.style.agent_id(giver),
            from_agent_name=giver,
            to_agent_id=self.style.agent_id(taker),
            to_agent_name=taker,
            reason=reason,
            handoff_type=kind,
        )
        handed.handoff_data.update(dict(data))
        self._emit("AGENT_HANDOFF", author="AGENT", agent_handoff=handed)

    # -- what goes in and out

    def ask(self, text: str, role: str = "user") -> None:
        """Somebody outside says something."""
        self.wait(1)
        self.messages.append({"role": "user", "content": text})
        self._emit("INPUT_RECEIVED", author="USER", agent="", message=MessageContent(role=role, text=text))

    def say(self, text: str) -> None:
        """The run's answer leaves it."""
        self.wait(2)
        self._emit("OUTPUT_EMITTED", author="AGENT", message=MessageContent(role="assistant", text=text), is_final=True)

    def stream(self, pieces: Sequence[str], ms: int = 180) -> None:
        """An answer that leaves in pieces, and then as a whole."""
        span = self._writer.make_id("span", 16)
        for piece in pieces:
            self.wait(ms)
            said = MessageContent(role="assistant", text=piece)
            self._emit("OUTPUT_EMITTED", "IN_PROGRESS", author="AGENT", span=span, message=said, is_partial=True)
        self.wait(ms)
        whole = MessageContent(role="assistant", text="".join(pieces))
        self._emit("OUTPUT_EMITTED", author="AGENT", span=span, message=whole, is_final=True)

    # -- what the agent does

    def think(
        self,
        answer: str = "",
        calls: Sequence[tuple[str, Mapping[str, Any]]] = (),
        ms: int = 820,
        failure: Failure | None = None,
    ) -> None:
        """One call of the model: it is told everything so far, and answers, asks for tools, or fails."""
        self.wait(6)
        span, began_ns = self._writer.make_id("span", 16), self._writer.now_ns
        asked = self._invocation()
        asked.request.update({"messages": self.messages})
        asked.start_time.FromNanoseconds(began_ns)
        self._emit("MODEL_INVOCATION_START", "STARTED", author="LLM", span=span, llm_invocation=asked)
        self.wait(ms)
        if failure is not None:
            self._emit("MODEL_INVOCATION_END", "FAILED", author="LLM", span=span, error=failure.to_error())
            return
        prompt_tokens = len(json.dumps(self.messages, ensure_ascii=False)) // _CHARACTERS_PER_TOKEN
        spoken: dict[str, Any] = {"role": "assistant", "content": answer}
        if calls:
            spoken["tool_calls"] = [{"name": name, "arguments": json.dumps(given, ensure_ascii=False)} for name, given in calls]
        self.messages.append(spoken)
        answered = self._invocation()
        answered.completion_tokens = len(json.dumps(spoken, ensure_ascii=False)) // _CHARACTERS_PER_TOKEN
        answered.prompt_tokens = prompt_tokens
        answered.total_tokens = prompt_tokens + answered.completion_tokens
        answered.end_time.FromNanoseconds(self._writer.now_ns)
        answered.duration_ms = ms
        answered.finish_reason = "tool_calls" if calls else "stop"
        if self.style.answers_in_ends:
            answered.response.update(spoken)
        event = self._emit("MODEL_INVOCATION_END", author="LLM", span=span, llm_invocation=answered)
        self.style.price(event)
        self._writer.seal(event)

    def run_tool(
        self,
        name: str,
        given: Mapping[str, Any],
        output: Mapping[str, Any] | None = None,
        *,
        ms: int = 140,
        failure: Failure | None = None,
        http_status: int = 0,
    ) -> None:
        """One tool at work; what it gives back is what the model is told next."""
        self.wait(3)
        span, call_id = self._writer.make_id("span", 16), f"call_{self._writer.make_id('call', 24)}"
        call = ToolCall(id=call_id, name=name)
        call.arguments.update(dict(given))
        self._emit("TOOL_CALL_START", "STARTED", author="TOOL", span=span, tool_call=call)
        self.wait(ms)
        if failure is not None:
            self._emit("TOOL_CALL_END", "FAILED", author="TOOL", span=span, error=failure.to_error())
            self.messages.append({"role": "tool", "name": name, "content": failure.message})
            return
        response = ToolResponse(tool_call_id=call_id if self.style.tool_call_ids else "", execution_time_ms=ms)
        response.http_status = http_status
        response.output.update(dict(output or {}))
        self._emit("TOOL_CALL_END", author="TOOL", span=span, tool_response=response)
        self.messages.append({"role": "tool", "name": name, "content": json.dumps(output, ensure_ascii=False)})

    def use(self, name: str, given: Mapping[str, Any], output: Mapping[str, Any], *, ms: int = 140, thinks_ms: int = 700) -> None:
        """The model asks for a tool, and the tool runs."""
        self.think(calls=[(name, given)], ms=thinks_ms)
        self.run_tool(name, given, output, ms=ms)

    def use_mcp(
        self, server: str, name: str, given: Mapping[str, Any], result: str, *, ms: int = 60, thinks: bool = True
    ) -> None:
        """The same with a tool of a Model Context Protocol server."""
        if thinks:
            self.think(calls=[(name, given)], ms=640)
        self._mcp(server, "call_tool", "tools/call", {"name": name, "arguments": dict(given)}, {"content": [_text(result)]}, ms)
        self.messages.append({"role": "tool", "name": name, "content": result})

    def list_mcp_tools(self, server: str, names: Sequence[str]) -> None:
        """The run asks what a server of tools can do."""
        self._mcp(server, "list_tools", "tools/list", {}, {"tools": [{"name": name} for name in names]}, 25)

    # -- what rules and data are about

    def read_data(self, datasource: str, documents: Sequence[str], pii: Sequence[str] = (), chunks: Sequence[str] = ()) -> None:
        """Data of the organisation was read."""
        self.wait(2)
        access = DataAccess(datasource=datasource, document_ids=documents, chunk_ids=chunks, pii_categories=pii)
        self._emit("DATA_ACCESS", author="TOOL", data_access=access, pii_categories=pii)

    def decide(self, policy: str, outcome: str, rules: Sequence[str], rationale: str) -> None:
        """A rule allows or forbids something; a refusal is what the model is told next."""
        self.wait(5)
        decision = PolicyDecision(policy_id=policy, outcome=outcome, rule_ids=rules, rationale=rationale)
        denied = outcome == "deny"
        self._emit("POLICY_DECISION", severity="WARN" if denied else "INFO", policy=decision)
        if denied:
            self.messages.append({"role": "tool", "name": policy, "content": f"denied: {rationale}"})

    def change_state(self, values: Mapping[str, Any]) -> None:
        """The agent's own state changes."""
        self.wait(1)
        self._emit("STATE_UPDATE", state_update=dict(values))

    def note(self, text: str, **details: object) -> None:
        """Something of the runtime itself."""
        self.wait(1)
        self._emit("SYSTEM", message=MessageContent(role="system", text=text), metadata=details)

    def fail(self, failure: Failure) -> None:
        """An error that is reported on its own."""
        self.wait(1)
        self._emit("ERROR", "FAILED", severity="ERROR", error=failure.to_error())

    def retry(self, attempt: int, backoff_ms: int, reason: str, strategy: str = "exponential") -> None:
        """Another try, and the wait before it."""
        self.wait(1)
        again = RetryInfo(attempt=attempt, strategy=strategy, backoff_ms=backoff_ms)
        self._emit("RETRY", "IN_PROGRESS", severity="WARN", retry=again, metadata={"retry_reason": reason})
        self.wait(backoff_ms)

    def _mcp(
        self, server: str, operation: str, method: str, request: Mapping[str, Any], response: Mapping[str, Any], ms: int
    ) -> None:
        self.wait(3)
        span = self._writer.make_id("span", 16)
        started = MCPCall(server_name=server, operation=operation, method=method, protocol_version="2025-06-18")
        started.request.update(dict(request))
        self._emit("MCP_CALL_START", "STARTED", author="TOOL", span=span, mcp_call=started)
        self.wait(ms)
        ended = MCPCall(server_name=server, operation=operation, method=method, protocol_version="2025-06-18")
        ended.response.update(dict(response))
        ended.execution_time_ms = ms
        self._emit("MCP_CALL_END", author="TOOL", span=span, mcp_call=ended)

    def _invocation(self) -> LLMInvocation:
        return LLMInvocation(provider=self.style.provider, model=self.model_name)

    def reseal(self) -> None:
        """After a scene wrote more into the last event: its id follows from what it says now."""
        self._writer.seal(self.events[-1])


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
