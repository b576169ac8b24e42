"""Finding events by their raw bytes: most of those that do not match are told without being parsed, many at a time.

Strings stand in stored bytes as UTF-8, each in one piece. If the query holds the word `refund`, an event that matches holds these
bytes in capital or small letters, unless

- a character that is not ASCII became an ASCII one of this word when the text was folded (`ﬁ`, full width, superscripts), or one
  that vanishes stood in between (a soft hyphen): `fold_sources` knows them all;
- the word is part of a number of a `Struct`, which stands there as a double: each of those is read and printed.

Of a phrase of such words each stands behind the one before, with nothing but separators in between. Of a word that is not ASCII
the rarest part is looked for, in each character that has it. Lengths and tags between the texts only make more bytes look like
texts, so nothing that matches is ever passed over.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from struct import Struct
from typing import Final

from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.expression import Clause, TextQuery
from chaukas.server.text.fold_sources import ascii_sources, part_sources, parts_of, utf8_pattern
from chaukas.server.text.texts import number_text
from chaukas.server.text.tokens import ASCII_SYMBOLS

__all__ = ["TextScanner"]

_ASCII: Final = bytes(range(128))
#: What may stand between two tokens of a text: any character that is no ASCII letter, digit or symbol. A text is valid UTF-8,
#: which most tags and lengths between two texts are not.
_SEPARATORS = rb"(?:[\x00-#%-*,-/:;?@\[-`{}\x7f]++|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})"
#: The last byte of the tag of a text (wire type 2: of one byte, or of two, for fields below 512), or one of a length going on.
_TAG_ENDS: Final = rb"[\x00-\x1f\x80-\xff" + re.escape(bytes(byte for byte in range(0x20, 0x80) if byte & 7 == 2)) + b"]"
#: Not before letters and digits that begin no field, because there are no wire types 6 and 7.
_NO_TAG_AHEAD: Final = rb"(?![67fgnovw])"
#: `Value.number_value`: field 2 of eight bytes. Looked for at every byte, because nobody knows where fields begin.
_NUMBER_TAG: Final = b"\x11"
_NUMBER = re.compile(rb"\x11(?=(.{8}))", re.DOTALL)
_DOUBLE = Struct("<d")
#: Tokens of a number as JSON prints it: 12, 5e, 16 and + of 12.5e+16, and those of what is not finite.
_NUMBER_TOKEN = re.compile(r"\d+e?|\+", re.ASCII)
_NOT_FINITE: Final = ("nan", "infinity")

#: A word that is not ASCII is looked for before one of ASCII that is not longer than this.
_OTHER_WEIGHT: Final = 8

#: The place of the first occurrence at or behind a place; negative if there is none.
_Find = Callable[[int], int]


class TextScanner:
    """One query, prepared for many events."""

    def __init__(self, query: TextQuery) -> None:
        self._query = query
        #: The longest words first: they are the rarest, as a rule.
        self._clauses = sorted(map(_ClauseScan, query.clauses), key=lambda clause: -clause.weight)

    def may_match(self, data: bytes) -> bool:
        """False when the event whose stored bytes these are cannot match."""
        return bool(self.candidates(data, [len(data)]))

    def matches(self, stored: bytes) -> bool:
        """The same as `TextQuery.matches`."""
        return self.may_match(stored) and self.confirms(stored)

    def confirms(self, stored: bytes) -> bool:
        """The same as `matches`, for an event that is a candidate."""
        return self._query.matches_tokens(tokens_of_event(stored))

    @cached_property
    def folding(self) -> re.Pattern[bytes]:
        """Finds the characters in whose presence ASCII words need not stand in the bytes as they are in the query."""
        tokens = [token for clause in self._query.clauses for token in clause.tokens if token.isascii()]
        return re.compile(utf8_pattern(ascii_sources({character for token in tokens for character in token})))

    def candidates(self, data: bytes, ends: Sequence[int]) -> list[int]:
        """Those of a number of events that may match, in their order, by their positions.

        `data` is their stored bytes, one behind the other; `ends` is where each ends.
        """
        events = _Events(self, data, ends)
        left: Sequence[int] = range(len(ends))
        for clause in self._clauses:
            left = clause.candidates(events, left)
            if not left:
                break
        return list(left)


class _Events:
    """The bytes of some events, and what several clauses ask about them."""

    def __init__(self, scanner: TextScanner, data: bytes, ends: Sequence[int]) -> None:
        self.data = data
        self.ends = ends
        self.lowered = data.lower()
        self._starts = [0, *ends]
        self._scanner = scanner
        #: The bytes of each that are not ASCII.
        self._high: list[bytes] | None = None
        self._high_joined = b""
        self._folded: frozenset[int] | None = None
        self._numbers: dict[bytes, str] | None = None

    def among(self, find: _Find, left: Sequence[int]) -> list[int]:
        """Those of `left` in which something begins, in one pass over the bytes at most."""
        found, place = [], -1
        starts, ends = self._starts, self.ends
        for event in left:
            if place < starts[event]:
                place = find(starts[event])
                if place < 0:
                    break
            if place < ends[event]:
                found.append(event)
        return found

    def with_characters(self, pattern: re.Pattern[bytes], left: Sequence[int]) -> list[int]:
        """Those of `left` that hold a character, none of ASCII, that the pattern is for."""
        if self._high is None:
            high = [self.data[start:end].translate(None, _ASCII) for start, end in zip(self._starts, self.ends, strict=False)]
            self._high, self._high_joined = high, b"".join(high)
        # Without ASCII there is not much to be searched, and what is not found there stands nowhere.
        search, data, high = pattern.search, self.data, self._high
        if search(self._high_joined) is None:
            return []
        starts, ends = self._starts, self.ends
        return [event for event in left if search(high[event]) and search(data, starts[event], ends[event])]

    def folded(self) -> frozenset[int]:
        """Those with a character in whose presence no ASCII word need stand in the bytes."""
        if self._folded is None:
            self._folded = frozenset(self.with_characters(self._scanner.folding, range(len(self.ends))))
        return self._folded

    def with_number(self, tokens: Iterable[str]) -> set[int]:
        """Those with a number, as it seems, in which each of the tokens stands."""
        if self._numbers is None:
            doubles = set(_NUMBER.findall(self.data))
            self._numbers = {double: number_text(_DOUBLE.unpack(double)[0]).lower() for double in doubles}
        found: set[int] = set()
        for double, printed in self._numbers.items():
            if all(token in printed for token in tokens):
                place = self.data.find(_NUMBER_TAG + double)
                while place >= 0:
                    event = bisect_right(self.ends, place)
                    found.add(event)
                    place = self.data.find(_NUMBER_TAG + double, self.ends[event])
        return found


class _ClauseScan:
    """One clause, prepared for many events."""

    def __init__(self, clause: Clause) -> None:
        ascii_tokens = [token for token in clause.tokens if token.isascii()]
        self._tokens = clause.tokens
        self._needle = max(ascii_tokens, key=len, default="").encode()
        self._pattern: re.Pattern[bytes] | None = None
        if len(ascii_tokens) == len(clause.tokens):
            self._pattern = _phrase(clause.tokens) if len(ascii_tokens) > 1 else _word(ascii_tokens[0], prefix=clause.prefix)
        self._is_number = _begins_numbers(clause)
        self._others = [token for token in clause.tokens if not token.isascii()]
        #: Characters outside of ASCII are rare where most of the texts are English.
        self.weight = max(len(self._needle), _OTHER_WEIGHT if self._others else 0)

    @cached_property
    def _characters(self) -> list[re.Pattern[bytes]]:
        """For each word that is not ASCII the characters of which one must be there."""
        return [re.compile(utf8_pattern(_rarest_part(token))) for token in self._others]

    def candidates(self, events: _Events, left: Sequence[int]) -> Sequence[int]:
        """Those of `left`, which is sorted, that may hold the clause."""
        for characters in self._characters:
            left = events.with_characters(characters, left)
        if not left or not self._needle:
            return left
        lowered, needle = events.lowered, self._needle
        found = events.among(lambda place: lowered.find(needle, place), left)
        if found and self._pattern is not None:
            found = events.among(_finding(self._pattern, lowered), found)
        if len(found) == len(left):
            return found
        # Why an event may hold the words although they do not stand in its bytes.
        more = events.folded()
        if self._is_number:
            more = more | events.with_number(self._tokens)
        return sorted({*found, *more.intersection(left)}) if more else found


def _finding(pattern: re.Pattern[bytes], data: bytes) -> _Find:
    search = pattern.search

    def find(place: int) -> int:
        found = search(data, place)
        return -1 if found is None else found.start()

    return find


def _phrase(tokens: Sequence[str]) -> re.Pattern[bytes]:
    """ASCII tokens side by side in one text, in lower case. Symbols need nothing between them and their neighbours."""
    pattern = re.escape(tokens[0].encode())
    for before, token in pairwise(tokens):
        touching = before in ASCII_SYMBOLS or token in ASCII_SYMBOLS
        pattern += _SEPARATORS + (b"*+" if touching else b"++") + re.escape(token.encode())
    return re.compile(pattern)


def _word(token: str, *, prefix: bool) -> re.Pattern[bytes] | None:
    """One ASCII token in lower case, but for most places where it is only a part of a longer one; None for symbols.

    A letter or digit before it is part of its word unless it is the length of the text, before which stands a tag (or a byte of
    the same length, which is 128 or more then). One behind it is part of its word unless it is the tag of the next field.
    """
    if token in ASCII_SYMBOLS:
        return None
    needle = re.escape(token.encode())
    begins = b"(?:(?<![a-z0-9]%b)|(?<=%b[a-z0-9]%b))" % (needle, _TAG_ENDS, needle)
    return re.compile(needle + begins + (b"" if prefix else _NO_TAG_AHEAD))


def _rarest_part(token: str) -> frozenset[str]:
    """The characters of which a text must hold one if it holds this token, which is not ASCII."""
    return min((part_sources(part) for part in parts_of(token) if not part.isascii()), key=len, default=frozenset())


def _begins_numbers(clause: Clause) -> bool:
    """Whether a number may hold the clause."""
    *whole, last = clause.tokens
    if not all(token in _NOT_FINITE or _NUMBER_TOKEN.fullmatch(token) for token in whole):
        return False
    if clause.prefix and any(name.startswith(last) for name in _NOT_FINITE):
        return True
    return last in _NOT_FINITE or _NUMBER_TOKEN.fullmatch(last) is not None
