"""Every code of the catalogue: a record in which it must be found, and its near neighbour in which it must not.

It is one room because a test at the end compares this list with the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from chaukas.server.explain.explaining import explain
from chaukas.server.explain.findings import RULES, Rule, finding
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity
from chaukas.spec.common.v1 import events_pb2
from chaukas.spec.common.v1.events_pb2 import Event

from .stories import START_NS, Story, clean_run

FAILED = events_pb2.EVENT_STATUS_FAILED


def found(events: list[Event], code: str) -> list[Finding]:
    return [each for each in explain(events).findings if each.code == code]


def frame(fill: Callable[[Story], None], answer: str = "It is in transit.") -> list[Event]:
    """A run with an input and an answer, and something of the test's own between them."""
    story = Story()
    story.session_start()
    story.input()
    fill(story)
    story.output(answer)
    story.session_end()
    return story.events


def test_clean_run_has_no_finding():
    """What nothing is wrong with is not talked about, however often it stands in a session."""
    events = [event for n in range(4) for event in clean_run(root=f"r{n}", begins=100 * n)]
    assert explain(events).findings == ()


def open_call(story: Story) -> None:
    story.add("TOOL_CALL_START", "t", "root", agent="Ann", tool_call={"name": "lookup"})


def closed_call(story: Story) -> None:
    story.tool("lookup", "t")


def handed_off(story: Story) -> None:
    story.add("AGENT_START", "a", "root", agent="Ann")
    story.add("AGENT_HANDOFF", parent="root", agent="Ann", agent_handoff={"fromAgentId": "Ann", "toAgentId": "Bob"})
    story.add("AGENT_START", "b", "root", agent="Bob")
    story.add("AGENT_END", "b", "root", agent="Bob")


def handed_to_nobody(story: Story) -> None:
    story.add("AGENT_HANDOFF", parent="root", agent="Ann", agent_handoff={"fromAgentId": "Ann", "toAgentId": "Bob"})


def orphan_end(story: Story) -> None:
    story.add("TOOL_CALL_END", "t", "root", agent="Ann")


def two_ends(story: Story) -> None:
    closed_call(story)
    story.add("TOOL_CALL_END", "t", "root", agent="Ann")


def two_attempts(story: Story) -> None:
    closed_call(story)
    closed_call(story)


def misplaced_end(story: Story) -> None:
    for span, agent in (("a", "Ann"), ("b", "Bob")):
        story.add("AGENT_START", span, "root", agent=agent)
    story.add("AGENT_END", "b", "root", agent="Bob")
    story.add("AGENT_END", "b", "root", agent="Ann")


def lost_session_end(story: Story) -> None:
    story.add("TOOL_CALL_START", "t", "root", agent="Ann", tool_call={"name": "lookup"})
    story.add("TOOL_CALL_END", "t", "root", agent="Ann", session="lost", trace="lost")


def reversed_call(story: Story) -> None:
    story.add("TOOL_CALL_START", "t", "root", at=50, tool_call={"name": "lookup"})
    story.add("TOOL_CALL_END", "t", "root", at=40)
    story.now_ms = 50


def far_reversed_call(story: Story) -> None:
    story.add("TOOL_CALL_START", "t", "root", at=9_000, tool_call={"name": "lookup"})
    story.add("TOOL_CALL_END", "t", "root", at=40)
    story.now_ms = 9_000


def child_of_nobody(story: Story) -> None:
    story.add("SYSTEM", parent="never recorded")


def early_child(story: Story) -> None:
    story.add("TOOL_CALL_START", "t", "root", at=5_000, tool_call={"name": "lookup"})
    story.add("DATA_ACCESS", parent="t", at=100, data_access={"datasource": "crm"})
    story.add("TOOL_CALL_END", "t", "root", at=5_010)


def slightly_early_child(story: Story) -> None:
    story.add("TOOL_CALL_START", "t", "root", at=50, tool_call={"name": "lookup"})
    story.add("DATA_ACCESS", parent="t", at=49, data_access={"datasource": "crm"})
    story.add("TOOL_CALL_END", "t", "root", at=60)


def attempts(*numbers: int) -> Callable[[Story], None]:
    def fill(story: Story) -> None:
        for number in numbers:
            story.add("RETRY", parent="root", agent="Ann", retry={"attempt": number})

    return fill


def numbered(*numbers: int) -> Callable[[Story], None]:
    def fill(story: Story) -> None:
        for number in numbers:
            story.add("SYSTEM", parent="root", invocation_id=f"inv-{number}")

    return fill


def sequenced(*numbers: float) -> Callable[[Story], None]:
    def fill(story: Story) -> None:
        for number in numbers:
            story.add("SYSTEM", parent="root", metadata={"sequence": number})

    return fill


def stream(final: bool) -> Callable[[Story], None]:
    def fill(story: Story) -> None:
        for part in range(3):
            story.output(f"part {part}", span="stream", is_partial=not (final and part == 2), is_final=final and part == 2)

    return fill


def unasked(story: Story) -> None:
    story.model("m1", response={"tool_calls": [{"id": "c1", "function": {"name": "lookup", "arguments": "{}"}}]})
    story.tool("lookup", "t1")
    story.tool("refund", "t2")


def asked(story: Story) -> None:
    story.model("m1", response={"tool_calls": [{"id": "c1", "function": {"name": "lookup", "arguments": "{}"}}]})
    story.tool("lookup", "t1")


def unasked_by_history(story: Story) -> None:
    printed = "{'arguments': '{}', 'call_id': 'c1', 'name': 'lookup', 'type': 'function_call'}"
    story.model("m1", request={"messages": [{"role": "user", "content": "hello"}], "tools": ["lookup", "refund"]})
    story.tool("lookup", "t1")
    story.tool("refund", "t2")
    story.model("m2", request={"messages": [{"role": "user", "content": text} for text in ("hello", printed)]})


def no_witness(story: Story) -> None:
    story.model("m1", request={"messages": [{"role": "user", "content": "hello"}], "tools": ["lookup", "refund"]})
    story.tool("refund", "t2")


def failing(status: int = FAILED) -> Callable[[Story], None]:
    def fill(story: Story) -> None:
        story.tool("lookup", "t1", status=status, error={"errorMessage": "database is locked"})

    return fill


def recovered(story: Story) -> None:
    failing()(story)
    story.tool("lookup", "t2")


def failing_without_end(story: Story) -> None:
    story.add("TOOL_CALL_START", "t1", "root", agent="Ann", tool_call={"name": "lookup"})
    story.add("ERROR", parent="t1", agent="Ann", error={"errorMessage": "database is locked"})


def failing_in_words(story: Story) -> None:
    story.tool("lookup", "t1", output="An error occurred while running the tool. Please try again. Error: locked")


def denial(outcome: str = "deny", parent: str = "root", **fields: object) -> Callable[[Story], None]:
    def fill(story: Story) -> None:
        story.add("POLICY_DECISION", parent=parent, agent="Ann", policy={"policyId": "p1", "outcome": outcome}, **fields)

    return fill


def denied_by_name(story: Story) -> None:
    denial(metadata={"tool": "refund"})(story)
    story.model("m")
    story.tool("refund", "t")


def denied_other_tool(story: Story) -> None:
    denial(metadata={"tool": "refund"})(story)
    story.tool("refund_status", "t")


def denied_inside(story: Story) -> None:
    story.add("TOOL_CALL_START", "t", "root", agent="Ann", tool_call={"name": "refund"})
    denial(parent="t")(story)
    story.add("TOOL_CALL_END", "t", "root", agent="Ann", tool_response={"output": {"output": "done"}})


def denied_and_obeyed(story: Story) -> None:
    story.add("TOOL_CALL_START", "t", "root", agent="Ann", tool_call={"name": "refund"})
    denial(parent="t")(story)
    story.add("TOOL_CALL_END", "t", "root", agent="Ann", status=events_pb2.EVENT_STATUS_CANCELLED)


def denied_next(story: Story) -> None:
    denial()(story)
    story.tool("refund", "t")


def denied_then_allowed(story: Story) -> None:
    denial(metadata={"tool": "refund"})(story)
    denial("allow", metadata={"tool": "refund"})(story)
    story.tool("refund", "t")


def personal(story: Story) -> None:
    story.add("DATA_ACCESS", parent="root", data_access={"datasource": "crm", "piiCategories": ["EMAIL"]})


def personal_allowed(story: Story) -> None:
    denial("allow")(story)
    personal(story)


def personal_other_allowed(story: Story) -> None:
    denial("allow", metadata={"resource": "wiki"})(story)
    personal(story)


def impersonal(story: Story) -> None:
    story.add("DATA_ACCESS", parent="root", data_access={"datasource": "wiki"})


def tokens(prompt: int, completion: int, total: int, **cost: int) -> Callable[[Story], None]:
    def fill(story: Story) -> None:
        call = {"promptTokens": prompt, "completionTokens": completion, "totalTokens": total}
        story.add("MODEL_INVOCATION_START", "m", "root")
        story.add("MODEL_INVOCATION_END", "m", "root", llm_invocation=call, **({"cost": cost} if cost else {}))

    return fill


CASES = [
    ("OPEN_SPAN", open_call, closed_call),
    ("OPEN_SPAN", open_call, handed_off),
    ("ORPHAN_END", orphan_end, closed_call),
    ("TWO_ENDS", two_ends, two_attempts),
    ("MISPLACED_END", misplaced_end, lost_session_end),
    ("END_BEFORE_START", reversed_call, closed_call),
    ("ORPHAN_PARENT", child_of_nobody, closed_call),
    ("CLOCK_SKEW", far_reversed_call, reversed_call),
    ("CLOCK_SKEW", early_child, slightly_early_child),
    ("SEQUENCE_GAP", attempts(1, 3), attempts(1, 2, 1)),
    ("SEQUENCE_GAP", numbered(1, 2, 4), numbered(1, 2, 3)),
    ("SEQUENCE_GAP", sequenced(1, 2, 3, 5), sequenced(1, 2, 3, 4)),
    ("SEQUENCE_GAP", numbered(7, 8, 10), numbered(3, 9_000)),
    ("SEQUENCE_GAP", stream(final=False), stream(final=True)),
    ("HANDOFF_TO_NOBODY", handed_to_nobody, handed_off),
    ("TOOL_NOT_REQUESTED", unasked, asked),
    ("TOOL_NOT_REQUESTED", unasked_by_history, no_witness),
    ("TOOL_ERROR_IGNORED", failing(), recovered),
    ("TOOL_ERROR_IGNORED", failing_in_words, closed_call),
    ("TOOL_ERROR_IGNORED", failing_without_end, open_call),
    ("DENIED_ACTION_RAN", denied_by_name, denied_other_tool),
    ("DENIED_ACTION_RAN", denied_inside, denied_and_obeyed),
    ("DENIED_ACTION_RAN", denied_next, denied_then_allowed),
    ("PERSONAL_DATA_WITHOUT_DECISION", personal, personal_allowed),
    ("PERSONAL_DATA_WITHOUT_DECISION", personal_other_allowed, impersonal),
    ("TOKENS_DO_NOT_ADD_UP", tokens(10, 5, 16), tokens(10, 5, 15)),
    ("TOKENS_DO_NOT_ADD_UP", tokens(10, 0, 9), tokens(0, 0, 15)),
    ("TOKENS_DO_NOT_ADD_UP", tokens(10, 5, 15, inputTokens=11), tokens(10, 5, 15, inputTokens=10, outputTokens=5)),
]


@pytest.mark.parametrize(("code", "guilty", "innocent"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_code_is_found_where_it_is_and_not_beside(code: str, guilty: Callable[[Story], None], innocent: Callable[[Story], None]):
    """Each code is found in the record that has it, cites events of it, and is not found in the record beside."""
    (first, *_) = found(frame(guilty), code)
    assert first.sentence.endswith(".")
    assert first.events
    assert found(frame(innocent), code) == []


def test_answer_that_admits_the_failure():
    """An answer that owns up to a failed tool ignores nothing."""
    assert found(frame(failing(), "Sorry, I could not look it up."), "TOOL_ERROR_IGNORED") == []


def test_output_and_input_without_each_other():
    """An answer that nothing asked for, and a question without an answer, are told; a whole run is not."""
    whole = clean_run()
    output = [event for event in whole if event.type != events_pb2.EVENT_TYPE_INPUT_RECEIVED]
    asking = [event for event in whole if event.type != events_pb2.EVENT_TYPE_OUTPUT_EMITTED]
    assert len(found(output, "OUTPUT_WITHOUT_INPUT")) == 1
    assert len(found(asking, "INPUT_WITHOUT_OUTPUT")) == 1
    assert found(whole, "OUTPUT_WITHOUT_INPUT") == found(whole, "INPUT_WITHOUT_OUTPUT") == []


def test_error_instead_of_an_answer():
    """A run that ended with an error has an end: it is not called unanswered."""
    story = Story()
    story.input()
    story.add("ERROR", parent="root", error={"errorMessage": "boom"})
    assert found(story.events, "INPUT_WITHOUT_OUTPUT") == []


def with_receipt(events: list[Event], delays_s: list[float]) -> list[Event]:
    for event, delay in zip(events, delays_s, strict=False):
        event.server_timestamp.FromNanoseconds(event.timestamp.ToNanoseconds() + int(delay * 1e9))
    return events


def test_event_from_the_servers_future():
    """A client's clock ahead of the server's is skew; late delivery of everything is none."""
    ahead = with_receipt(clean_run(), [0.1] * 11 + [-600.0])
    late = with_receipt(clean_run(), [90_000.0] * 12)
    mixed = with_receipt(clean_run(), [0.1] * 11 + [90_000.0])
    assert [each.severity for each in found(ahead, "CLOCK_SKEW")] == [FindingSeverity.WARN]
    assert found(late, "CLOCK_SKEW") == []
    assert [each.severity for each in found(mixed, "CLOCK_SKEW")] == [FindingSeverity.INFO]
    assert START_NS > 0


def failed_retries(session: str = "session-1", text: str = "do it") -> Story:
    story = Story(session)
    story.session_start()
    story.input(text)
    story.add("MODEL_INVOCATION_START", "m", "root", agent="Ann")
    for attempt in (1, 2):
        story.add("RETRY", parent="root", agent="Ann", retry={"attempt": attempt})
    story.add("ERROR", parent="root", agent="Ann", error={"errorMessage": "429"})
    story.session_end()
    return story


def test_retries_that_came_to_nothing():
    """Retries and then an error are exhausted; retries and then a success are not."""
    (first,) = found(failed_retries().events, "RETRIES_EXHAUSTED")
    assert first.details["attempts"] == 2
    story = Story()
    story.session_start()
    story.input()
    story.add("MODEL_INVOCATION_START", "m", "root", agent="Ann")
    story.add("RETRY", parent="root", agent="Ann", retry={"attempt": 1})
    story.add("MODEL_INVOCATION_END", "m", "root", agent="Ann")
    story.output()
    assert found(story.events, "RETRIES_EXHAUSTED") == []


def test_same_input_answered_later():
    """A program that runs its failed input again, and gets an answer, has not exhausted its retries."""
    failed = failed_retries(text="Where is order 48213?").events
    assert found([*failed, *clean_run(root="again", begins=500)], "RETRIES_EXHAUSTED") == []


def test_severity_of_a_denial_that_only_order_ties():
    """What only the order ties to a denial is a warning; what the record ties is an error."""
    assert found(frame(denied_next), "DENIED_ACTION_RAN")[0].severity is FindingSeverity.WARN
    assert found(frame(denied_by_name), "DENIED_ACTION_RAN")[0].severity is FindingSeverity.ERROR


def test_every_code_has_a_case_and_a_line_in_the_catalogue():
    """No finding goes without a test, and no code is used twice."""
    codes = [rule.code for rule in RULES]
    elsewhere = {"OUTPUT_WITHOUT_INPUT", "INPUT_WITHOUT_OUTPUT", "RETRIES_EXHAUSTED"}
    assert len(codes) == len(set(codes))
    assert set(codes) == {case[0] for case in CASES} | elsewhere
    catalogue = (Path(__file__).parents[3] / "docs" / "findings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", catalogue, re.MULTILINE)) == set(codes)


def refunds(explanation: Explanation) -> list[Finding]:
    steps = [step for step in explanation.steps if step.name == "refund"]
    return [finding(explanation, "ACME_REFUND", FindingSeverity.INFO, "A refund was made.", [step]) for step in steps]


def test_own_finders_join_in():
    """A user's finder is run beside the catalogue, and its findings stand among the others."""
    events = frame(lambda story: story.tool("refund", "t"))
    mine = Rule("ACME_REFUND", "a refund was made", refunds)
    assert [each.code for each in explain(events, [*RULES, mine]).findings] == ["ACME_REFUND"]


def test_finder_that_reports_a_foreign_code():
    """A finder cannot speak in another one's name."""
    events = frame(lambda story: story.tool("refund", "t"))
    with pytest.raises(ValueError, match="reported ACME_REFUND"):
        explain(events, [Rule("ACME_OTHER", "something else", refunds)])
