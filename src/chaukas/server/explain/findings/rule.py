"""One entry of the catalogue: a code, what it means, and the pure function that looks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaukas.server.explain.model import Explanation, Finding, FindingSeverity, Step

__all__ = ["Rule", "finding"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A finder for one code. `meaning` is its line in `docs/findings.md`; `look` yields findings of that code only."""

    code: str
    meaning: str
    look: Callable[[Explanation], Iterable[Finding]]

    @property
    def codes(self) -> tuple[str, ...]:
        """The one code."""
        return (self.code,)

    def find(self, explanation: Explanation) -> list[Finding]:
        """All findings of this code."""
        return list(self.look(explanation))


def finding(
    explanation: Explanation,
    code: str,
    severity: FindingSeverity,
    sentence: str,
    steps: Sequence[Step],
    *,
    positions: Iterable[int] | None = None,
    details: Mapping[str, object] | None = None,
) -> Finding:
    """A finding about steps; cites their events, or only `positions` when given. The run is that of the first step."""
    cited = sorted(set(positions) if positions is not None else {position for step in steps for position in step.events})
    return Finding(
        code=code,
        severity=severity,
        sentence=sentence,
        events=explanation.record.refs(cited),
        run=steps[0].run if steps else None,
        steps=tuple(step.number for step in steps),
        details=details or {},
    )
