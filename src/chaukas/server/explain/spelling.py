"""Texts as they are compared: words with their places, and the values in them that are held to exact match.

Words are compared one by one after NFKC and case folding, so that every range that is reported is a range of the recorded text,
in characters. Escapes of texts that were printed or dumped into another text (backslash with n, t, a quote, or u and four hex
digits) are read for what they stand for: real traffic prints whole messages into strings.

Values are numbers, ids, names and addresses. A number has one key however it is written (`289.9`, `289.90`, `289,90`); `3.480`,
which is two numbers to two readers, has both. Weights tell how much a value proves that one text comes from the other: 1 is
enough on its own; a year, a small or a round number is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from chaukas.server.explain.common_words import FUNCTION_WORDS, NO_NAMES, ROUTINE_WORDS

__all__ = [
    "Value",
    "normalised",
    "sentence_spans",
    "span_of_words",
    "values_of",
    "weight_of",
    "weight_of_word",
    "word_spans",
    "words_of",
]

_SINGLE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u318f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd\u0a01-\u0dff"
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+")
#: What of a byte belongs to a word, in small letters; all else is a blank.
_ASCII_FOLDED = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else 32 for code in range(256))
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_WORD = re.compile(rf"[{_SINGLE}]|(?:[^\W_{_SINGLE}]|[{_MARKS}])+")
_ESCAPE = re.compile(r"""\\(?:[nrtbf"'/\\])""")
_ESCAPED_WORD = re.compile(rf"[{_SINGLE}]|(?:[^\W_{_SINGLE}]|[{_MARKS}]|\\u[0-9a-fA-F]{{4}})+")
_ESCAPED_CHARACTER = re.compile(r"\\u([0-9a-fA-F]{4})")
_BLANKS = "  "

#: Characters between which no value goes on.
_BETWEEN = r"""\s"'`(){}\[\]<>;|=\u201c-\u201e\u00ab\u00bb\u2018\u2019\uff08\uff09\u300c\u300d\u3001\u3002"""
_TELLING = re.compile(r"[0-9@/_]")
#: The characters around a telling one, which with it may be a value.
_PIECE = re.compile(rf"[^{_BETWEEN}]*+")
_PIECE_CHARS = 32
_LETTER = "0-9A-Za-z\u00c0-\u024f\u0370-\u052f"
_COMPOUND = re.compile(rf"[{_LETTER}]+(?:(?:[-_.:/@#+%&~]+|(?<=[0-9]),(?=[0-9]{{1,3}}(?![0-9])))[{_LETTER}]+)*")
_CAPITAL = "A-Z\u00c0-\u00d6\u00d8-\u00de\u0141\u015a\u0160\u017b\u017d\u010c\u0391-\u03a9\u0410-\u042f"
#: What a sentence begins after; blanks between do not count.
_SENTENCE_MARKS = frozenset('.!?:…\n"“„*#>•-')
_NAME_GOES_ON = rf"(?: (?:de|do|da|dos|del|di|la|le|von|van|der|den|of))?[ -][{_CAPITAL}][^\W\d_]+"
#: The capital comes first, and what must not stand before it is asked then: so the search goes from capital to capital. A lone
#: word behind a full stop and a blank, which is nobody's name (see `_add_names`), is not even found.
_NAME = re.compile(
    rf"[{_CAPITAL}](?<![\w\\@/.-][{_CAPITAL}])"
    rf"(?:(?<![.!?:] [{_CAPITAL}])[^\W\d_]++(?:{_NAME_GOES_ON})*+|[^\W\d_]++(?:(?:{_NAME_GOES_ON})++|\Z))"
)
_STOPS = "\u3002\uff01\uff1f"  # the full stops, exclamation and question marks of Chinese and Japanese
_CLOSERS = r"\"')\]\u201d\u00bb*"
#: Up to a stop that blanks follow; a stop inside a number or an address ends nothing.
_SENTENCE = re.compile(
    rf"[^\n.!?{_STOPS}]*+(?:[.!?](?=[^\s.!?{_CLOSERS}{_STOPS}]|[{_CLOSERS}]++[^\s])[^\n.!?{_STOPS}]*+)*+"
    rf"(?:[.!?{_STOPS}]++[{_CLOSERS}]*+|\n|$)"
)

_GROUPED_COMMA = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_GROUPED_DOT = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")
_DECIMAL_COMMA = re.compile(r"\d+,\d{1,2}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[t ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_TIME = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?(?:-\d{1,2}:\d{2})?")
_YEARS = range(1900, 2100)
_LENGTH_MAX = 256


class Value(NamedTuple):
    """A value at `start`..`end` of a text. Equal values have an equal key; `weight` is how much it proves, `kind` what it is.

    `kind` is `number`, `id` or `name`.
    """

    key: str
    weight: float
    kind: str
    start: int
    end: int


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared."""
    if "\\" in text:
        text = _ESCAPE.sub(_BLANKS, text)
        if "\\u" in text:
            return list(map(normalised, _ESCAPED_WORD.findall(text)))
    # Signs that are no part of a word (a dash, a check mark, an emoji) are a blank, and most texts have no other.
    if text.isascii() or not any(map(_WORD.match, set(_NOT_ASCII.findall(text)))):
        return text.encode("ascii", "replace").translate(_ASCII_FOLDED).decode("ascii").split()
    return [word.lower() if word.isascii() else _folded(word) for word in _WORD.findall(text)]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end, half-open, of each of `words_of(text)`."""
    if "\\" in text:
        text = _ESCAPE.sub(_BLANKS, text)
        pattern = _ESCAPED_WORD if "\\u" in text else _WORD
        return [match.span() for match in pattern.finditer(text)]
    if text.isascii():
        return [match.span() for match in _ASCII_WORD.finditer(text)]
    return [match.span() for match in _WORD.finditer(text)]


def span_of_words(text: str, first: int, last: int) -> tuple[int, int]:
    """Where the words `first` (from 0) to `last` (without it) of a text stand, in characters."""
    pattern = _ASCII_WORD
    if "\\" in text:
        text = _ESCAPE.sub(_BLANKS, text)
        pattern = _ESCAPED_WORD if "\\u" in text else _WORD
    elif not text.isascii():
        pattern = _WORD
    matches = islice(pattern.finditer(text), first, last)
    start, end = next(matches).span()
    for match in matches:
        end = match.end()
    return start, end


def normalised(word: str) -> str:
    """One word as it is compared."""
    if word.isascii() and "\\" not in word:
        return word.lower()
    return _folded(word)


@lru_cache(maxsize=65_536)
def _folded(word: str) -> str:
    if "\\u" in word:
        word = _ESCAPED_CHARACTER.sub(lambda match: chr(int(match[1], 16)), word)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())


@lru_cache(maxsize=65_536)
def weight_of_word(word: str) -> float:
    """0 for function words and single letters, little for routine and figures, half for characters that are words, else 1.

    Figures count as values; as words they would make a copy of any two dates.
    """
    if word in FUNCTION_WORDS or (len(word) == 1 and word.isascii()):
        return 0.0
    if word in ROUTINE_WORDS or word.isdigit():
        return 0.25
    return 0.5 if len(word) == 1 else 1.0


def weight_of(words: Iterable[str]) -> float:
    """The weight of several words; a word that stands twice counts once."""
    return sum(map(weight_of_word, set(words)))


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence or line, without the blanks around it; those without a word are left out."""
    for match in _SENTENCE.finditer(text):
        start, end = match.span()
        part = text[start:end]
        stripped = part.strip(" \t\r\n*#>•-")
        if stripped and _WORD.search(stripped):
            start += part.index(stripped)
            yield start, start + len(stripped)


def values_of(text: str) -> list[Value]:
    """Every number, id and name in a text, in order of appearance."""
    if "\\u" in text and _ESCAPED_CHARACTER.search(text):
        return _values_behind_escapes(text)
    if "\\" in text:
        text = _ESCAPE.sub(_BLANKS, text)
    found: list[Value] = []
    telling = _TELLING.search(text)
    end = 0
    while telling is not None:
        start = _piece_start(text, end, telling.start())
        end = _PIECE.match(text, telling.end()).end()  # type: ignore[union-attr]  # it matches everywhere
        for match in _COMPOUND.finditer(text, start, end):
            compound = match[0]
            if len(compound) <= _LENGTH_MAX:
                for key, weight, kind in _compound(compound):
                    found.append(Value(key, weight, kind, match.start(), match.end()))
        telling = _TELLING.search(text, end)
    if not text.islower():
        count = len(found)
        _add_names(found, text, [(value.start, value.end) for value in found])
        if count and len(found) > count:
            found.sort(key=_start)
    return found


def _piece_start(text: str, first: int, start: int) -> int:
    """Where the piece begins that stands before `start`, not before `first`. Read backwards, some characters at a time."""
    while start > first:
        before = text[max(first, start - _PIECE_CHARS) : start]
        count = _PIECE.match(before[::-1]).end()  # type: ignore[union-attr]  # it matches everywhere
        start -= count
        if count < len(before):
            break
    return start


def _values_behind_escapes(text: str) -> list[Value]:
    """The values of a text whose escaped characters (backslash, u, four digits) are read, at their places in the text itself."""
    pieces: list[str] = []
    places: list[int] = []
    at = 0
    for match in _ESCAPED_CHARACTER.finditer(text):
        pieces += text[at : match.start()], chr(int(match[1], 16))
        places.extend(range(at, match.start() + 1))
        at = match.end()
    pieces.append(text[at:])
    places.extend(range(at, len(text) + 1))
    return [
        value._replace(start=places[value.start], end=places[value.end])
        for value in values_of("".join(pieces).replace("\\u", "  "))
    ]


def _start(value: Value) -> int:
    return value.start


@lru_cache(maxsize=16_384)
def _compound(text: str) -> tuple[tuple[str, float, str], ...]:
    """Key, weight and kind of what a compound stands for. Records say the same values again and again: they are read once."""
    if not _TELLING.search(text):
        return ()
    if text[0].isdigit():
        numbers = _number_keys(text)
        if numbers:
            return tuple((f"#{key}", _number_weight(key), "number") for key in numbers)
    key = _folded(text)
    weight = _id_weight(key)
    return ((f"={key}", weight, "id"),) if weight else ()


def _number_keys(text: str) -> list[str]:
    """The numbers that a text may stand for; none when it is no number. Leading zeros make an id of it."""
    if text[0] == "0" and len(text) > 1 and text[1].isdigit():
        return []
    if _GROUPED_COMMA.fullmatch(text):
        return [_canonical(text.replace(",", ""))]
    if _GROUPED_DOT.fullmatch(text):
        grouped = _canonical(text.replace(".", "").replace(",", "."))
        return [grouped, _canonical(text)] if _PLAIN.fullmatch(text) else [grouped]
    if _PLAIN.fullmatch(text):
        return [_canonical(text)]
    return [_canonical(text.replace(",", "."))] if _DECIMAL_COMMA.fullmatch(text) else []


def _canonical(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def _number_weight(key: str) -> float:
    digits = len(key.replace(".", "").lstrip("0"))
    if "." in key:
        return 1.0 if digits >= 3 else 0.4
    significant = len(key.rstrip("0"))
    if len(key) <= 2:
        return 0.1
    if significant < 2 or (len(key) == 4 and int(key) in _YEARS):
        return 0.25
    return 0.5 if len(key) == 3 else 1.0


def _id_weight(key: str) -> float:
    """An id has letters and digits, or is an address or a path; a word with an underscore is a name of a field or function."""
    if _TIME.fullmatch(key):
        return 0.5
    if _DATE.fullmatch(key):
        return 1.0
    digits = sum(map(str.isdigit, key))
    if digits:
        return 1.0 if digits >= 2 and len(key) >= 4 else 0.3
    if "@" in key or "://" in key or key.count("/") >= 2 or ("/" in key and "." in key):
        return 1.0
    parts = [part for part in re.split(r"[/_]", key) if part]
    if "/" in key:
        return 0.3 if any(part not in NO_NAMES for part in parts) and len(key) >= 8 else 0.0
    return 0.4 if len(parts) > 1 else 0.0


def _add_names(found: list[Value], text: str, taken: list[tuple[int, int]]) -> None:
    place = 0
    for match in _NAME.finditer(text):
        start, end = match.span()
        at_start = _begins_sentence(text, start)
        if at_start and end < len(text) and " " not in match[0]:
            continue
        while place < len(taken) and taken[place][1] <= start:
            place += 1
        if place < len(taken) and taken[place][0] < end:
            continue
        words = match[0].split(" ")
        # The first word of a sentence has its capital from there, and is left out of a name that goes on after it.
        while words and (words[0].casefold() in NO_NAMES or (at_start and len(words) == 2 and words[0].casefold() in NO_NAMES)):
            start += len(words[0]) + 1
            words.pop(0)
            at_start = False
        if not words or start >= end or (at_start and len(words) == 1 and end < len(text)):
            continue
        found.append(_name_value(text, words, start, end))
        if at_start and len(words) > 2 and words[1][0].isupper():
            # The first word may have its capital from the sentence only: "Refunding Maria Lopez" names Maria Lopez.
            found.append(_name_value(text, words[1:], start + len(words[0]) + 1, end))


def _begins_sentence(text: str, start: int) -> bool:
    before = text[max(0, start - 8) : start]
    said = before.rstrip()
    return not said or said[-1] in _SENTENCE_MARKS or "\n" in before[len(said) :]


def _name_value(text: str, words: list[str], start: int, end: int) -> Value:
    telling = [word for word in words if word.casefold() not in NO_NAMES and not word.isupper()]
    return Value(f"~{_folded(text[start:end])}", 1.0 if len(telling) > 1 else 0.4, "name", start, end)
