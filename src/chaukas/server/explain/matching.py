"""The index of everything that was said so far, and what of it a later text repeats.

Prose is matched by shingles: four words in a row, by their hash, lead to the places where they stood before; a hit is compared
word by word and extended greedily to both sides, so that a reported match is real and as long as it can be. Long texts are
indexed at every third word, which still finds every match of six words or more. Values are matched by their key.

Work and memory are near-linear in the text: a shingle keeps a few places only, a text that matches one source goes over that
source once, and the number of indexed shingles is bounded (`SHINGLES_MAX`, after which `SourceIndex.complete` is false).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from chaukas.server.explain.sources import Passage, PassageRole
from chaukas.server.explain.spelling import Value, values_of, weight_of, word_spans, words_of

__all__ = ["SHINGLES_MAX", "SHINGLE_WORDS", "Pieces", "Source", "SourceIndex", "WordMatch", "pieces_of"]

SHINGLE_WORDS = 4
SHINGLES_MAX = 4_000_000
_STEP = 3
_SHORT_WORDS = 48
_PLACES_MAX = 8
_VALUE_PLACES_MAX = 32
_OFFSET_BITS = 24
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_REMEMBERED_CHARS_MAX = 400
_REMEMBERED_TEXTS_MAX = 4_096
_REMEMBERED_SOURCES_MAX = 64


class Source(NamedTuple):
    """A passage of an event in the index. `produces` holds what it is the origin of; an echo of its own call is not."""

    number: int
    position: int
    run: int
    step: int
    passage: Passage


class Pieces(NamedTuple):
    """What a text is made of for matching."""

    words: Sequence[str]
    values: Sequence[Value]
    shingles: Sequence[int]


@dataclass(frozen=True, slots=True)
class WordMatch:
    """Words `start`..`end` of a text, which are words `source_start`.. of a source; `weight` is what they prove."""

    source: Source
    start: int
    end: int
    source_start: int
    weight: float


def pieces_of(text: str) -> Pieces:
    """A text taken apart."""
    words = words_of(text)
    if len(words) < SHINGLE_WORDS:
        return Pieces(words, values_of(text), ())
    shingles = list(map(hash, zip(words, words[1:], words[2:], words[3:], strict=False)))
    return Pieces(words, values_of(text), shingles)


def _all_starts(count: int) -> range:
    return range(0, count, 1 if count <= _SHORT_WORDS else _STEP)


def _starts(count: int, without: list[tuple[int, int]]) -> Sequence[int]:
    """The shingles of a text to index: all of a short one, every third of a long one, none that lies in a range of `without`."""
    starts = _all_starts(count)
    if not without:
        return starts
    hidden = bytearray(count)
    for start, end in without:
        for place in range(start, min(end - SHINGLE_WORDS + 1, count)):
            hidden[place] = 1
    return [place for place in starts if not hidden[place]]


def _listed(places: int | list[int] | None) -> Sequence[int]:
    if places is None:
        return ()
    return (places,) if isinstance(places, int) else places


class SourceIndex:
    """Sources in the order in which they were said, with their shingles and values."""

    def __init__(self, shingles_max: int = SHINGLES_MAX) -> None:
        self.sources: list[Source] = []
        self.complete = True
        self._room = shingles_max
        #: Hash of a shingle -> its places, each `source << 24 | word`. Most have one, which stands there without a list around
        #: it: millions of lists are what Python's garbage collector would spend its time with.
        self._shingles: dict[int, int | list[int]] = {}
        #: Key of a value -> numbers of the sources that are its origin, and of those that only repeat it.
        self._origins: dict[str, int | list[int]] = {}
        self._echoes: dict[str, int | list[int]] = {}
        #: What was read last, to be read again soon: short texts, and the words and places of sources that are cited.
        self._pieces: dict[str, Pieces] = {}
        self._words: dict[int, Sequence[str]] = {}
        self._spans: dict[int, list[tuple[int, int]]] = {}
        self._value_spans: dict[int, dict[str, tuple[int, int]]] = {}

    def pieces_of(self, text: str) -> Pieces:
        """A text taken apart; short ones, which records repeat endlessly, are remembered."""
        if len(text) > _REMEMBERED_CHARS_MAX:
            return pieces_of(text)
        pieces = self._pieces.get(text)
        if pieces is None:
            if len(self._pieces) >= _REMEMBERED_TEXTS_MAX:
                self._pieces.clear()
            pieces = self._pieces[text] = pieces_of(text)
        return pieces

    def add(
        self,
        position: int,
        run: int,
        step: int,
        passage: Passage,
        pieces: Pieces,
        *,
        echoed: AbstractSet[str] = frozenset(),
        without: Iterable[tuple[int, int]] = (),
        silent: bool = False,
    ) -> Source:
        """Index a passage. Values whose key is `echoed`, and word ranges in `without`, are not its own; `silent` owns nothing."""
        source = Source(len(self.sources), position, run, step, passage)
        self.sources.append(source)
        for value in pieces.values:
            key = value.key
            known = self._echoes if silent or key in echoed else self._origins
            places = known.get(key)
            if places is None:
                known[key] = source.number
            elif isinstance(places, int):
                if places != source.number:
                    known[key] = [places, source.number]
            elif len(places) < _VALUE_PLACES_MAX and places[-1] != source.number:
                places.append(source.number)
        if not silent:
            self._add_shingles(source.number, pieces.shingles, list(without))
        return source

    def _add_shingles(self, number: int, shingles: Sequence[int], without: list[tuple[int, int]]) -> None:
        base = number << _OFFSET_BITS
        index = self._shingles
        if not shingles:
            return
        if not without and len(shingles) <= min(self._room, _OFFSET_MASK):
            starts = _all_starts(len(shingles))
            keys = shingles[:: starts.step]
            if index.keys().isdisjoint(keys):
                # All is new. The first of equal shingles counts, so it is written last.
                before = len(index)
                index.update(zip(reversed(keys), range(base + starts[-1], base - 1, -starts.step), strict=True))
                self._room -= len(index) - before
                return
        for place in _starts(len(shingles), without):
            key = shingles[place]
            places = index.get(key)
            if places is None:
                if self._room <= 0 or place > _OFFSET_MASK:
                    self.complete = False
                    return
                self._room -= 1
                index[key] = base | place
            elif isinstance(places, int):
                if places >> _OFFSET_BITS != number:
                    index[key] = [places, base | place]
            elif len(places) < _PLACES_MAX and places[-1] >> _OFFSET_BITS != number:
                places.append(base | place)

    def origins(self, key: str) -> list[Source]:
        """The sources that are an origin of a value, oldest first."""
        return [self.sources[number] for number in _listed(self._origins.get(key))]

    def has_origin(self, key: str) -> bool:
        """Whether a value has any origin so far."""
        return key in self._origins

    def echoes(self, key: str) -> list[Source]:
        """The sources that repeat a value which they were given, oldest first."""
        return [self.sources[number] for number in _listed(self._echoes.get(key))]

    def word_matches(self, pieces: Pieces, fits: Callable[[Source], bool] | None = None) -> list[WordMatch]:
        """Every longest run of words that stood before in a source that `fits`; in order of place, then source."""
        index, shingles = self._shingles, pieces.shingles
        if index.keys().isdisjoint(shingles):
            return []
        hits = [place for place, key in enumerate(shingles) if key in index]
        done: dict[int, int] = {}
        found: list[WordMatch] = []
        for place in hits:
            for packed in _listed(index[shingles[place]]):
                number, offset = packed >> _OFFSET_BITS, packed & _OFFSET_MASK
                before = done.get(number, 0)
                if place + SHINGLE_WORDS <= before or (fits is not None and not fits(self.sources[number])):
                    continue
                match = self._extended(pieces.words, place, number, offset, before)
                if match is not None:
                    done[number] = match.end
                    found.append(match)
        return found

    def _extended(self, words: Sequence[str], place: int, number: int, offset: int, before: int) -> WordMatch | None:
        others = self.words(number)
        if words[place : place + SHINGLE_WORDS] != others[offset : offset + SHINGLE_WORDS]:
            return None  # two shingles with one hash
        start, other = place, offset
        while start > before and other > 0 and words[start - 1] == others[other - 1]:
            start, other = start - 1, other - 1
        end, last = place + SHINGLE_WORDS, offset + SHINGLE_WORDS
        limit, other_limit = len(words), len(others)
        while end < limit and last < other_limit and words[end] == others[last]:
            end, last = end + 1, last + 1
        return WordMatch(self.sources[number], start, end, other, weight_of(words[start:end]))

    def words(self, number: int) -> Sequence[str]:
        """The words of a source; those of the sources used last are kept."""
        words = self._words.get(number)
        if words is None:
            if len(self._words) >= _REMEMBERED_SOURCES_MAX:
                self._words.clear()
            words = self._words[number] = words_of(self.sources[number].passage.text)
        return words

    def source_span(self, match: WordMatch) -> tuple[int, int]:
        """The range of a match in its source, in characters."""
        number = match.source.number
        spans = self._spans.get(number)
        if spans is None:
            if len(self._spans) >= _REMEMBERED_SOURCES_MAX:
                self._spans.clear()
            spans = self._spans[number] = word_spans(match.source.passage.text)
        return spans[match.source_start][0], spans[match.source_start + match.end - match.start - 1][1]

    def value_span(self, source: Source, key: str) -> tuple[int, int]:
        """The range of the first value with this key in a source that holds it, in characters."""
        spans = self._value_spans.get(source.number)
        if spans is None:
            if len(self._value_spans) >= _REMEMBERED_SOURCES_MAX:
                self._value_spans.clear()
            spans = self._value_spans[source.number] = {}
            for value in values_of(source.passage.text):
                spans.setdefault(value.key, (value.start, value.end))
        return spans[key]

    def known_words(self, pieces: Pieces, role: PassageRole) -> list[tuple[int, int]]:
        """Word ranges of a text that stand in the index already: what an agent repeats is not of its making."""
        if role is PassageRole.GIVEN:
            return []
        return [(match.start, match.end) for match in self.word_matches(pieces)]
