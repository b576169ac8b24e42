"""A program that uses the published SDK, and nothing of ours.

    python -I sdk_program.py SENT_FILE

Reads a task with a number per line and prints a JSON object when it is done. Everything that was given to the SDK's client
is in SENT_FILE, a serialised EventBatch, before a task is reported.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from chaukas.sdk.core.client import ChaukasClient
from chaukas.sdk.core.event_builder import EventBuilder

from chaukas.spec.common.v1.events_pb2 import Event, EventBatch, EventStatus, EventType, Severity

AGENT = {"agent_id": "agent 1 / Отдел поддержки", "agent_name": "Поддержка 支持 🛟"}
ERROR = "connection reset by peer"
NESTED: dict[str, object] = {
    "list": [1, 2.5, "three", None, True, {"deep": [[]]}],
    "null": None,
    "text": "naïve \u2028 \x00 🛟",
    "flag": False,
}
MCP = {"server_name": "files", "server_url": "stdio://files", "operation": "tools/call", "method": "read_file"}
MODEL = {"provider": "openai", "model": "gpt-4o-mini", **AGENT}

# Every method with which an EventBuilder makes events, with all that it takes; some in two shapes.
KINDS: dict[str, list[dict[str, object]]] = {
    "create_session_start": [{"session_id": "s 1", "metadata": NESTED}, {}],
    "create_session_end": [{"session_id": "s 1", "metadata": NESTED}, {"span_id": "span-of-its-own"}],
    "create_agent_start": [{**AGENT, "role": "helper", "instructions": "help", "tools": ["a", "b"], "metadata": dict(NESTED)}],
    "create_agent_end": [{**AGENT, "status": EventStatus.EVENT_STATUS_CANCELLED, "metadata": NESTED}],
    "create_agent_handoff": [
        {
            "from_agent_id": "a",
            "from_agent_name": "A",
            "to_agent_id": "b",
            "to_agent_name": "B",
            "reason": "refund",
            "handoff_type": "escalation",
            "handoff_data": NESTED,
        }
    ],
    "create_model_invocation_start": [
        {
            **MODEL,
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0.7,
            "max_tokens": 100,
            "tools": [{"name": "lookup", "parameters": {"type": "object"}}],
        }
    ],
    "create_model_invocation_end": [
        {
            **MODEL,
            "response_content": "hello",
            "tool_calls": [{"id": "c1", "arguments": '{"a": 1}'}],
            "finish_reason": "stop",
            "prompt_tokens": 12,
            "completion_tokens": 7,
            "total_tokens": 19,
            "duration_ms": 812.25,
        },
        {**MODEL, "error": ERROR},
    ],
    "create_tool_call_start": [
        {"tool_name": "lookup", "arguments": NESTED, "call_id": "c1", **AGENT},
        {"tool_name": "n", "arguments": {}},
    ],
    "create_tool_call_end": [
        {"tool_name": "lookup", "call_id": "c1", "output": NESTED, "execution_time_ms": 0.125, **AGENT},
        {"tool_name": "lookup", "error": ERROR},
    ],
    "create_mcp_call_start": [{**MCP, "request": NESTED, "protocol_version": "2025-06-18", **AGENT}],
    "create_mcp_call_end": [
        {**MCP, "response": NESTED, "execution_time_ms": 3, **AGENT},
        {**MCP, "response": {}, "error": ERROR},
    ],
    "create_input_received": [{"content": "Where is my order?", "source": "chat", "metadata": NESTED}],
    "create_output_emitted": [{"content": "On its way.\r\n\t🚚", "target": "chat", "metadata": NESTED, **AGENT}],
    "create_error": [
        {
            "error_message": ERROR,
            "error_code": "ECONNRESET",
            "stack_trace": "File 1\n  line 2",
            "recoverable": True,
            "recovery_action": "retry",
            **AGENT,
        }
    ],
    "create_retry": [{"attempt": 2, "strategy": "exponential", "backoff_ms": 500, "reason": ERROR, **AGENT}],
    "create_policy_decision": [{"policy_id": "p1", "outcome": "deny", "rule_ids": ["r1", "r2"], "rationale": "PII", **AGENT}],
    "create_data_access": [
        {"datasource": "crm", "document_ids": ["d1"], "chunk_ids": ["k1", "k2"], "pii_categories": ["email"], **AGENT}
    ],
    "create_state_update": [{"state_data": NESTED, **AGENT}, {"state_data": {}}],
    "create_system_event": [{"message": "started", "severity": Severity.SEVERITY_DEBUG, "metadata": dict(NESTED), **AGENT}],
}


class Program:
    """One client of the SDK and what it was given."""

    def __init__(self, sent_file: Path) -> None:
        self._sent_file = sent_file
        self._client = ChaukasClient()
        self._builder = EventBuilder()
        self._given = EventBatch()

    async def run(self) -> None:
        tasks = {
            "every_kind": self.every_kind,
            "deep": self.deep,
            "backlog": self.backlog,
            "large": self.large,
            "stream": self.stream,
            "flush": self.flush,
        }
        while (line := (await asyncio.to_thread(sys.stdin.readline)).strip()) != "end":
            task, _, count = line.partition(" ")
            await tasks[task](int(count))
            self._tell()
        # Without close(): it would flush once more, and hide what stayed in the queue.
        await self._client._client.aclose()

    async def every_kind(self, rounds: int) -> None:
        """Events of every kind that the builder makes, by its methods."""
        methods = {name for name in dir(EventBuilder) if name.startswith("create_")}
        assert methods == KINDS.keys(), methods ^ KINDS.keys()
        for _ in range(rounds):
            events = [getattr(self._builder, name)(**arguments) for name, shapes in KINDS.items() for arguments in shapes]
            assert {event.type for event in events} == set(EventType.values()) - {EventType.EVENT_TYPE_UNSPECIFIED}
            await self._send(events)
        await self._client.flush()

    async def deep(self, levels: int) -> None:
        """Good events around one whose Struct is nested as deep as asked."""
        events = self._inputs(11)
        struct = events[5].metadata
        for _ in range(levels):
            struct = struct.get_or_create_struct("a")
        await self._send(events)
        await self._client.flush()

    async def backlog(self, count: int) -> None:
        """So many events at once, as after a long time without a server: one post."""
        events = self._inputs(count)
        self._give(events)
        await self._client.send_events(events)
        await self._client.flush()

    async def large(self, count: int) -> None:
        """So many events of 1.8 MB at once: one post, if the server takes it."""
        events = [self._builder.create_output_emitted(content=f"{number} " + "x" * 1_800_000) for number in range(count)]
        self._give(events)
        await self._client.send_events(events)
        await self._client.flush()

    async def stream(self, count: int) -> None:
        """One event after another, with a short pause; tells when a part of them is sent."""
        for number, event in enumerate(self._inputs(count)):
            await self._send([event])
            if number == count // 4:
                self._tell()
            await asyncio.sleep(0.001)

    async def flush(self, _: int) -> None:
        """Send what is queued."""
        await self._client.flush()

    def _inputs(self, count: int) -> list[Event]:
        make: Callable[..., Event] = self._builder.create_input_received
        return [make(content=f"question {number}", metadata={"number": number}) for number in range(count)]

    async def _send(self, events: list[Event]) -> None:
        self._give(events)
        for event in events:
            await self._client.send_event(event)

    def _give(self, events: list[Event]) -> None:
        self._given.events.extend(events)

    def _tell(self) -> None:
        self._sent_file.write_bytes(self._given.SerializeToString())
        print(json.dumps({"given": len(self._given.events), "queued": len(self._client._events_queue)}), flush=True)


if __name__ == "__main__":
    asyncio.run(Program(Path(sys.argv[1])).run())
