"""Commits with the right answer to each of them, from the naive store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaukas.server.storage.contract import EventRecord, IngestStatus, Outcome
from chaukas.server.testing import MemoryStore
from chaukas.server.testing.conformance_case import opened

from .comparison import Expectation, expectation
from .workload import Items

__all__ = ["Work", "right"]


@dataclass(frozen=True, slots=True)
class Work:
    """Commits, what must be answered to each, and how the store must look after all of them."""

    commits: Sequence[Items]
    outcomes: Sequence[list[Outcome]]
    after: Expectation

    def stored_after(self, commit: int) -> int:
        """How many events there are after the commit with this number."""
        return len(self.record_after(commit))

    def record_after(self, commit: int) -> dict[tuple[str, int], bytes]:
        """The stored bytes by origin and index after the commit with this number."""
        return {
            (outcome.origin, outcome.index): item.stored
            for items, outcomes in zip(self.commits[: commit + 1], self.outcomes, strict=False)
            for item, outcome in zip(items, outcomes, strict=True)
            if outcome.status is IngestStatus.ACCEPTED and isinstance(item, EventRecord)
        }


async def right(work: Sequence[Items]) -> Work:
    """The work, done by the naive store."""
    async with opened(MemoryStore()) as oracle:
        outcomes = [await oracle.append(items) for items in work]
        return Work(work, outcomes, await expectation(oracle))
