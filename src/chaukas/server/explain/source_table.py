"""The sources of an explanation as columns: a long session has a million, and one object for each costs more than texts."""

from __future__ import annotations

from array import array

from chaukas.server.explain.evidence import Place
from chaukas.server.explain.sources import Passage, PassageRole

__all__ = ["SourceTable"]


class SourceTable:
    """Passages in the order in which they were said; a source's number is its place in every column.

    `position`, `run` and `step` tell whose text it is, the other columns are those of `Passage`.
    """

    __slots__ = ("_names", "_offsets", "field", "position", "role", "run", "step", "text")

    def __init__(self) -> None:
        self.position = array("q")
        self.run = array("q")
        self.step = array("q")
        self.role: list[PassageRole] = []
        self.field: list[str] = []
        self.text: list[str] = []
        #: Few passages begin inside their field.
        self._offsets: dict[int, int] = {}
        #: One string for each path, of which a record has a few, and a new one is made for every event.
        self._names: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.text)

    def add(self, position: int, run: int, step: int, passage: Passage) -> int:
        """Append a passage; its number."""
        number = len(self.text)
        self.position.append(position)
        self.run.append(run)
        self.step.append(step)
        self.role.append(passage.role)
        self.field.append(self._names.setdefault(passage.field, passage.field))
        self.text.append(passage.text)
        if passage.offset:
            self._offsets[number] = passage.offset
        return number

    def place(self, number: int, start: int, end: int) -> Place:
        """Characters `start`..`end` of a source as a place in its field."""
        offset = self._offsets.get(number, 0)
        return Place(self.position[number], self.field[number], offset + start, offset + end)
