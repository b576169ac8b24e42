"""Agents at work: model calls with their prompts, tool calls, and what stands between them, in the habits of one style."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .facts import Fact, Json, Text, facts_in
from .record import CONTENT, EXPLICIT, EventRecord
from .styles import Call, Message, Style
from .words import Speaker

__all__ = ["Stage"]

_MODEL = "wordsmith-2"


class Stage:
    """Where a session is played: keeps the conversation, and knows who is at work and in which span."""

    def __init__(self, record: EventRecord, speaker: Speaker, style: Style, company: str, tools: Sequence[str]) -> None:
        self.record, self.speaker, self.style, self.company = record, speaker, style, company
        self.rng = speaker.rng
        self.messages: list[Message] = []
        self.tools = list(tools)
        self.agent = ""
        self.agent_span = ""
        self.session_span = ""
        self.answered_by = ""
        self._inside: list[str] = []
        self._shown: set[tuple[str, str]] = set()
        self._calls = 0

    @property
    def parent(self) -> str:
        """The span that the next step names as its parent."""
        return (
            (self._inside[-1] if self._inside else self.agent_span or self.session_span)
            if self.style.nested
            else self.session_span
        )

    @contextmanager
    def inside(self, span: str) -> Iterator[None]:
        """What happens inside a call."""
        self._inside.append(span)
        yield
        self._inside.pop()

    def instructions(self) -> str:
        """What the agent was told once and for all: full of phrases that answers repeat."""
        return (
            f"You are the assistant of {self.company}. Be brief. Say: Thank you for your patience. End with: Please let me know "
            "if there is anything else I can help with. Answer within 10 sentences. The year is 2024. "
            f"Tools: {', '.join(self.tools)}."
        )

    def begin_agent(self, name: str) -> None:
        """An agent takes up its work."""
        self.agent, self.agent_span = name, self.record.new_id()
        parent = self._inside[-1] if self._inside and self.style.nested else self.session_span
        metadata = {"instructions": self.instructions(), "tools": self.tools, "framework": self.style.name, "role": None}
        self.record.emit("AGENT_START", span=self.agent_span, parent=parent, agent=name, metadata=metadata)
        spoken = [message for message in self.messages if message.role != "system"]
        self.messages = [Message("system", self.instructions()), *spoken]

    def end_agent(self) -> str:
        """An agent's work ends."""
        parent = self._inside[-1] if self._inside and self.style.nested else self.session_span
        return self.record.emit("AGENT_END", span=self.agent_span, parent=parent, agent=self.agent, metadata={"success": True})

    def model(self, text: Text | str, calls: Sequence[Call] = (), *, wrong_total: int = 0) -> tuple[str, str]:
        """One model call; returns the ids of its START and END. What it answers becomes part of the conversation."""
        span, parent, agent = self.record.new_id(), self.parent, self.agent
        request = {"request": self.style.request(self.messages, self.tools)} if self.style.form else {}
        start = self.record.emit(
            "MODEL_INVOCATION_START", span=span, parent=parent, agent=agent, llmInvocation={"model": _MODEL, **request}
        )
        self._show(start)
        self.record.wait(400)
        prompt, completion = self.rng.randrange(200, 900), self.rng.randrange(10, 99)
        usage = {"promptTokens": prompt, "completionTokens": completion, "totalTokens": prompt + completion + wrong_total}
        response = {"response": self.style.response(text, calls)} if self.style.responses else {}
        end = self.record.emit(
            "MODEL_INVOCATION_END",
            "made",
            span=span,
            parent=parent,
            agent=agent,
            scattered=self.style.scattered and self.rng.random() < 0.5,
            llmInvocation={"model": _MODEL, **usage, **response},
        )
        self.answered_by = end if self.style.responses else ""
        self.messages.append(Message("assistant", text, tuple(calls)))
        return start, end

    def _show(self, start: str) -> None:
        """A prompt that shows a result with the id of its call: ids say so, at least where a prompt has it first."""
        if not self.style.call_ids or not self.style.form:
            return
        for message in self.messages:
            if message.result:
                first = (message.result, self.agent) not in self._shown
                (self.record.edge if first else self.record.may)(message.result, start, EXPLICIT)
                self._shown.add((message.result, self.agent))

    def call(self, name: str, arguments: dict[str, Any]) -> Call:
        """A call as the model writes it down."""
        self._calls += 1
        prefix = "toolu" if self.style.form == "blocks" else "call"
        return Call(f"{prefix}_{self.record.new_id().replace('-', '')[:20]}", name, arguments)

    def start_tool(self, call: Call, asked_by: str) -> str:
        """A tool begins its work; returns its span."""
        span, style = self.record.new_id(), self.style
        told: dict[str, Any] = {"name": call.name}
        if style.call_ids:
            told["id"] = call.id
        elif style.form == "printed":
            told["id"] = self.record.new_id()
        if style.arguments:
            told["arguments"] = call.arguments
        start = self.record.emit("TOOL_CALL_START", "asked", span=span, parent=self.parent, agent=self.agent, toolCall=told)
        if style.responses and asked_by:
            self.record.edge(asked_by, start, EXPLICIT if style.call_ids else CONTENT)
            self.record.may(asked_by, start, CONTENT)
        if style.arguments:
            facts = [(fact, not fact.known or fact.origins[0] != asked_by) for fact in facts_in(call.arguments)]
            self.record.truth.arguments[start] = facts
        return span

    def end_tool(
        self, call: Call, span: str, output: Any, *, echoes: Sequence[Fact] = (), inner: bool = False, error: Text | None = None
    ) -> str:
        """A tool returns, or fails; what it returned becomes part of the conversation."""
        response: dict[str, Any] = {"toolCallId": call.id} if self.style.call_ids else {}
        fields: dict[str, Any] = {}
        if error is not None:
            fields = {"error": {"errorMessage": error, "errorCode": "tool_failed"}, "status": "EVENT_STATUS_FAILED"}
        elif isinstance(output, Text | str):
            fields = {"toolResponse": {**response, "output": {"output": output}}}
        else:
            fields = {"toolResponse": {**response, "output": {"output": Json(output)} if self.style.json_results else output}}
        result = self.record.emit(
            "TOOL_CALL_END",
            "given",
            span=span,
            parent=self.parent,
            agent=self.agent,
            inner=inner,
            echoes=echoes if self.style.arguments or inner else (),
            scattered=self.style.scattered and self.rng.random() < 0.3,
            **fields,
        )
        shown = Text.of("Error: ", error) if error is not None else output
        self.messages.append(Message("tool", shown, call=call, result="" if error is not None else result))
        return result

    def use(self, call: Call, asked_by: str, output: Any, *, echoes: Sequence[Fact] = ()) -> str:
        """A whole tool call with nothing inside; returns the id of its END."""
        span = self.start_tool(call, asked_by)
        self.record.wait(30)
        return self.end_tool(call, span, output, echoes=echoes)
