"""References to events: a short form of each id that stays the same from page to page, and the list at a page's end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from chaukas.server.explain.model import Record

__all__ = ["Citations", "short_id"]

_SHORT_CHARS = 8
_PLAIN_MAX = 12
#: So many events of one sentence are named; the others are counted.
_NAMED_MAX = 4
_NOT_SHORT = re.compile(r"[^A-Za-z0-9._-]")


def short_id(event_id: str) -> str:
    """The short form of an event id: the id itself up to 12 characters, else its last 8, where random parts stand.

    It depends on the id alone. Signs that would not stand well in a sentence are shown as `_`.
    """
    short = event_id if len(event_id) <= _PLAIN_MAX else event_id[-_SHORT_CHARS:]
    return _NOT_SHORT.sub("_", short) or "_"


class Citations:
    """Names events of one record and remembers which were named, for the list of references.

    Events whose short forms are the same get a number behind it, in the record's order.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._shorts: list[str] = [short_id(row.event_id) for row in record.rows]
        counts = Counter(self._shorts)
        seen: Counter[str] = Counter()
        for position, short in enumerate(self._shorts):
            if counts[short] > 1:
                seen[short] += 1
                self._shorts[position] = f"{short}.{seen[short]}"
        self._cited: set[int] = set()

    def short(self, position: int) -> str:
        """The short form of the event at a position."""
        return self._shorts[position]

    def cite(self, positions: Iterable[int]) -> str:
        """The reference at the end of a sentence: `[a1b2c3d4, 99ffee00]`; of many events the first three and a count."""
        distinct = list(dict.fromkeys(positions))
        named = distinct if len(distinct) <= _NAMED_MAX else distinct[: _NAMED_MAX - 1]
        self._cited.update(named)
        words = [self._shorts[position] for position in named]
        if len(named) < len(distinct):
            words.append(f"and {len(distinct) - len(named)} more")
        return f"[{', '.join(words)}]" if words else ""

    def span(self, positions: Iterable[int]) -> str:
        """A reference to a whole stretch of the record: `[a1b2c3d4 to 99ffee00]`."""
        distinct = sorted(set(positions))
        if len(distinct) < 2:
            return self.cite(distinct)
        first, last = distinct[0], distinct[-1]
        self._cited.update((first, last))
        return f"[{self._shorts[first]} to {self._shorts[last]}]"

    @property
    def cited(self) -> list[int]:
        """Positions of all events that were named, in the record's order."""
        return sorted(self._cited)
