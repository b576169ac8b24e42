"""What can be wrong with an event or a request in JSON, and where.

Readers of this package raise `JsonMismatch` where they stand; each level on the way up puts its own step in front of the
path, so that a path costs nothing while all is well. No `JsonMismatch` leaves the package: its callers get a
`JsonProblem` or an error of `chaukas.server.errors`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaukas.server.errors import Violation

__all__ = ["PROBLEMS_MAX", "JsonMismatch", "JsonProblem", "Unusable", "describe", "shorten"]

#: Problems that are looked for in one event: a thousand unknown keys are one mistake, not a thousand.
PROBLEMS_MAX = 20
_SHOWN_CHARACTERS_MAX = 64
_PLAIN_KEY = re.compile(r"[A-Za-z_@][A-Za-z0-9_@-]{0,63}")


@dataclass(frozen=True, slots=True)
class JsonProblem:
    """An event in JSON that can not be stored as it is: kept apart from the others, with its text.

    `raw` is the text as it was received, byte for byte, broken UTF-8 included. The ids are those that could be read, for
    people who look for the event; each may be empty.
    """

    raw: bytes
    violations: tuple[Violation, ...]
    event_id: str = ""
    tenant_id: str = ""
    project_id: str = ""
    #: The text ends too early, as it does in a file that is still being written: not a fault of the event.
    incomplete: bool = False

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence per violation, beginning with the path of its field."""
        return tuple(str(violation) if violation.field else violation.message for violation in self.violations)

    def __str__(self) -> str:
        return "; ".join(self.reasons)


class JsonMismatch(Exception):  # noqa: N818 - a signal between the readers, never an error that a caller sees
    """JSON that does not fit the contract: (path, sentence) pairs, the paths relative to the reader that raised."""

    def __init__(self, message: str = "", *, found: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.found: list[tuple[str, str]] = list(found) or [("", message)]

    def under(self, step: str) -> list[tuple[str, str]]:
        """The same problems, seen from the object (`step` is a key) or the array (`step` is `[index]`) that holds the value."""
        step = step if step.startswith("[") else _key(step)
        return [(_join(step, path), message) for path, message in self.found]

    def violations(self, prefix: str = "", root: str = "event") -> tuple[Violation, ...]:
        """At most `PROBLEMS_MAX` of them, and a last one if there are more; `root` names the whole where no path does."""
        shown = [Violation(_join(prefix, path) or root, message) for path, message in self.found[:PROBLEMS_MAX]]
        if len(self.found) > PROBLEMS_MAX:
            shown.append(Violation(prefix or root, f"has more problems than these {PROBLEMS_MAX}"))
        return tuple(shown)


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands in decoded JSON for a value that can not be taken, so that it spoils its own event and no other."""

    reason: str
    #: The object as far as it could be read, where it is one.
    partial: dict[str, object] | None = None


def describe(value: object) -> str:
    """A JSON value by its kind, for the sentence "expected a string, got …"."""
    if isinstance(value, Unusable):
        return value.reason
    kinds: Sequence[tuple[type | tuple[type, ...], str]] = (
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a string"),
        (list, "an array"),
        (dict, "an object"),
    )
    if value is None:
        return "null"
    return next((name for kind, name in kinds if isinstance(value, kind)), f"a Python {type(value).__name__}")


def shorten(text: str) -> str:
    """`text` in quotation marks for a sentence: at most 64 characters of it, everything unusual escaped."""
    shown = json.dumps(text[:_SHOWN_CHARACTERS_MAX])
    return shown if len(text) <= _SHOWN_CHARACTERS_MAX else f"{shown}…"


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else f"[{shorten(key)}]"


def _join(step: str, path: str) -> str:
    if not step or not path:
        return step or path
    return f"{step}{path}" if path.startswith("[") else f"{step}.{path}"
