"""Which characters a character of a folded text may come from: what to look for in texts that nobody has folded yet.

`fold` normalises, and normalising puts neighbours together and apart. So what is told is not the character that one becomes but
the parts (NFKD) of it: the parts of a folded text are all parts of what its single characters fold to.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from itertools import chain, groupby
from typing import Final

from chaukas.server.text.tokens import fold

__all__ = ["ascii_sources", "part_sources", "parts_of", "utf8_pattern"]

#: First code points and ends, half-open, of all characters that fold to something else or have parts. Between them stand Han and
#: private characters without either; Hangul syllables have parts.
_RANGES: Final = (
    *((0x80, 0x3400), (0x4DC0, 0x4E00), (0xA000, 0xD800), (0xF900, 0x17000), (0x18D00, 0x20000)),
    *((0x2F800, 0x2FA20), (0xE0000, 0xE1000)),
)
#: It vanishes behind an i, when `İ` is folded.
_DOT_ABOVE = "\u0307"


def parts_of(folded: str) -> str:
    """The parts of a folded character or text."""
    return unicodedata.normalize("NFKD", folded)


def part_sources(part: str) -> frozenset[str]:
    """The characters that a folded text can have this part of, itself among them. `part` is not ASCII."""
    return frozenset({part, *_tables()[0].get(part, ())})


def ascii_sources(characters: Iterable[str]) -> frozenset[str]:
    """The characters that are not ASCII and fold to a text with one of these in it, and those that vanish."""
    _, sources, vanishing = _tables()
    return frozenset(chain(vanishing, *(sources.get(character, ()) for character in characters)))


def utf8_pattern(characters: Iterable[str]) -> bytes:
    """A regular expression for any one of these characters in UTF-8."""
    encoded = sorted({character.encode() for character in characters})
    by_head = {head: bytes(each[-1] for each in group) for head, group in groupby(encoded, lambda each: each[:-1])}
    # Heads that differ in their last byte only and have the same endings, as in long runs of characters, become one.
    alike: dict[tuple[bytes, bytes], list[int]] = {}
    for head, endings in by_head.items():
        alike.setdefault((head[:-1], endings), []).append(head[-1])
    return b"|".join(
        re.escape(first) + _byte_class(bytes(second)) + _byte_class(endings) for (first, endings), second in alike.items()
    )


def _byte_class(found: bytes) -> bytes:
    return b"[" + re.escape(found) + b"]" if len(found) > 1 else re.escape(found)


@functools.cache
def _tables() -> tuple[dict[str, set[str]], dict[str, set[str]], frozenset[str]]:
    """Part to sources, ASCII character to sources, and what vanishes. Made when the first query needs them, once."""
    characters = [chr(point) for first, end in _RANGES for point in range(first, end)]
    # All at once: a line feed takes no part in normalising, and no character becomes one.
    joined = "\n".join(characters)
    folded, taken_apart = fold(joined).split("\n"), parts_of(joined).split("\n")
    by_itself = functools.cache(lambda piece: parts_of(fold(piece)))
    parts: dict[str, set[str]] = {}
    ascii_: dict[str, set[str]] = {}
    vanishing = {_DOT_ABOVE}
    for character, whole, pieces in zip(characters, folded, taken_apart, strict=True):
        if whole == character == pieces:
            continue
        found = set(pieces)
        if whole != character:
            # Next to other characters its pieces may be folded by themselves.
            found.update(parts_of(whole), *map(by_itself, pieces))
            for each in filter(str.isascii, whole):
                ascii_.setdefault(each, set()).add(character)
            if not whole:
                vanishing.add(character)
        for each in found:
            if not each.isascii():
                parts.setdefault(each, set()).add(character)
    return parts, ascii_, frozenset(vanishing)
