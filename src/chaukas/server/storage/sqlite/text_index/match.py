"""A `TextQuery` in the language of FTS5's MATCH (sqlite.org/fts5.html §3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaukas.server.storage.sqlite.text_index.file import TOKEN_BYTES_MAX
from chaukas.server.text.expression import TextQuery

__all__ = ["Match", "match_of"]


@dataclass(frozen=True, slots=True)
class Match:
    """What FTS5 is asked."""

    #: The argument of MATCH; None when the index cannot tell anything about the query.
    expression: str | None
    #: Whether it finds exactly the events that match; else perhaps some more.
    exact: bool
    #: Whether it holds a prefix, whose whole list FTS5 reads whatever range of rows is asked for.
    prefix: bool


def match_of(query: TextQuery, prefix_is_cheap: Callable[[str], bool]) -> Match:
    """The question for a query; a prefix that is not cheap is left out, as if it matched everything where it stands."""
    phrases: list[str] = []
    exact, prefix = True, False
    for clause in query.clauses:
        tokens = clause.tokens
        if clause.prefix and not prefix_is_cheap(tokens[-1]):
            exact, tokens = False, tokens[:-1]
        elif clause.prefix:
            prefix = True
        if tokens:
            exact = exact and all(len(token.encode()) < TOKEN_BYTES_MAX for token in tokens)
            phrases.append(_phrase(tokens, prefix=clause.prefix and len(tokens) == len(clause.tokens)))
    return Match(" AND ".join(phrases) or None, exact, prefix)


def _phrase(tokens: tuple[str, ...], *, prefix: bool) -> str:
    """Tokens hold neither blanks nor quotation marks: FTS5 cuts the phrase into the same ones."""
    return f'"{" ".join(tokens)}"' + (" *" if prefix else "")
