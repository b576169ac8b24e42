"""Where a query was found, for people to see: pieces of the event's texts as they were written, with what to highlight.

Folding changes lengths (`ß` becomes `ss`, a letter and its accent one character), so tokens are led back to the original
through pieces small enough that folding one does not depend on its neighbours.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from chaukas.server.errors import StorageError
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.texts import located_texts
from chaukas.server.text.tokens import fold, token_spans, tokens_of
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["Snippet", "highlights_of", "snippets_of"]

_WORD = re.compile(r"\S+")
#: A longer one (a megabyte of base64 found by its prefix) is highlighted at its beginning.
_HIGHLIGHT_CHARS_MAX: Final = 200
#: Letters with accents of their own are told apart in words up to this length.
_DIVIDED_CHARS_MAX: Final = 1000
#: How far a cut may move to come between two words.
_MOVE_CHARS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a text."""

    #: Where in the event the text stands: `llm_invocation.request.messages[0].content`.
    path: str
    text: str
    #: Half-open ranges of characters of `text`, rising, apart from each other.
    highlights: tuple[tuple[int, int], ...]
    #: Whether the text goes on before and behind the piece.
    cut_before: bool
    cut_after: bool


def snippets_of(stored: bytes, query: TextQuery, *, context_chars: int = 40, snippets_max: int = 10) -> list[Snippet]:
    """Pieces of an event's texts around whatever a clause of the query matches, in the order of the fields.

    `context_chars` are shown at most on each side. An event that does not match as a whole may have some too. Raises
    `StorageError` for bytes that are no event.
    """
    try:
        event = Event.FromString(stored)
    except DecodeError as error:
        raise StorageError("a stored event cannot be read") from error
    snippets: list[Snippet] = []
    for path, text in located_texts(event):
        for snippet in _pieces(path, text, highlights_of(text, query), context_chars):
            if len(snippets) == snippets_max:
                return snippets
            snippets.append(snippet)
    return snippets


def highlights_of(text: str, query: TextQuery) -> list[tuple[int, int]]:
    """What the clauses of the query match in one text: half-open ranges of its characters, rising, apart from each other."""
    tokens = tokens_of(text)
    if not any(clause.matches(tokens) for clause in query.clauses):
        return []
    located = list(_located_tokens(text))
    tokens = [token for token, _, _ in located]
    ranges = sorted(
        (located[place][1], located[place + len(clause.tokens) - 1][2])
        for clause in query.clauses
        for place in clause.places(tokens)
    )
    merged: list[tuple[int, int]] = []
    for begin, end in ranges:
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _located_tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Each token with the range of the original characters that it comes from."""
    for word in _WORD.finditer(text):
        folded, begins = _fold_with_places(word[0])
        for token, first, end in token_spans(folded):
            yield token, word.start() + begins[first], word.start() + _end_of(begins, end)


def _end_of(begins: list[int], end: int) -> int:
    """Where the piece ends that the folded character before `end` comes from: where the next piece begins."""
    return begins[bisect_right(begins, begins[end - 1], end)]


def _fold_with_places(word: str) -> tuple[str, list[int]]:
    """A word folded; for each folded character where its piece begins in the word, and the word's length at the end."""
    if word.isascii():
        return word.lower(), list(range(len(word) + 1))
    whole = fold(word)
    by_character = {character: fold(character) for character in set(word)}
    pieces = [(place, by_character[character]) for place, character in enumerate(word)]
    if "".join(piece for _, piece in pieces) != whole:
        pieces = list(_larger_pieces(word)) if len(word) <= _DIVIDED_CHARS_MAX else []
        if "".join(piece for _, piece in pieces) != whole:
            # Where pieces can not be told apart, the word is one.
            pieces = [(0, whole)]
    begins = [begin for begin, piece in pieces for _ in piece]
    return whole, [*begins, len(word)]


def _larger_pieces(word: str) -> Iterator[tuple[int, str]]:
    """Characters together with those behind them that fold to something else when they stand there."""
    begin = 0
    while begin < len(word):
        end = begin + 1
        while end < len(word) and fold(word[begin : end + 1]) != fold(word[begin:end]) + fold(word[end]):
            end += 1
        yield begin, fold(word[begin:end])
        begin = end


def _pieces(path: str, text: str, highlights: list[tuple[int, int]], context_chars: int) -> Iterator[Snippet]:
    windows: list[tuple[int, int, list[tuple[int, int]]]] = []
    for begin, whole_end in highlights:
        end = min(whole_end, begin + _HIGHLIGHT_CHARS_MAX)
        first, last = _cut_before(text, begin, context_chars), _cut_after(text, end, context_chars)
        if windows and first <= windows[-1][1]:
            windows[-1][2].append((begin, end))
            windows[-1] = (windows[-1][0], last, windows[-1][2])
        else:
            windows.append((first, last, [(begin, end)]))
    for first, last, ranges in windows:
        shown = tuple((begin - first, end - first) for begin, end in ranges)
        yield Snippet(path, text[first:last], shown, first > 0, last < len(text))


def _cut_before(text: str, begin: int, context_chars: int) -> int:
    cut = max(0, begin - context_chars)
    if cut == 0 or text[cut - 1].isspace():
        return cut
    space = re.compile(r"\s").search(text, cut, min(begin, cut + _MOVE_CHARS_MAX))
    return space.end() if space else cut


def _cut_after(text: str, end: int, context_chars: int) -> int:
    cut = min(len(text), end + context_chars)
    if cut == len(text) or text[cut].isspace():
        return cut
    for place in range(cut - 1, max(end, cut - _MOVE_CHARS_MAX) - 1, -1):
        if text[place].isspace():
            return place
    return cut
