"""Finding events by their raw bytes: most of those that do not match are told without being parsed.

Strings stand in stored bytes as UTF-8. If the query holds the word `refund`, an event that matches holds these bytes in
capital or small letters, unless

- a character that is not ASCII became an ASCII one when the text was folded (`K`, `ﬁ`, full width, superscripts), or one that
  is dropped stood in between (a soft hyphen): both are seen by the first bytes of such characters;
- the word is part of a number of a `Struct`, which stands there as a double: each of those is read and printed.

Words that are not ASCII themselves are not looked for here. Lengths and tags between the texts only make more bytes look like
texts, so nothing that matches is ever passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from struct import Struct
from typing import Final

from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.printing import printed_of
from chaukas.server.text.texts import number_text

__all__ = ["TextScanner"]

#: Every character (UTF-8) that `tokens.fold` drops, or makes an ASCII letter, digit or symbol of, by its first two bytes. Some of
#: these characters are newer than the Unicode of this Python (F0 9C).
_FOLDING = re.compile(
    rb"\xc2[\xaa\xad\xb2\xb3\xb9\xba\xbc-\xbe]|\xc3\x9f|\xc4[\xb0\xb2\xb3\xbf]|\xc5[\x80\x89\xbf]|\xc7[\x84-\x8c\xb1-\xb3]"
    rb"|\xca[\xb0\xb2\xb3\xb7\xb8]|\xcb[\xa1-\xa3]|\xcc\x87|\xcd\x8f|\xd8\x9c|\xe1[\x85\x9e\xa0\xb4-\xb6\xba][\x80-\xbf]"
    rb"|\xe2[\x80-\x82\x84-\x86\x91-\x93\xa9\xb1][\x80-\xbf]|\xe3[\x85\x89-\x8b\x8d-\x8f][\x80-\xbf]|\xea\x9f[\x80-\xbf]"
    rb"|\xef[\xac\xb8\xb9\xbb-\xbf][\x80-\xbf]|\xf0[\x90\x9b-\x9d\x9f][\x80-\xbf]{2}|\xf3\xa0[\x80-\xbf]{2}"
)
#: `Value.number_value`: field 2 of eight bytes. Looked for at every byte, because nobody knows where fields begin.
_NUMBER_TAG = b"\x11"
_DOUBLE = Struct("<d")
#: Tokens of a number as JSON prints it: 12, 5e, 16 and + of 12.5e+16, and those of what is not finite.
_NUMBER_TOKEN = re.compile(r"\d+e?|\+", re.ASCII)
_NOT_FINITE: Final = ("nan", "infinity")


class TextScanner:
    """One query, prepared for many events."""

    def __init__(self, query: TextQuery) -> None:
        words = {(token, clause.prefix and token is clause.tokens[-1]) for clause in query.clauses for token in clause.tokens}
        ascii_words = sorted((word for word in words if word[0].isascii()), key=lambda word: -len(word[0]))
        self._query = query
        self._ascii = len(ascii_words) == len(words)
        #: The longest first: it is the rarest, as a rule.
        self._needles = list(dict.fromkeys(token.encode() for token, _ in ascii_words))
        self._number_needles = {token.encode() for token, prefix in ascii_words if _begins_number(token, prefix=prefix)}

    def may_match(self, data: bytes) -> bool:
        """False when no event whose stored bytes stand in `data`, as a whole and one beside the other, can match."""
        lowered = data.lower()
        missing = [needle for needle in self._needles if needle not in lowered]
        if not missing or _FOLDING.search(data) is not None:
            return True
        return self._number_needles.issuperset(missing) and _numbers_hold(data, missing)

    def matches(self, stored: bytes) -> bool:
        """The same as `TextQuery.matches`."""
        if not self.may_match(stored):
            return False
        if not self._ascii:
            printed = printed_of(stored)
            if printed is not None and printed.isascii():
                return False
        return self._query.matches_tokens(tokens_of_event(stored))


def _begins_number(token: str, *, prefix: bool) -> bool:
    if prefix and any(name.startswith(token) for name in _NOT_FINITE):
        return True
    return token in _NOT_FINITE or _NUMBER_TOKEN.fullmatch(token) is not None


def _numbers_hold(data: bytes, needles: Iterable[bytes]) -> bool:
    """Whether each needle stands in some number of `data`."""
    missing = {needle.decode() for needle in needles}
    end = len(data) - _DOUBLE.size
    place = data.find(_NUMBER_TAG, 0, end)
    while place >= 0 and missing:
        printed = number_text(_DOUBLE.unpack_from(data, place + 1)[0]).lower()
        missing = {needle for needle in missing if needle not in printed}
        place = data.find(_NUMBER_TAG, place + 1, end)
    return not missing
