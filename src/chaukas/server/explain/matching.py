"""The index of everything that was said so far, and what of it a later text repeats.

Prose is matched by shingles: four words in a row, by their hash, lead to the places where they stood before; a hit is compared
word by word and extended greedily to both sides, so that a reported match is real and as long as it can be. Long texts are
indexed at every third word, which still finds every match of six words or more. Values are matched by their key.

Work and memory are near-linear in the text: a shingle keeps a few places only, a text that matches one source goes over that
source once, and the number of indexed shingles is bounded (`SHINGLES_MAX`, after which `SourceIndex.complete` is false).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from chaukas.server.explain.source_table import SourceTable
from chaukas.server.explain.sources import Passage, PassageRole
from chaukas.server.explain.spelling import Value, span_of_words, values_of, words_of

__all__ = ["SHINGLES_MAX", "SHINGLE_WORDS", "Pieces", "SourceIndex", "WordMatch", "pieces_of"]

SHINGLE_WORDS = 4
SHINGLES_MAX = 4_000_000
_STEP = 3
_SHORT_WORDS = 48
_PLACES_MAX = 8
_VALUE_PLACES_MAX = 32
_OFFSET_BITS = 24
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_SPAN_BITS = 32
_SPAN_MASK = (1 << _SPAN_BITS) - 1
_REMEMBERED_CHARS_MAX = 400
_REMEMBERED_TEXTS_MAX = 4_096
_REMEMBERED_SOURCES_MAX = 64


class Pieces(NamedTuple):
    """What a text is made of for matching."""

    words: Sequence[str]
    values: Sequence[Value]
    shingles: Sequence[int]


class WordMatch(NamedTuple):
    """Words `start`..`end` of a text, which are words `source_start`.. of the source with that number."""

    source: int
    start: int
    end: int
    source_start: int


def pieces_of(text: str) -> Pieces:
    """A text taken apart."""
    words = words_of(text)
    values = values_of(text) or ()
    if len(words) < SHINGLE_WORDS:
        return Pieces(words, values, ())
    return Pieces(words, values, list(map(hash, zip(words, words[1:], words[2:], words[3:], strict=False))))


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
        self.sources = SourceTable()
        self.complete = True
        self._room = shingles_max
        #: Hash of a shingle -> its places, each `source << 24 | word`. Most have one, which stands there alone; several stand in
        #: an array, which is a third of the size of a list and nothing that Python's garbage collector would look at.
        self._shingles: dict[int, int | array[int]] = {}
        #: Key of a value -> where it stands first in the sources that are its origin, and in those that only repeat it, each
        #: `source << 64 | start << 32 | end`.
        self._origins: dict[str, int | list[int]] = {}
        self._echoes: dict[str, int | list[int]] = {}
        #: What was read last, to be read again soon: short texts, and the words of sources that are cited.
        self._pieces: dict[str, Pieces] = {}
        self._words: dict[int, Sequence[str]] = {}
        #: What was looked for last and what was found, good while no source comes in: a text is looked for before it is added.
        self._looked_for: tuple[Pieces | None, int] = (None, 0)
        self._hits: list[int | array[int] | None] = []
        self._matched: tuple[Pieces | None, int] = (None, 0)
        self._matches: list[WordMatch] = []

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
    ) -> int:
        """Index a passage; its number. Keys in `echoed` and word ranges in `without` are not its own, `silent` owns nothing."""
        number = len(self.sources)
        for key, _, _, start, end in pieces.values:
            known = self._echoes if silent or key in echoed else self._origins
            places = known.get(key)
            here = number << 2 * _SPAN_BITS | start << _SPAN_BITS | end
            if places is None:
                known[key] = here
            elif isinstance(places, int):
                if places >> 2 * _SPAN_BITS != number:
                    known[key] = [places, here]
            elif len(places) < _VALUE_PLACES_MAX and places[-1] >> 2 * _SPAN_BITS != number:
                places.append(here)
        if pieces.shingles and not silent:
            self._add_shingles(number, pieces, list(without))
        return self.sources.add(position, run, step, passage)

    def _add_shingles(self, number: int, pieces: Pieces, without: list[tuple[int, int]]) -> None:
        base = number << _OFFSET_BITS
        index, shingles = self._shingles, pieces.shingles
        if not without and len(shingles) <= min(self._room, _OFFSET_MASK):
            starts = _all_starts(len(shingles))
            keys = shingles[:: starts.step]
            looked_for, count = self._looked_for
            is_new = looked_for is pieces and count == number and not self._hits
            if is_new or index.keys().isdisjoint(keys):
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
                    index[key] = array("q", (places, base | place))
            elif len(places) < _PLACES_MAX and places[-1] >> _OFFSET_BITS != number:
                places.append(base | place)

    def origins(self, key: str) -> list[int]:
        """The sources that are an origin of a value, oldest first."""
        return [place >> 2 * _SPAN_BITS for place in _listed(self._origins.get(key))]

    def has_origin(self, key: str) -> bool:
        """Whether a value has any origin so far."""
        return key in self._origins

    def echoes(self, key: str) -> list[int]:
        """The sources that repeat a value which they were given, oldest first."""
        return [place >> 2 * _SPAN_BITS for place in _listed(self._echoes.get(key))]

    def word_matches(self, pieces: Pieces, fits: Callable[[int], bool] | None = None) -> list[WordMatch]:
        """Every longest run of words that stood before in a source that `fits`; in order of place, then source."""
        if not pieces.shingles:
            return []
        if fits is not None:
            return self._find(pieces, fits)
        matched, count = self._matched
        if matched is not pieces or count != len(self.sources):
            self._matches = self._find(pieces, None)
            self._matched = (pieces, len(self.sources))
        return self._matches

    def _look_for(self, pieces: Pieces) -> list[int | array[int] | None]:
        """The places of each shingle of a text, None where it stands nowhere; empty when none stands anywhere."""
        looked_for, count = self._looked_for
        if looked_for is not pieces or count != len(self.sources):
            index, shingles = self._shingles, pieces.shingles
            self._hits = [] if index.keys().isdisjoint(shingles) else list(map(index.get, shingles))
            self._looked_for = (pieces, len(self.sources))
        return self._hits

    def _find(self, pieces: Pieces, fits: Callable[[int], bool] | None) -> list[WordMatch]:
        words = pieces.words
        done: dict[int, int] = {}
        found: list[WordMatch] = []
        for place, places in enumerate(self._look_for(pieces)):
            if places is None:
                continue
            for packed in (places,) if isinstance(places, int) else places:
                number = packed >> _OFFSET_BITS
                before = done.get(number, 0)
                if place + SHINGLE_WORDS <= before or (fits is not None and not fits(number)):
                    continue
                match = self._extended(words, place, number, packed & _OFFSET_MASK, before)
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
        return WordMatch(number, start, end, other)

    def words(self, number: int) -> Sequence[str]:
        """The words of a source; those of the sources used last are kept."""
        words = self._words.get(number)
        if words is None:
            if len(self._words) >= _REMEMBERED_SOURCES_MAX:
                self._words.clear()
            words = self._words[number] = words_of(self.sources.text[number])
        return words

    def source_span(self, match: WordMatch) -> tuple[int, int]:
        """The range of a match in its source, in characters."""
        return span_of_words(self.sources.text[match.source], match.source_start, match.source_start + match.end - match.start)

    def value_span(self, source: int, key: str) -> tuple[int, int]:
        """The range of the first value with this key in a source that holds it, in characters."""
        for known in (self._origins, self._echoes):
            for place in _listed(known.get(key)):
                if place >> 2 * _SPAN_BITS == source:
                    return place >> _SPAN_BITS & _SPAN_MASK, place & _SPAN_MASK
        raise KeyError(key)

    def known_words(self, pieces: Pieces, role: PassageRole) -> list[tuple[int, int]]:
        """Word ranges of a text that stand in the index already: what an agent repeats is not of its making."""
        if role is PassageRole.GIVEN:
            return []
        return [(match.start, match.end) for match in self.word_matches(pieces)]
