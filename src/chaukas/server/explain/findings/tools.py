"""Tools that nobody asked for, and failures that the answer passes over: TOOL_NOT_REQUESTED, TOOL_ERROR_IGNORED."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from chaukas.server.explain.findings.rule import Rule, finding
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity, Run, Step, StepKind
from chaukas.server.explain.requests import Requests, requests_of
from chaukas.server.explain.wording import capital, clipped, step_words

__all__ = ["RULES"]

#: Words by which an answer owns up to a failure, in the languages that answers mostly come in.
_ADMISSIONS = re.compile(
    r"\b(?:errors?|fail\w*|unable|not able|unfortunately|sorry|apolog\w*|could ?n[o'\u2019]t|could not|can ?not|can['\u2019]t"
    r"|unavailable|not (?:available|found|possible|working|respond\w*|reach\w*|be found|succeed)|no (?:results?|access|such)"
    r"|does(?: not|n['\u2019]t) (?:exist|work)|(?:is|are|was|were|seems?) (?:down|offline)|timed? ?-?out|timeouts?|problems?"
    r"|issues?|troubles?|try again|missing|incomplete|unknown|denied|refused|exceptions?|went wrong|outages?"
    r"|fehler\w*|leider|konnten?|nicht|entschuldig\w*|erreurs?|désolée?s?|malheureusement|impossible|échou\w*|lo siento"
    r"|no (?:pude|se pudo|puedo)|desculp\w*|infelizmente|não|purtroppo|spiacent\w*|helaas|niet|ошибк\w*|к сожалению|не удалось)\b"
    r"|エラー|申し訳|できません|失敗|错误|抱歉|无法|失败|오류|죄송|실패",
    re.IGNORECASE,
)


def _calls(explanation: Explanation, run: Run) -> list[Step]:
    """The tool and MCP calls of a run; an MCP call inside the tool call that made it is the same work, and counts once."""
    steps = explanation.steps
    found = []
    for number in run.steps:
        step = steps[number]
        inside = step.within is not None and steps[step.within].kind is StepKind.TOOL
        if step.kind is StepKind.TOOL or (step.kind is StepKind.MCP and not inside):
            found.append(step)
    return found


def _not_requested(explanation: Explanation) -> Iterator[Finding]:
    """A tool call where the record shows what the models of its run asked for, and this tool is not among it."""
    for run in explanation.runs:
        calls = [step for step in _calls(explanation, run) if step.kind is StepKind.TOOL and step.start is not None and step.name]
        models = _Models(explanation, run)
        if not calls or not models.numbers:
            continue
        requests = requests_of(explanation, run)
        for step in calls:
            if step.name not in requests.names and not _ids(explanation, step) & requests.ids:
                witness = models.witness(step, requests)
                if witness:
                    yield finding(
                        explanation,
                        "TOOL_NOT_REQUESTED",
                        FindingSeverity.WARN,
                        f"{capital(step_words(step))} ran, and {witness}.",
                        [step],
                        details={"tool": step.name},
                    )


class _Models:
    """The model calls of one run: all, and by agent."""

    def __init__(self, explanation: Explanation, run: Run) -> None:
        self.numbers = [number for number in run.steps if explanation.steps[number].kind is StepKind.MODEL]
        self._by_agent: defaultdict[str, list[int]] = defaultdict(list)
        for number in self.numbers:
            self._by_agent[explanation.steps[number].agent_id].append(number)

    def witness(self, step: Step, requests: Requests) -> str:
        """Why the record would show the request if there was one; empty when it would not."""
        place = bisect_right(self.numbers, step.number)
        if place == 0:
            return "no model call of its run had started by then"
        if requests.unnamed:
            return ""
        if self.numbers[place - 1] in requests.with_response:
            return "the response of the model call before it is recorded and does not ask for it"
        same = self._by_agent.get(step.agent_id, [])
        after = bisect_right(same, step.number)
        if after < len(same) and same[after] in requests.with_history:
            return "the conversation in the next prompt, which shows the tool calls before it, does not hold it"
        return ""


def _ids(explanation: Explanation, step: Step) -> set[str]:
    found: set[str] = set()
    for position in step.events:
        row = explanation.record.rows[position]
        if row.content == "tool_call":
            found.add(row.event.tool_call.id)
        elif row.content == "tool_response":
            found.add(row.event.tool_response.tool_call_id)
    return found - {""}


def _errors_ignored(explanation: Explanation) -> Iterator[Finding]:
    """A failed call, no later success of the same tool, and then an answer without a word about any failure."""
    for run in explanation.runs:
        calls = _calls(explanation, run)
        failed = [step for step in calls if step.error is not None or (step.errors and step.end is None)]
        if not failed or not run.outputs:
            continue
        successes: dict[str, int] = {}
        for step in calls:
            if step.error is None and step.end is not None:
                successes[step.name] = step.number
        for step in failed:
            if step.number < successes.get(step.name, -1):
                continue
            answer = _answer(explanation, run, step)
            if answer is None:
                continue
            event = explanation.event(answer.first)
            if event.WhichOneof("content") != "message" or _ADMISSIONS.search(event.message.text):
                continue
            yield finding(
                explanation,
                "TOOL_ERROR_IGNORED",
                FindingSeverity.WARN,
                f"{capital(step_words(step))} failed{_quoted(step)} and never succeeded later; the answer does not say so.",
                [step, answer],
                details={"tool": step.name},
            )


def _answer(explanation: Explanation, run: Run, failed: Step) -> Step | None:
    """The first output after a failed call that answers whoever that call was made for.

    That is the whole one: the parts of a stream before it say it piece by piece. What an agent inside another call puts out goes
    to that call, and answers nobody outside.
    """
    around = _calls_around(explanation, failed)
    first = None
    for number in run.outputs[bisect_right(run.outputs, failed.number) :]:
        output = explanation.steps[number]
        if _calls_around(explanation, output) <= around:
            if not explanation.event(output.first).is_partial:
                return output
            first = first or output
    return first


def _calls_around(explanation: Explanation, step: Step) -> set[int]:
    found: set[int] = set()
    while step.within is not None:
        step = explanation.steps[step.within]
        if step.kind in {StepKind.TOOL, StepKind.MCP}:
            found.add(step.number)
    return found


def _quoted(step: Step) -> str:
    return f' ("{clipped(step.error.message, 100)}")' if step.error is not None and step.error.message else ""


RULES = (
    Rule("TOOL_NOT_REQUESTED", "a tool ran that no recorded model call asked for", _not_requested),
    Rule("TOOL_ERROR_IGNORED", "a tool failed, and the answer does not say so", _errors_ignored),
)
