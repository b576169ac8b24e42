"""Inputs, outputs and handoffs without their other half: OUTPUT_WITHOUT_INPUT, INPUT_WITHOUT_OUTPUT, HANDOFF_TO_NOBODY."""

from __future__ import annotations

from collections.abc import Iterator

from chaukas.server.explain.findings.rule import Rule, finding
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity, RunKind, RunOutcome, StepKind

__all__ = ["RULES"]


def _output_without_input(explanation: Explanation) -> Iterator[Finding]:
    """A run that put something out although nothing is recorded that came in."""
    elsewhere = any(run.inputs and not run.outputs for run in explanation.runs)
    for run in explanation.runs:
        if run.outputs and not run.inputs:
            hint = (
                "; inputs without an output are recorded, but nothing except time would tie it to one of them"
                if elsewhere
                else ""
            )
            yield finding(
                explanation,
                "OUTPUT_WITHOUT_INPUT",
                FindingSeverity.INFO if elsewhere else FindingSeverity.WARN,
                f"No recorded input can be tied to this output{hint}.",
                [explanation.steps[run.outputs[0]]],
            )


def _input_without_output(explanation: Explanation) -> Iterator[Finding]:
    """A run whose record stops: an input, and then neither an output nor an error."""
    elsewhere = any(run.outputs and not run.inputs for run in explanation.runs)
    for run in explanation.runs:
        if run.inputs and run.outcome is RunOutcome.UNFINISHED and run.kind is RunKind.RUN:
            last = explanation.record.rows[run.events[-1]]
            hint = (
                "; outputs without an input are recorded, but nothing except time would tie one of them to it"
                if elsewhere
                else ""
            )
            yield finding(
                explanation,
                "INPUT_WITHOUT_OUTPUT",
                FindingSeverity.INFO if elsewhere else FindingSeverity.WARN,
                f"The record holds neither an answer to this input nor an error{hint}.",
                [explanation.steps[run.inputs[0]]],
                positions=[explanation.steps[run.inputs[0]].first, last.position],
            )


def _handoff_to_nobody(explanation: Explanation) -> Iterator[Finding]:
    """A handoff to an agent of whom no later event is recorded."""
    latest: dict[str, int] = {}
    for row in explanation.record.rows:
        if row.kind is not StepKind.HANDOFF:
            for name in (row.agent_id, row.agent_name):
                if name:
                    latest[name] = row.position
    for step in explanation.steps:
        if step.kind is not StepKind.HANDOFF:
            continue
        event = explanation.event(step.first)
        to = event.agent_handoff if event.WhichOneof("content") == "agent_handoff" else None
        names = [name for name in (to.to_agent_id, to.to_agent_name) if name] if to is not None else []
        if any(latest.get(name, -1) > step.first for name in names):
            continue
        sentence = (
            f'The handoff to "{step.name}" has no successor: no later event of that agent is recorded.'
            if names
            else "A handoff names no agent to hand over to."
        )
        yield finding(explanation, "HANDOFF_TO_NOBODY", FindingSeverity.WARN, sentence, [step], details={"to": step.name})


RULES = (
    Rule("OUTPUT_WITHOUT_INPUT", "an output to which no recorded input can be tied", _output_without_input),
    Rule("INPUT_WITHOUT_OUTPUT", "an input after which the record stops", _input_without_output),
    Rule("HANDOFF_TO_NOBODY", "a handoff to an agent that never did anything", _handoff_to_nobody),
)
