"""A step while it is being put together; `steps` freezes it when runs and tree have said their part."""

from __future__ import annotations

from dataclasses import dataclass, field

from chaukas.server.explain.model import EventRow, Nesting, PairedBy, StepKind, StepState

__all__ = ["Draft"]


@dataclass(slots=True, eq=False)
class Draft:
    """What is known of a step so far. `start` and `end` are rows, `rows` all rows of the step in order; see `model.Step`."""

    kind: StepKind
    start: EventRow | None
    end: EventRow | None
    rows: list[EventRow]
    state: StepState
    paired_by: PairedBy
    certain: bool = True  # whether start and end are known to belong together, so that their distance is a duration
    number: int = -1
    name: str = ""
    run: int = -1
    parent: int | None = None
    within: int | None = None
    nested_by: Nesting = Nesting.NOTHING
    stopped_by: int | None = None
    ended_by: EventRow | None = None  # the handoff that ended an agent without END
    errors: list[int] = field(default_factory=list)
    retries: list[int] = field(default_factory=list)

    @property
    def head(self) -> EventRow:
        """The row that speaks for the step: its START or point, else its END."""
        return self.end if self.start is None else self.start  # type: ignore[return-value]  # one of the two is always set

    @property
    def first(self) -> int:
        """Position of the first event."""
        return self.rows[0].position

    @property
    def last(self) -> int:
        """Position of the last event."""
        return self.rows[-1].position
