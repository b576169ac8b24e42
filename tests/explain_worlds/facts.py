"""What is said in a world: facts whose causes are known, inside texts and structures that mean nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fact", "Json", "Sentence", "Text", "facts_in", "plain"]


@dataclass(eq=False)
class Fact:
    """A telling value or sentence. `origins` are the events that brought it into the record, the one that was used first.

    `numeric` ones stand as JSON numbers in structured content. `cited` is the event that names it as an id of its own (a
    document's, a policy's). `soft` ones were handed down from one agent to another: each hand they went through is a fair cause.
    `invented` ones were made up by a model, and no source has them.
    """

    text: str
    numeric: bool = False
    origins: list[str] = field(default_factory=list)
    cited: str = ""
    soft: bool = False
    invented: bool = False

    def spelled(self) -> str:
        """The value as an answer may spell it: thousands set apart, in the way of one country or another."""
        whole, dot, fraction = self.text.partition(".")
        if not self.numeric or len(whole) != 4 or len(fraction) != 2:
            return self.text
        spelled = f"{whole[0]},{whole[1:]}{dot}{fraction}"
        return spelled if int(whole) % 2 else spelled.translate(str.maketrans(",.", ".,"))

    @property
    def known(self) -> bool:
        """Whether any event has said it yet."""
        return bool(self.origins)


@dataclass(frozen=True)
class Text:
    """A text made of literal words and facts; in `spoken` ones numbers are spelled for people."""

    parts: tuple[str | Fact, ...]
    spoken: bool = False

    @classmethod
    def of(cls, *parts: str | Fact | Text, spoken: bool = False) -> Text:
        """Parts in a row; texts among them are taken apart."""
        flat: list[str | Fact] = []
        for part in parts:
            flat.extend(part.parts if isinstance(part, Text) else (part,))
        return cls(tuple(flat), spoken)

    @property
    def facts(self) -> list[Fact]:
        """The facts in it, in order."""
        return [part for part in self.parts if isinstance(part, Fact)]

    def __str__(self) -> str:
        return "".join(self._written(part) for part in self.parts)

    def _written(self, part: str | Fact) -> str:
        if isinstance(part, str):
            return part
        return part.spelled() if self.spoken else part.text


@dataclass(frozen=True)
class Sentence:
    """A sentence of an output with what is true of it.

    `found` are the values and quotations that a recorded source has, `invented` those that none has. `copied` tells that the
    whole sentence stands in a source; `chat` that it says nothing that could be looked for.
    """

    text: Text
    found: tuple[Fact, ...] = ()
    invented: tuple[Fact, ...] = ()
    copied: bool = False
    chat: bool = False


def facts_in(content: Any) -> list[Fact]:
    """Every fact in nested content, each once."""
    found: dict[int, Fact] = {}

    def visit(item: Any) -> None:
        if isinstance(item, Fact):
            found[id(item)] = item
        elif isinstance(item, Text):
            for fact in item.facts:
                found[id(fact)] = fact
        elif isinstance(item, dict):
            for value in item.values():
                visit(value)
        elif isinstance(item, list | tuple):
            for value in item:
                visit(value)
        elif isinstance(item, Json):
            visit(item.content)

    visit(content)
    return list(found.values())


@dataclass(frozen=True)
class Json:
    """Content that is recorded as JSON inside a string."""

    content: Any


def plain(content: Any) -> Any:
    """Content as JSON has it: facts and texts as strings, numeric facts as numbers."""
    if isinstance(content, Fact):
        return float(content.text) if content.numeric else content.text
    if isinstance(content, Text):
        return str(content)
    if isinstance(content, Json):
        return json.dumps(plain(content.content), ensure_ascii=False)
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    return content
