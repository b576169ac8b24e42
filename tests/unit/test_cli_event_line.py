from __future__ import annotations

import unicodedata

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.cli.event_line import describe, printable
from chaukas.spec.common.v1.events_pb2 import Event


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"message": {"role": "user", "text": "Where is\nmy order?"}}, "user: Where is my order?"),
        ({"message": {"text": "plain"}}, "plain"),
        ({"tool_call": {"name": "lookup", "arguments": {"order": 48213.0, "again": True}}}, "lookup(again=true order=48213)"),
        ({"tool_call": {"function_name": "lookup"}}, "lookup()"),
        ({"tool_response": {"output": {"eta": None, "parts": [1, "b"]}}}, "eta=null parts=[1, b]"),
        ({"tool_response": {"error_message": "no such order"}}, "no such order"),
        ({"llm_invocation": {"model": "gpt", "prompt_tokens": 120, "completion_tokens": 4}}, "gpt 120+4 tokens"),
        ({"llm_invocation": {"provider": "openai", "total_tokens": 7, "finish_reason": "stop"}}, "openai 7 tokens stop"),
        ({"policy": {"policy_id": "pii", "outcome": "deny", "rationale": "card"}}, "pii deny card"),
        ({"data_access": {"datasource": "crm", "document_ids": ["a", "b"]}}, "crm a b"),
        ({"state_update": {"a": {"b": {"c": {"d": 1}}}}}, "a={b={c={…}}}"),
        ({"error": {"error_code": "TypeError", "error_message": "boom"}}, "TypeError boom"),
        ({"agent_handoff": {"from_agent_name": "A", "to_agent_id": "b", "reason": "refund"}}, "A → b refund"),
        ({"mcp_call": {"server_name": "docs", "operation": "call_tool", "method": "search"}}, "docs call_tool search"),
        ({"retry": {"attempt": 2, "strategy": "exponential"}}, "attempt 2 exponential"),
        ({"metadata": {"framework": "x"}}, "framework=x"),
        ({}, ""),
    ],
)  # fmt: skip
def test_each_kind_of_content_says_what_matters(content: dict[str, object], line: str) -> None:
    """A person who scans a listing sees what happened in every kind of event."""
    assert describe(ParseDict(content, Event())) == line


@given(st.text(), st.dictionaries(st.text(max_size=5), st.text(), max_size=20))
def test_nothing_recorded_commands_the_terminal(text: str, members: dict[str, str]) -> None:
    """What strangers wrote into an event can not move the cursor, colour the screen or turn the text around."""
    event = Event()
    try:
        event.message.text = text
        event.metadata.update(members)
    except UnicodeEncodeError:
        return
    for line in (describe(event), describe(Event(metadata=event.metadata)), printable(text)):
        assert all(unicodedata.category(character) != "Cc" for character in line)
        assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\u200e\u200f")


def test_a_huge_event_is_described_in_a_bounded_line() -> None:
    """An event of megabytes costs a listing no more than a small one."""
    event = Event()
    event.state_update.update({f"key {number}": ["x" * 10_000] * 100 for number in range(100)})
    assert len(describe(event)) <= 400
