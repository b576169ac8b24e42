"""What a verification says in the end: three separate verdicts, the steps that led to them, and what was not checked.

- integrity: nothing that was shown has been changed since it was logged;
- completeness: nothing is missing, up to a named checkpoint;
- authenticity: who vouches for it, the log's key and the witnesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from chaukas.verify.errors import UnsupportedError, VerificationError

__all__ = ["ASPECTS", "AUTHENTICITY", "COMPLETENESS", "INTEGRITY", "Outcome", "Report", "Step", "Verdict"]

INTEGRITY = "integrity"
COMPLETENESS = "completeness"
AUTHENTICITY = "authenticity"
ASPECTS = (INTEGRITY, COMPLETENESS, AUTHENTICITY)

_Result = TypeVar("_Result")


class Outcome(Enum):
    """Of a step, and of a verdict."""

    VERIFIED = "verified"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered step: which verdict it belongs to, what was looked at, how it came out, and why if not `verified`."""

    number: int
    aspect: str
    text: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reasons` say why it is not `verified`; empty if it is."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """Steps in order, from which the verdicts follow.

    One failed step fails its verdict; a verdict is `verified` only if each of its steps is; one without steps is `not checked`.
    `facts` is what was learned, for people and programs; `not_checked` holds a sentence for each thing that no step looked at.
    """

    subject: str
    #: The verdicts without which the subject does not count as verified; the others may be `not checked`.
    required: frozenset[str] = frozenset({INTEGRITY, AUTHENTICITY})
    steps: list[Step] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    #: Why a verdict that has no steps is not checked.
    silent: dict[str, str] = field(default_factory=dict)

    def run(self, aspect: str, text: str, step: Callable[[], _Result]) -> _Result | None:
        """Take a step. Its result, or None if it failed or could not be taken; both are in the report then."""
        try:
            result = step()
        except UnsupportedError as error:
            self._add(aspect, text, Outcome.NOT_CHECKED, str(error))
        except VerificationError as error:
            self._add(aspect, text, Outcome.FAILED, str(error))
        else:
            self._add(aspect, text, Outcome.VERIFIED)
            return result
        return None

    def skip(self, aspect: str, text: str, reason: str) -> None:
        """A step that would be needed and cannot be taken: its verdict cannot be `verified`."""
        self._add(aspect, text, Outcome.NOT_CHECKED, reason)

    def _add(self, aspect: str, text: str, outcome: Outcome, reason: str = "") -> None:
        self.steps.append(Step(len(self.steps) + 1, aspect, text, outcome, reason))

    def leave(self, sentences: Iterable[str]) -> None:
        """Name things that were not checked and do not stand in the way of a verdict."""
        self.not_checked += (sentence for sentence in sentences if sentence not in self.not_checked)

    def verdict(self, aspect: str) -> Verdict:
        """One of the three verdicts."""
        steps = [step for step in self.steps if step.aspect == aspect]
        for outcome in (Outcome.FAILED, Outcome.NOT_CHECKED):
            reasons = tuple(f"step {step.number}: {step.reason}" for step in steps if step.outcome is outcome)
            if reasons:
                return Verdict(outcome, reasons)
        if steps:
            return Verdict(Outcome.VERIFIED)
        return Verdict(Outcome.NOT_CHECKED, (self.silent.get(aspect, "it was not come to"),))

    @property
    def outcome(self) -> Outcome:
        """`failed` if any verdict failed, `verified` if every required one is, else `not checked`."""
        verdicts = {aspect: self.verdict(aspect).outcome for aspect in ASPECTS}
        if Outcome.FAILED in verdicts.values():
            return Outcome.FAILED
        return Outcome.VERIFIED if all(verdicts[aspect] is Outcome.VERIFIED for aspect in self.required) else Outcome.NOT_CHECKED

    def require(self) -> None:
        """Raise `VerificationError` with the reasons unless the outcome is `verified`; `UnsupportedError` if nothing failed."""
        if self.outcome is Outcome.VERIFIED:
            return
        failed = self.outcome is Outcome.FAILED
        wanted = Outcome.FAILED if failed else Outcome.NOT_CHECKED
        verdicts = [self.verdict(aspect) for aspect in (ASPECTS if failed else sorted(self.required))]
        reasons = "; ".join(reason for verdict in verdicts if verdict.outcome is wanted for reason in verdict.reasons)
        raise (VerificationError if failed else UnsupportedError)(f"{self.subject}: {reasons}")

    def as_json(self) -> dict[str, Any]:
        """The report for programs: outcome, verdicts, steps, facts, what was not checked."""
        verdicts = {aspect: self.verdict(aspect) for aspect in ASPECTS}
        return {
            "subject": self.subject,
            "outcome": self.outcome.value,
            "verdicts": {
                aspect: {"verdict": verdict.outcome.value, "reasons": list(verdict.reasons)}
                for aspect, verdict in verdicts.items()
            },
            "steps": [
                {
                    "number": step.number,
                    "verdict": step.aspect,
                    "text": step.text,
                    "outcome": step.outcome.value,
                    "reason": step.reason,
                }
                for step in self.steps
            ],
            "facts": self.facts,
            "not_checked": self.not_checked,
        }
