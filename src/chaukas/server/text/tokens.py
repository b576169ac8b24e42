"""How a text is cut into tokens. One function for all drivers, so that all of them find the same (DESIGN §5).

A text is folded first, by NFKC and full case folding (Unicode §3.13, UAX #15), so that what looks alike is alike: capitals,
full width, ligatures, `ß` and `ss`, composed and decomposed accents. Two steps go further: characters that nobody sees
(joiners, soft hyphens, variation selectors: Default_Ignorable_Code_Point) are dropped, as NFKC_Casefold does, and the dot
that case folding leaves over the `i` of `İ` is dropped, so that `İstanbul` is found by `istanbul`. Accents stay: `é` is no `e`.

Then, from left to right, a token is

- one character of a script that is written without spaces (Han, kana, Hangul syllables, Yi, Thai, Lao, Khmer, Burmese, ...)
  with the marks that follow it: `東京` is found in `東京タワーの高さ`, as two tokens side by side;
- one symbol (categories Sm, Sc, So, and the modifiers that colour emoji) with its marks: `€`, `+`, `😀`. A sequence of emoji is
  the sequence of its parts, so `👩‍🚀` is found by `👩‍🚀`, by `👩` and by `🚀`;
- a run of letters, digits and marks of any other script.

Everything else separates: spaces, punctuation, control characters, `_`, `'`, `^` and the backtick. So `user_id`, `don't`, an
e-mail address, a URL and a UUID are several tokens, `C++` is `c`, `+`, `+`, and `#tag` is `tag`.

Categories are those of the running Python, whose Unicode version is part of `TOKENS_VERSION`: an index of tokens belongs to it.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

__all__ = [
    "ASCII_SYMBOLS",
    "ASCII_TOKENS",
    "TOKENS_VERSION",
    "fold",
    "space_symbols",
    "token_spans",
    "tokens_of",
    "without_typography",
]

#: Changes whenever the tokens of any text may change: what was derived from them must be built anew then.
TOKENS_VERSION: Final = f"1/unicode-{unicodedata.unidata_version}"

#: The symbols (Sm, Sc) of ASCII.
ASCII_SYMBOLS: Final = "$+<=>|~"
#: For `str.translate`: letters to lower case, digits and symbols as they are, all else to spaces.
ASCII_TOKENS: Final = "".join(
    character.lower() if character.isalnum() or character in ASCII_SYMBOLS else " " for character in map(chr, range(128))
)
#: Punctuation that English texts are full of. Without it many of them are ASCII.
_TYPOGRAPHY = "\u2019\u201c\u201d\u2013\u2014\u2026\u2022\u2018\u00a0"

#: Default_Ignorable_Code_Point (DerivedCoreProperties.txt of the Unicode Character Database), up to U+FFFF and above.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8]+"
)
_IGNORABLE_ABOVE = re.compile("[\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+")
#: The regular expressions of this module take characters above U+FFFF by themselves, because a class that holds some is slow:
#: of the others each that is not in it is compared with every range above.
_ABOVE = re.compile("[\U00010000-\U0010ffff]")
#: Scripts written without spaces between words, or whose words are mostly sought in parts: first and last code point.
_SPACELESS = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF)),  # Thai, Lao, Burmese, Khmer, Tai
    *((0x1B00, 0x1B7F), (0xA980, 0xA9FF), (0xAA00, 0xAADF), (0x11700, 0x1174F)),  # Balinese, Javanese, Cham, Tai Viet, Ahom
    *((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303C)),  # radicals, iteration marks
    *((0x3041, 0x318F), (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),  # kana, Bopomofo, Han
    *((0xA000, 0xA48C), (0xAC00, 0xD7A3)),  # Yi, Hangul syllables
    *((0x16FE0, 0x18DFF), (0x1AFF0, 0x1B2FF), (0x20000, 0x3FFFD)),  # Tangut, Khitan, Nushu, more kana, more Han
)
#: Letters and marks stand below this, but for the Han of planes 2 and 3 and the ignorable marks of plane 14.
_PLANES_END = 0x20000
_EMOJI_MODIFIERS = range(0x1F3FB, 0x1F400)


def tokens_of(text: str) -> list[str]:
    """The tokens of a text in their order, folded; empty for a text without a letter, digit or symbol."""
    text = without_typography(text)
    if not text.isascii():
        folded = fold(text)
        return _pattern(folded).findall(folded)
    return space_symbols(text).translate(ASCII_TOKENS).split()


def token_spans(folded: str) -> list[tuple[str, int, int]]:
    """The tokens of a text that `fold` returned, each with its first and last index, half-open."""
    return [(match[0], *match.span()) for match in _pattern(folded).finditer(folded)]


def without_typography(text: str) -> str:
    """The text with spaces for the punctuation that keeps many English texts from being ASCII; the tokens are the same."""
    if not text.isascii():
        for character in _TYPOGRAPHY:
            if character in text:
                text = text.replace(character, " ")
    return text


def space_symbols(text: str) -> str:
    """The text with spaces around ASCII's symbols, each of which is a token."""
    for symbol in ASCII_SYMBOLS:
        if symbol in text:
            text = text.replace(symbol, f" {symbol} ")
    return text


def fold(text: str) -> str:
    """The text as it is compared: folded again until nothing changes, which no text needs more than a few times."""
    text = _IGNORABLE.sub("", text)
    if _ABOVE.search(text):
        text = _IGNORABLE_ABOVE.sub("", text)
    text = unicodedata.normalize("NFKC", text)
    while True:
        # "i" and a combining dot above: what İ becomes. Folding takes some characters apart, which NFKC puts together again.
        folded = unicodedata.normalize("NFKC", text.casefold().replace("i\u0307", "i"))
        if folded == text:
            return text
        text = folded


def _pattern(folded: str) -> re.Pattern[str]:
    plain, whole = _patterns()
    return whole if _ABOVE.search(folded) else plain


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Find the tokens of a folded text: one without characters above U+FFFF, and any.

    Made when the first text needs them: it looks at 131,072 characters, some 40 ms.
    """
    spaceless: set[int] = set()
    for first, last in _SPACELESS:
        spaceless.update(range(first, last + 1))
    # By kind (letters with digits and marks, marks, single characters, symbols): the points up to U+FFFF, and those above.
    kinds: dict[str, tuple[list[int], list[int]]] = {kind: ([], []) for kind in "LMCS"}
    for point in range(_PLANES_END):
        category, above = unicodedata.category(chr(point)), point > 0xFFFF
        if category[0] == "M":
            kinds["M"][above].append(point)
            kinds["L"][above].append(point)
        elif category in {"Sm", "Sc", "So"} or point in _EMOJI_MODIFIERS:
            kinds["S"][above].append(point)
        elif category[0] in "LN":
            kinds["C" if point in spaceless else "L"][above].append(point)
    (letters, letters_above), (marks, marks_above), (single, single_above) = (
        (f"[{_ranges(below)}]", f"(?={_ABOVE.pattern})[{_ranges(above)}{more}]")
        for below, above, more in (
            (*kinds["L"], ""),
            (*kinds["M"], ""),
            (kinds["C"][0] + kinds["S"][0], kinds["C"][1] + kinds["S"][1], "\U00020000-\U0003fffd"),
        )
    )
    plain = f"{letters}+|{single}{marks}*"
    whole = f"(?:{letters}+|{letters_above})+|(?:{single}|{single_above})(?:{marks}|{marks_above})*"
    return re.compile(plain), re.compile(whole)


def _ranges(points: Iterable[int]) -> str:
    """The code points as the inside of a character class."""
    runs: list[list[int]] = []
    for point in points:
        if runs and runs[-1][1] == point - 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in runs)
