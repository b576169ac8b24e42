"""Grounding: which parts of an output, or of a tool call's arguments, stand in a recorded source, and which do not.

Sources are what came from outside the agent before the event: inputs, results of tools, documents, errors, decisions, and
what a prompt holds that no event told. What the agent itself wrote supports nothing. Numbers, ids, names of several words and
quotations are held to exact match; other words count where four or more in a row are those of a source. Function words count
for nothing. That something is found does not make it true, nor that it is not found false: the record may lack its source.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chaukas.server.explain.evidence import Place
from chaukas.server.explain.evidence_graph import Evidenced
from chaukas.server.explain.matching import Pieces
from chaukas.server.explain.model import Edge, EventRef, EventRow, StepKind
from chaukas.server.explain.sources import Passage, PassageRole, passages_of
from chaukas.server.explain.spelling import Value, sentence_spans, span_of_words, weight_of_word, word_spans, words_of

__all__ = ["GroundedItem", "GroundedPart", "Grounding", "ItemKind", "Verdict", "ground", "groundable"]

_SUPPORTING = frozenset({PassageRole.GIVEN, PassageRole.NAMED, PassageRole.PROMPT})
_CALLS = frozenset({StepKind.TOOL, StepKind.MCP})
_FOUND_MIN = 0.75
_PLACES_MAX = 3
_STRICT_NAME_WEIGHT = 1.0
_QUOTATION = re.compile(r"[\"“„«]([^\"“”„«»\n]{2,400})[\"”“»]")
_QUOTED_WORDS_MIN = 2


class ItemKind(StrEnum):
    """What is held to exact match, and `words` for words in a row."""

    NUMBER = "number"
    ID = "id"
    NAME = "name"
    QUOTATION = "quotation"
    WORDS = "words"


class Verdict(StrEnum):
    """How much of a part stands in a source."""

    FOUND = "found"  # everything held to exact match, and at least three quarters of the telling words
    PARTLY = "partly"
    NOT_FOUND = "not_found"
    NOTHING_TO_CHECK = "nothing_to_check"  # no telling word: a greeting, a yes


@dataclass(frozen=True, slots=True)
class GroundedItem:
    """Characters `start`..`end` of the field; `found` says where sources have it (at most three places), empty when none does."""

    kind: ItemKind
    text: str
    start: int
    end: int
    found: tuple[Place, ...]

    @property
    def strict(self) -> bool:
        """Whether it is held to exact match."""
        return self.kind is not ItemKind.WORDS


@dataclass(frozen=True, slots=True)
class GroundedPart:
    """A sentence of an output or an argument value. `share` is the part of its telling words that sources have, 0 to 1."""

    field: str
    start: int
    end: int
    text: str
    verdict: Verdict
    share: float
    items: tuple[GroundedItem, ...]


@dataclass(frozen=True, slots=True)
class Grounding:
    """All parts of an event. `share` is over all telling words.

    `exact_found` of the `exact_total` items that are held to exact match were found.
    """

    event: EventRef
    parts: tuple[GroundedPart, ...]
    share: float
    exact_found: int
    exact_total: int


def groundable(row: EventRow) -> bool:
    """Whether an event is one that `ground` answers for: an output, the start of a call, a handoff."""
    return row.kind in {StepKind.OUTPUT, StepKind.HANDOFF} or (row.kind in _CALLS and row.edge is Edge.START)


def ground(evidenced: Evidenced, position: int) -> Grounding:
    """Where the sentences or argument values of an event come from. An event that says nothing has no parts and a share of 0."""
    row = evidenced.explanation.record.rows[position]
    sources = _Sources(evidenced, position)
    parts: list[GroundedPart] = []
    covered = total = 0.0
    for passage in passages_of(row) if groundable(row) else ():
        spans = [(0, len(passage.text))] if passage.leaf else list(sentence_spans(passage.text))
        for start, end in spans:
            part, weights = _part(sources, passage, start, end)
            parts.append(part)
            covered, total = covered + weights[0], total + weights[1]
    items = [item for part in parts for item in part.items if item.strict]
    share = covered / total if total else 0.0
    return Grounding(row.ref, tuple(parts), share, sum(1 for item in items if item.found), len(items))


def _part(sources: _Sources, passage: Passage, start: int, end: int) -> tuple[GroundedPart, tuple[float, float]]:
    text = passage.text[start:end]
    pieces = sources.pieces_of(text)
    items = [*_quotations(sources, text), *_values(sources, text, pieces.values)]
    if not any(item.start == 0 and item.end == len(text) for item in items):
        items += sources.words(text, pieces, leaf=passage.leaf)
    items.sort(key=lambda item: (item.start, item.end, item.kind))
    covered, total = _weights(text, pieces.words, items)
    share = covered / total if total else 0.0
    at = passage.offset + start
    placed = tuple(GroundedItem(item.kind, item.text, at + item.start, at + item.end, item.found) for item in items)
    part = GroundedPart(passage.field, at, passage.offset + end, text, _verdict(items, share, total), share, placed)
    return part, (covered, total)


def _weights(text: str, words: Sequence[str], items: Sequence[GroundedItem]) -> tuple[float, float]:
    """What the found words of a text weigh, and all of them."""
    if not items:
        return 0.0, sum(map(weight_of_word, words), 0.0)
    spans = word_spans(text)
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    weights = list(map(weight_of_word, words))
    found, missed = bytearray(len(words)), bytearray(len(words))
    for item in items:
        places = range(bisect_left(starts, item.start), bisect_right(ends, item.end))
        for place in places:
            if item.found:
                found[place] = 1
            if item.strict:
                weights[place] = 1.0
                missed[place] |= not item.found
    # A word inside something that is held to exact match, and was not found, is not saved by the words around it.
    covered = sum(
        (weight for weight, is_found, is_missed in zip(weights, found, missed, strict=True) if is_found > is_missed), 0.0
    )
    return covered, sum(weights, 0.0)


def _verdict(items: Sequence[GroundedItem], share: float, total: float) -> Verdict:
    strict = [item for item in items if item.strict]
    if not strict and total < 1.0:
        return Verdict.NOTHING_TO_CHECK
    if share >= _FOUND_MIN and all(item.found for item in strict):
        return Verdict.FOUND
    return Verdict.PARTLY if share > 0 else Verdict.NOT_FOUND


def _quotations(sources: _Sources, text: str) -> list[GroundedItem]:
    found = []
    for match in _QUOTATION.finditer(text):
        if len(words_of(match[1])) >= _QUOTED_WORDS_MIN:
            start, end = match.span(1)
            found.append(GroundedItem(ItemKind.QUOTATION, match[1], start, end, sources.phrase(match[1])))
    return found


def _values(sources: _Sources, text: str, values: Sequence[Value]) -> list[GroundedItem]:
    """Numbers, ids and names; one word with a capital counts where it is found, and is not missed where it is not."""
    found: dict[tuple[int, int], GroundedItem] = {}
    for value in values:
        places = sources.value(value.key)
        kind = ItemKind(value.kind)
        if kind is ItemKind.NAME and value.weight < _STRICT_NAME_WEIGHT and not places:
            continue
        known = found.get((value.start, value.end))
        if known is None or (places and not known.found):
            piece = text[value.start : value.end]
            found[value.start, value.end] = GroundedItem(kind, piece, value.start, value.end, places)
    # A name may begin with a word that has its capital from the sentence: where the rest is found, the whole is not missed.
    names = {item.end: item.start for item in found.values() if item.kind is ItemKind.NAME and item.found}
    return [
        item for item in found.values() if item.found or item.kind is not ItemKind.NAME or names.get(item.end, -1) <= item.start
    ]


class _Sources:
    """The sources that an event may rest on."""

    def __init__(self, evidenced: Evidenced, position: int) -> None:
        self._evidenced = evidenced
        self._index = evidenced.index
        self._position = position
        self._step = evidenced.step_of[position]
        self._run = evidenced.explanation.steps[self._step].run

    def _fits(self, source: int) -> bool:
        known = self._index.sources
        return known.position[source] < self._position and known.step[source] != self._step and known.role[source] in _SUPPORTING

    def _room(self, source: int) -> tuple[int, int]:
        kin, run = self._evidenced.kin, self._index.sources.run[source]
        near = 0 if run == self._run else 1 if kin[run] == kin[self._run] else 2
        return near, self._index.sources.position[source]

    def pieces_of(self, text: str) -> Pieces:
        """A text taken apart."""
        return self._index.pieces_of(text)

    def value(self, key: str) -> tuple[Place, ...]:
        """Where a value stands: in the nearest sources first, and where it came in before where it was repeated."""
        sources = [source for source in (*self._index.origins(key), *self._index.echoes(key)) if self._fits(source)]
        sources.sort(key=self._room)
        place = self._index.sources.place
        return tuple(place(source, *self._index.value_span(source, key)) for source in sources[:_PLACES_MAX])

    def words(self, text: str, pieces: Pieces, *, leaf: bool) -> list[GroundedItem]:
        """Runs of four words and more that a source has, the longest first where they overlap; a short value as a whole."""
        matches = self._index.word_matches(pieces, self._fits)
        matches.sort(key=lambda match: (match.start - match.end, self._room(match.source)))
        spans = word_spans(text) if matches else []
        taken: list[tuple[int, int]] = []
        found = []
        for match in matches:
            if any(start <= match.start and match.end <= end for start, end in taken):
                continue
            if not any(map(weight_of_word, pieces.words[match.start : match.end])):
                continue
            taken.append((match.start, match.end))
            start, end = spans[match.start][0], spans[match.end - 1][1]
            place = self._index.sources.place(match.source, *self._index.source_span(match))
            found.append(GroundedItem(ItemKind.WORDS, text[start:end], start, end, (place,)))
        if leaf and not found and len(pieces.words) < 4 and sum(map(weight_of_word, pieces.words)) > 0:
            places = self.phrase(text)
            if places:
                found.append(GroundedItem(ItemKind.WORDS, text, 0, len(text), places))
        return found

    def phrase(self, text: str) -> tuple[Place, ...]:
        """Where sources have these words in a row."""
        words = words_of(text)
        candidates = [source for source in self._evidenced.sources_with(words) if self._fits(source)]
        candidates.sort(key=self._room)
        places: list[Place] = []
        for source in candidates:
            start = _find(self._index.words(source), words)
            if start >= 0:
                known = self._index.sources
                span = span_of_words(known.text[source], start, start + len(words))
                places.append(Place(known.position[source], known.field[source], *span))
                if len(places) == _PLACES_MAX:
                    break
        return tuple(places)


def _find(words: Sequence[str], part: Sequence[str]) -> int:
    """The first place where the words of a part stand in a row, -1 for none."""
    count = len(part)
    first, part = part[0], list(part)
    for place, word in enumerate(words):
        if word == first and list(words[place : place + count]) == part:
            return place
    return -1
