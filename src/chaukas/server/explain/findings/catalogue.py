"""Every finding that comes with the product, and how finders are run."""

from __future__ import annotations

from collections.abc import Iterable

from chaukas.server.explain.findings import amounts, clocks, conversations, policies, retries, sequences, spans, tools
from chaukas.server.explain.findings.rule import Rule
from chaukas.server.explain.model import Explanation, Finder, Finding, FindingSeverity

__all__ = ["RULES", "find_all"]

#: The catalogue, in the order of `docs/findings.md`.
RULES: tuple[Rule, ...] = (
    *spans.RULES,
    *sequences.RULES,
    *clocks.RULES,
    *conversations.RULES,
    *tools.RULES,
    *policies.RULES,
    *amounts.RULES,
    *retries.RULES,
)

_WEIGHT = {FindingSeverity.ERROR: 0, FindingSeverity.WARN: 1, FindingSeverity.INFO: 2}


def find_all(explanation: Explanation, finders: Iterable[Finder]) -> tuple[Finding, ...]:
    """What the finders find, ordered by run, place, weight and code.

    Raises ValueError when a finder reports a code that is not its own.
    """
    found: list[Finding] = []
    for finder in finders:
        for finding in finder.find(explanation):
            if finding.code not in finder.codes:
                raise ValueError(f"a finder for {', '.join(finder.codes)} reported {finding.code}")
            found.append(finding)
    found.sort(key=_place)
    return tuple(found)


def _place(finding: Finding) -> tuple[int, int, int, str, tuple[int, ...], str]:
    return (
        -1 if finding.run is None else finding.run,
        finding.events[0].position if finding.events else -1,
        _WEIGHT[finding.severity],
        finding.code,
        finding.steps,
        finding.sentence,
    )
