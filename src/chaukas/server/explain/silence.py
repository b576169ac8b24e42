"""What the record does not show: the limits of everything that a page says, drawn from what is absent in these events."""

from __future__ import annotations

from chaukas.server.explain.model import EventRow, Explanation, Step, StepKind
from chaukas.server.explain.sentences import Sentence

__all__ = ["silence"]

_CALLS = frozenset({StepKind.TOOL, StepKind.MCP})


def silence(explanation: Explanation) -> tuple[Sentence, ...]:
    """The last paragraph: what is missing by nature, then by what these events lack."""
    rows = explanation.record.rows
    if not rows:
        return ()
    everything = tuple(range(len(rows)))
    sentences = [
        Sentence(
            "The record holds what the program reported about itself, and nothing that it did not report",
            everything,
            whole=True,
        )
    ]
    models = [step for step in explanation.steps if step.kind is StepKind.MODEL]
    sentences += _models(explanation, models)
    calls = [step for step in explanation.steps if step.kind in _CALLS]
    sentences += _calls(explanation, calls)
    inputs = [step for step in explanation.steps if step.kind is StepKind.INPUT]
    if inputs:
        text = "Who sent the input is not shown: the events name a role, not a person"
        sentences.append(Sentence(text, tuple(step.first for step in inputs)))
    if not any(step.kind is StepKind.DATA_ACCESS for step in explanation.steps):
        sentences.append(
            Sentence(
                "Whether data sources were read beside the tools is not shown: no such event is recorded", everything, whole=True
            )
        )
    if models:
        text = (
            "Why a model decided as it did is not shown; what stands here about order and words of events is no proof of a cause"
        )
        sentences.append(Sentence(text, tuple(step.first for step in models)))
    return tuple(sentences)


def _models(explanation: Explanation, models: list[Step]) -> list[Sentence]:
    sentences = []
    rows = explanation.record.rows
    silent = [step for step in models if not any(_responds(rows[position]) for position in step.events)]
    if silent:
        text = (
            f"What the model answered is not recorded with {_of(len(silent), len(models))} model calls, only that it was called"
        )
        sentences.append(Sentence(text, tuple(step.first for step in silent)))
    blind = [step for step in models if not any(_requests(rows[position]) for position in step.events)]
    if blind:
        text = f"What the model was asked is not recorded with {_of(len(blind), len(models))} model calls"
        sentences.append(Sentence(text, tuple(step.first for step in blind)))
    return sentences


def _calls(explanation: Explanation, calls: list[Step]) -> list[Sentence]:
    if not calls:
        return []
    sentences = []
    rows = explanation.record.rows
    bare = [step for step in calls if not any(_argues(rows[position]) for position in step.events)]
    if bare:
        text = f"With which arguments a tool was called is not recorded with {_of(len(bare), len(calls))} tool calls"
        sentences.append(Sentence(text, tuple(step.first for step in bare)))
    text = "What a tool really did is not shown, only what was reported of it; whether it changed anything is a guess by its name"
    sentences.append(Sentence(text, tuple(step.first for step in calls)))
    return sentences


def _of(some: int, total: int) -> str:
    return f"all {total}" if some == total else f"{some} of {total}"


def _responds(row: EventRow) -> bool:
    return row.content == "llm_invocation" and bool(row.event.llm_invocation.response.fields)


def _requests(row: EventRow) -> bool:
    return row.content == "llm_invocation" and bool(row.event.llm_invocation.request.fields)


def _argues(row: EventRow) -> bool:
    if row.content == "tool_call":
        return bool(row.event.tool_call.arguments.fields)
    return row.content == "mcp_call" and bool(row.event.mcp_call.request.fields)
