"""Numbers that should add up: TOKENS_DO_NOT_ADD_UP."""

from __future__ import annotations

from collections.abc import Iterator

from chaukas.server.explain.findings.rule import Rule, finding
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity
from chaukas.server.explain.wording import capital, step_words
from chaukas.spec.common.v1 import events_pb2

__all__ = ["RULES"]


def _tokens(explanation: Explanation) -> Iterator[Finding]:
    """Only counts that are recorded can contradict each other; an absent one (0) is no contradiction."""
    for step in explanation.steps:
        for position in step.events:
            row = explanation.record.rows[position]
            contradiction = _contradiction(row.event, row.content)
            if contradiction:
                yield finding(
                    explanation,
                    "TOKENS_DO_NOT_ADD_UP",
                    FindingSeverity.WARN,
                    f"{capital(step_words(step))} tells token counts that do not agree: {contradiction}.",
                    [step],
                    positions=[position],
                )


def _contradiction(event: events_pb2.Event, content: str) -> str:
    call = event.llm_invocation if content == "llm_invocation" else None
    cost = event.cost if event.HasField("cost") else None
    if call is not None and call.total_tokens and (call.prompt_tokens or call.completion_tokens):
        wrong = _sum_wrong(call.prompt_tokens, call.completion_tokens, call.total_tokens)
        if wrong:
            return wrong
    if cost is not None and cost.total_tokens and (cost.input_tokens or cost.output_tokens):
        wrong = _sum_wrong(cost.input_tokens, cost.output_tokens, cost.total_tokens)
        if wrong:
            return f"in its cost {wrong}"
    if call is not None and cost is not None:
        pairs = (
            ("prompt", call.prompt_tokens, cost.input_tokens),
            ("completion", call.completion_tokens, cost.output_tokens),
            ("total", call.total_tokens, cost.total_tokens),
        )
        for name, told, charged in pairs:
            if told and charged and told != charged:
                return f"{told} {name} tokens in the call, {charged} in its cost"
    return ""


def _sum_wrong(one: int, other: int, total: int) -> str:
    """With one part absent the total only has to hold the other."""
    if one and other:
        return f"{one} and {other} do not make {total}" if one + other != total else ""
    return f"{one or other} alone is more than the total of {total}" if (one or other) > total else ""


RULES = (Rule("TOKENS_DO_NOT_ADD_UP", "token counts of one event that contradict each other", _tokens),)
