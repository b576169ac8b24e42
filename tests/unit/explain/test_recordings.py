"""The recordings, explained as somebody would tell them who knows the programs behind them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chaukas.server.explain.explaining import explain
from chaukas.server.explain.model import Explanation, Nesting, RunKind, RunOutcome, StepKind, StepState, StitchBy

from .recordings import events_of, folders

CLEAN = (
    "handoff",
    "long_session",
    "many_event_loops",
    "mcp_tools",
    "model_object",
    "parallel_processes",
    "support_tools",
    "sync_runs",
    "tags_branch_session",
    "unicode_large",
    "faults/500_twice_then_ok",
    "faults/401_always",
)


def told(recorded_dir: Path, name: str) -> Explanation:
    return explain(events_of(recorded_dir / name))


def test_every_recording_is_explained(recorded_dir: Path):
    """Whatever the SDK sent has an explanation in which every event stands in exactly one step and one run."""
    for folder in folders(recorded_dir):
        explanation = explain(events_of(folder))
        positions = [position for step in explanation.steps for position in step.events]
        assert sorted(positions) == list(range(len(explanation.record.rows)))
        assert sorted(number for run in explanation.runs for number in run.steps) == list(range(len(explanation.steps)))


@pytest.mark.parametrize("name", CLEAN)
def test_clean_recordings_have_no_findings(recorded_dir: Path, name: str):
    """Quirks that are normal in real traffic are not reported where nothing went wrong."""
    assert told(recorded_dir, name).findings == ()


def test_killed(recorded_dir: Path):
    """A process that died in the middle: one unfinished run, session and agent open, every call before it complete."""
    explanation = told(recorded_dir, "killed")
    (run,) = explanation.runs
    assert run.outcome is RunOutcome.UNFINISHED
    assert {step.kind for step in explanation.steps if step.state is StepState.OPEN} == {StepKind.SESSION, StepKind.AGENT}
    assert Counter(finding.code for finding in explanation.findings) == {"OPEN_SPAN": 2, "INPUT_WITHOUT_OUTPUT": 1}


def test_handoff(recorded_dir: Path):
    """Triage hands over to billing, billing to refunds; the second question is a run of its own."""
    explanation = told(recorded_dir, "handoff")
    first, second = explanation.runs
    agents = [step for step in explanation.steps_of(first) if step.kind is StepKind.AGENT]
    assert [(step.name, step.state) for step in agents] == [
        ("Triage Agent", StepState.HANDED_OFF),
        ("Billing Agent", StepState.HANDED_OFF),
        ("Refund Specialist", StepState.CLOSED),
    ]
    tools = {
        step.name: explanation.steps[step.within].name
        for step in explanation.steps_of(first)
        if step.kind is StepKind.TOOL and step.within
    }
    assert tools == {"lookup_order": "Billing Agent", "refund_order": "Refund Specialist"}
    assert second.agents == ("Triage Agent",)


def test_agent_as_tool(recorded_dir: Path):
    """The translator works inside the orchestrator's tool call, and its end does not close the orchestrator."""
    explanation = told(recorded_dir, "agent_as_tool")
    (run,) = explanation.runs
    (translator,) = [step for step in explanation.steps if step.name == "Translator"]
    assert translator.within is not None
    tool = explanation.steps[translator.within]
    assert (tool.name, translator.nested_by) == ("translate_to_german", Nesting.CONTENT)
    assert tool.within is not None
    assert explanation.steps[tool.within].name == "Orchestrator"
    assert [explanation.steps[number].within for number in run.outputs] == [tool.number, 0]
    assert {finding.code for finding in explanation.findings} == {"MISPLACED_END"}


def test_concurrent_one_process(recorded_dir: Path):
    """Six tickets at once: six runs, of which one kept its context; what nothing ties to a ticket stays apart."""
    explanation = told(recorded_dir, "concurrent_one_process")
    runs = [run for run in explanation.runs if run.kind is RunKind.RUN]
    assert [run.outcome for run in runs] == [RunOutcome.ANSWERED] + [RunOutcome.UNFINISHED] * 5
    for run in runs[1:]:
        assert {stitch.by for stitch in run.stitches} == {StitchBy.CONTENT}
        assert len(run.sessions) == 5
    fragments = Counter(
        step.kind for run in explanation.runs if run.kind is RunKind.FRAGMENT for step in explanation.steps_of(run)
    )
    assert fragments == {StepKind.AGENT: 5, StepKind.TOOL: 5, StepKind.OUTPUT: 5}
    assert Counter(step.state for step in explanation.steps if step.kind is StepKind.AGENT) == {
        StepState.CLOSED: 1,
        StepState.OPEN: 4,
        StepState.DOUBLED: 1,
    }


def test_errors_retry(recorded_dir: Path):
    """Nine runs in one session: which were answered, which call each failed one stopped at, and what was tried again."""
    explanation = told(recorded_dir, "errors_retry")
    outcomes = [run.outcome for run in explanation.runs]
    assert [number for number, outcome in enumerate(outcomes) if outcome is RunOutcome.ANSWERED] == [0, 3, 5]
    assert set(outcomes) == {RunOutcome.ANSWERED, RunOutcome.FAILED}
    stopped = [
        (step.run, step.kind, explanation.steps[step.stopped_by].name)
        for step in explanation.steps
        if step.stopped_by is not None and step.kind is not StepKind.AGENT
    ]
    assert stopped == [
        (1, StepKind.MODEL, "RateLimitError"),
        (2, StepKind.MODEL, "RateLimitError"),
        (4, StepKind.MODEL, "InternalServerError"),
        (6, StepKind.TOOL, "UserError"),
    ]
    exhausted = [finding.run for finding in explanation.findings if finding.code == "RETRIES_EXHAUSTED"]
    assert exhausted == [6]
    failed_tools = Counter(step.run for step in explanation.steps if step.kind is StepKind.TOOL and step.failed)
    assert failed_tools == {5: 2, 7: 3}


def test_guardrails(recorded_dir: Path):
    """The model call that ran on after an input guardrail belongs to the run that tripped it, not to the next one."""
    explanation = told(recorded_dir, "guardrails")
    first, second = explanation.runs[:2]
    assert [step.kind for step in explanation.steps_of(first)].count(StepKind.MODEL) == 1
    assert first.ended_ns > second.started_ns
    agents = [step for run in (first, second) for step in explanation.steps_of(run) if step.kind is StepKind.AGENT]
    assert [step.state for step in agents] == [StepState.CLOSED] * 2
