"""What somebody asks for with `text_query`, and the definition of a match that every driver must agree with.

    refund 東京 "order not found" invo*

Words stand apart by white space and must all be found in the event, each in any of its texts. What stands between quotation
marks, and a word that is several tokens (`user_id`, `a@example.com`), is a phrase: its tokens must stand side by side in one
text. A `*` at the end of a word or of a phrase, or right behind the closing mark, makes its last token a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chaukas.server.errors import InvalidRequestError
from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.tokens import tokens_of

__all__ = ["CHARS_MAX", "CLAUSES_MAX", "Clause", "TextQuery"]

CHARS_MAX: Final = 1024
CLAUSES_MAX: Final = 32

_FIELD = "filter.text_query"
#: A phrase (the last one may lack its closing mark) with a star behind it, or a word; a mark inside a word begins a phrase.
_PART = re.compile(r'"([^"]*)(?:"(\*)?|$)|([^\s"]+)')
#: Quotation marks that keyboards and word processors put in the place of U+0022.
_MARKS = re.compile("[\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02]")


@dataclass(frozen=True, slots=True)
class Clause:
    """One or more tokens that must stand side by side in one text, in this order."""

    tokens: tuple[str, ...]
    #: Whether the last token need only be the beginning of the token in the text.
    prefix: bool = False

    def __str__(self) -> str:
        return f'"{" ".join(self.tokens)}"' + ("*" if self.prefix else "")

    def matches(self, tokens: Sequence[str]) -> bool:
        """Whether the tokens of one text hold the clause."""
        if len(self.tokens) == 1 and not self.prefix:
            return self.tokens[0] in tokens
        return next(self.places(tokens), None) is not None

    def places(self, tokens: Sequence[str]) -> Iterator[int]:
        """The indices at which the clause begins in the tokens of one text."""
        *whole, last = self.tokens
        for place in range(len(tokens) - len(whole)):
            end = place + len(whole)
            found = tokens[end]
            if (found.startswith(last) if self.prefix else found == last) and list(tokens[place:end]) == whole:
                yield place


@dataclass(frozen=True, slots=True)
class TextQuery:
    """All clauses must match. There is at least one; they are sorted and each stands once, so that equal questions are equal."""

    clauses: tuple[Clause, ...]

    @classmethod
    def parse(cls, text: str, *, chars_max: int = CHARS_MAX, clauses_max: int = CLAUSES_MAX) -> TextQuery:
        """The query that somebody wrote. Raises `InvalidRequestError` naming `filter.text_query` and what is wrong with it."""
        if len(text) > chars_max:
            raise InvalidRequestError(_FIELD, f"{len(text)} characters; at most {chars_max} are allowed")
        clauses = set(_clauses(_MARKS.sub('"', text)))
        if not clauses:
            raise InvalidRequestError(_FIELD, "holds no letter, digit or symbol to look for")
        if len(clauses) > clauses_max:
            raise InvalidRequestError(_FIELD, f"{len(clauses)} words and phrases; at most {clauses_max} are allowed")
        return cls(tuple(sorted(clauses, key=lambda clause: (clause.tokens, clause.prefix))))

    def __str__(self) -> str:
        """The canonical form, which parses to the same query."""
        return " ".join(map(str, self.clauses))

    def matches(self, stored: bytes) -> bool:
        """Whether an event, by its stored bytes, is found. Raises `StorageError` for bytes that are no event."""
        return self.matches_tokens(tokens_of_event(stored))

    def matches_tokens(self, texts: Sequence[Sequence[str]]) -> bool:
        """Whether an event is found whose `tokens_of_event` these are."""
        return all(any(clause.matches(tokens) for tokens in texts) for clause in self.clauses)


def _clauses(text: str) -> Iterable[Clause]:
    for part in _PART.finditer(text):
        phrase, star, word = part.groups()
        written = word if phrase is None else phrase.rstrip()
        tokens = tokens_of(written)
        if tokens:
            yield Clause(tuple(tokens), star is not None or written.endswith("*"))
