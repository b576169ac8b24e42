"""What a verification found wrong: the first finding whole, the others counted by table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chaukas.verify.verdict import INTEGRITY

__all__ = ["Damage", "Findings"]

#: Findings that are kept whole; all are counted.
_KEPT_MAX = 100


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it must be."""

    #: A table of the record, or `signed-heads`, `log key`, `kept checkpoint`.
    table: str
    what: str
    #: The log, empty where it belongs to none.
    origin: str = ""
    #: The entry's index in the log, None where it belongs to no entry.
    index: int | None = None
    #: The verdict that it fails: integrity, completeness or authenticity.
    aspect: str = INTEGRITY

    def __str__(self) -> str:
        place = self.origin if self.index is None else f"{self.origin}#{self.index}"
        return f"{place + ': ' if place else ''}{self.table}: {self.what}"


class Findings:
    """Collects damage in the order in which it is found."""

    def __init__(self) -> None:
        self.kept: list[Damage] = []
        self.by_table: Counter[str] = Counter()
        self.by_aspect: Counter[str] = Counter()

    def add(
        self, table: str, what: str, origin: str = "", index: int | None = None, *, aspect: str = INTEGRITY, count: int = 1
    ) -> None:
        """One finding, which stands for `count` of its kind."""
        self.by_table[table] += count
        self.by_aspect[aspect] += count
        if len(self.kept) < _KEPT_MAX:
            self.kept.append(Damage(table, what, origin, index, aspect))

    @property
    def total(self) -> int:
        """How many there are."""
        return self.by_table.total()

    @property
    def first(self) -> Damage | None:
        """The first one, None for none."""
        return self.kept[0] if self.kept else None

    def of(self, *tables: str, aspect: str | None = None) -> list[Damage]:
        """Those kept of some tables."""
        return [each for each in self.kept if each.table in tables and aspect in (None, each.aspect)]

    def copy(self) -> Findings:
        """An independent copy."""
        other = Findings()
        other.kept, other.by_table, other.by_aspect = list(self.kept), self.by_table.copy(), self.by_aspect.copy()
        return other

    def as_json(self) -> dict[str, Any]:
        """For the position of a verification that goes on later."""
        return {
            "kept": [asdict(each) for each in self.kept],
            "by_table": dict(self.by_table),
            "by_aspect": dict(self.by_aspect),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Findings:
        """What `as_json` wrote."""
        found = cls()
        found.kept = [Damage(**each) for each in value["kept"]]
        found.by_table, found.by_aspect = Counter(value["by_table"]), Counter(value["by_aspect"])
        return found
