# ruff: noqa: RUF001 - texts of all scripts
from __future__ import annotations

import sys
import unicodedata

import pytest

from chaukas.server.text import tokens
from chaukas.server.text.tokens import fold, tokens_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \t\n!?.,;:'\"()[]{}/\\@#%&*-_^`\x00\x7f", []),
        ("Hello, WORLD 42", ["hello", "world", "42"]),
        ("user_id don't key=value", ["user", "id", "don", "t", "key", "=", "value"]),
        ("C++ #tag a|b $5 ~x <y>", ["c", "+", "+", "tag", "a", "|", "b", "$", "5", "~", "x", "<", "y", ">"]),
        ("mail@example.com", ["mail", "example", "com"]),
        ("https://example.com/a?b=1", ["https", "example", "com", "a", "b", "=", "1"]),
        ("01a0c41f-9805-7fd3", ["01a0c41f", "9805", "7fd3"]),
        ("-12.5 1e+16", ["12", "5", "1e", "+", "16"]),
        ("東京タワー高さ333m", ["東", "京", "タ", "ワ", "ー", "高", "さ", "333m"]),
        ("한국어 text", ["한", "국", "어", "text"]),
        ("ﾊﾟﾝ カ\u3099", ["パ", "ン", "ガ"]),
        ("ภาษาไทย", ["ภ", "า", "ษ", "า", "ไ", "ท", "ย"]),
        ("ភាសា", ["ភា", "សា"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("العَرَبِيَّة ٣", ["العَرَبِيَّة", "٣"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("😀 up👩\u200d🚀 👍🏽 ❤\ufe0f 🇩🇪", ["😀", "up", "👩", "🚀", "👍", "🏽", "❤", "🇩", "🇪"]),
        ("5€ ≠ ∑x", ["5", "€", "≠", "∑", "x"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("İstanbul ISPARTA ısı", ["istanbul", "isparta", "ısı"]),
        ("i\u0307 I\u0307 İ", ["i", "i", "i"]),
        ("ﬁre ＦＩＲＥ x² ½ Ⅳ K ſ", ["fire", "fire", "x2", "1", "⁄", "2", "iv", "k", "s"]),
        ("été e\u0301te\u0301 ÉTÉ", ["été"] * 3),
        ("re\u00adfund zero\u200bwidth \u202eabc", ["refund", "zerowidth", "abc"]),
        ("“don’t – stop…”", ["don", "t", "stop"]),
        ("ὈΔΥΣΣΕΎΣ ὀδυσσεύς", ["ὀδυσσεύσ", "ὀδυσσεύσ"]),
    ],
)
def test_tokens_of_many_scripts(text: str, expected: list[str]) -> None:
    """Every script, and every spelling that looks alike, gives the tokens that the documentation names."""
    assert tokens_of(text) == expected
    assert tokens_of(unicodedata.normalize("NFD", text)) == expected
    assert tokens_of(unicodedata.normalize("NFKC", text)) == expected


def test_every_character_by_itself() -> None:
    """Folding is final for every character, its tokens give themselves, and letters, digits and symbols always give some."""
    for point in _points():
        character = chr(point)
        folded = fold(character)
        assert fold(folded) == folded, hex(point)
        found = tokens_of(character)
        assert tokens_of(" ".join(found)) == found, hex(point)
        category = unicodedata.category(folded[0]) if folded else "Cf"
        if category[0] in "LN" or category in {"Sm", "Sc", "So"}:
            assert found, hex(point)
        elif category[0] in "PZC" and len(folded) == 1:
            assert not found, hex(point)


def test_ascii_goes_both_ways_alike() -> None:
    """The fast way for ASCII finds in each pair of characters what the way for all texts finds."""
    for first in map(chr, range(128)):
        for second in map(chr, range(128)):
            text = f"x{first}{second}y"
            assert tokens_of(text) == [token for token, _, _ in tokens.token_spans(fold(text))], text


def test_the_table_of_planes_is_complete() -> None:
    """Above the planes that are looked at one by one stand no marks or symbols, and no letters but Han."""
    for point in range(0x20000, sys.maxunicode + 1):
        category = unicodedata.category(chr(point))
        if category[0] in "LMNS":
            assert 0x20000 <= point <= 0x3FFFD or fold(chr(point)) == "", hex(point)
            assert category == "Lo" or fold(chr(point)) == "", hex(point)


def _points() -> list[int]:
    return [
        point for point in range(sys.maxunicode + 1) if not 0xD800 <= point <= 0xDFFF and unicodedata.category(chr(point)) != "Cn"
    ]
