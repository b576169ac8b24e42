"""Texts to look for that the workload's own, which are English, have not: Chinese, a number, a phrase of everyday words.

Behind one session in fifty stands a message of Chinese characters, some frequent and most not, as in a natural text. Behind one
in five hundred it also holds what is seldom: a word, a number and a phrase.
"""

from __future__ import annotations

import random

from bench.encoding import length_delimited, text, varint_field
from bench.session_template import PROJECT

__all__ = [
    "FREQUENT_CHARACTER",
    "NEVER_NEIGHBOURS",
    "SELDOM_NUMBER",
    "SELDOM_PHRASE",
    "SELDOM_WORD",
    "SESSIONS_PER_SELDOM",
    "SESSIONS_PER_TEXT",
    "text_event",
]

SESSIONS_PER_TEXT = 50
SESSIONS_PER_SELDOM = 500
SELDOM_WORD = "東京"
SELDOM_NUMBER = "48151623"
#: Its words are among the most frequent ones, and nowhere else do they stand side by side.
SELDOM_PHRASE = "not by are be was this as"
#: The characters are numbers from here on; the first ones are the frequent ones.
_FIRST_CHARACTER = 0x4E00
_CHARACTERS = 3_000
_TEXT_CHARACTERS = 120
FREQUENT_CHARACTER = chr(_FIRST_CHARACTER + 1)
#: Each stands in most texts, but never this one right before the other.
NEVER_NEIGHBOURS = chr(_FIRST_CHARACTER + 1) + chr(_FIRST_CHARACTER + 2)


def text_event(number: int, tenant: str, time_us: int) -> bytes:
    """The serialised message behind a session, at a time in microseconds and with a tenant."""
    rng = random.Random(f"text/{number}")
    drawn = (chr(_FIRST_CHARACTER + min(_CHARACTERS, int(rng.paretovariate(0.5)))) for _ in range(_TEXT_CHARACTERS))
    written = "".join(drawn)
    while NEVER_NEIGHBOURS in written:
        written = written.replace(NEVER_NEIGHBOURS, NEVER_NEIGHBOURS[::-1])
    if number % SESSIONS_PER_SELDOM == 0:
        written += f" {SELDOM_WORD}タワーの高さ {SELDOM_NUMBER} {SELDOM_PHRASE}"
    second, fraction = divmod(time_us, 1_000_000)
    return b"".join(
        (
            text(1, f"00000003-0000-4000-8000-{number:012x}"),
            text(2, tenant),
            text(3, PROJECT),
            text(4, f"00000003-0000-4000-8001-{number:012x}"),
            text(5, f"00000003-0000-4000-8002-{number:012x}"),
            varint_field(7, 30),
            varint_field(8, 2),
            varint_field(9, 3),
            varint_field(10, 1),
            length_delimited(11, varint_field(1, second) + varint_field(2, fraction * 1_000)),
            text(23, f"00000003-0000-4000-8003-{number:012x}"),
            length_delimited(30, text(1, "user") + text(2, written)),
        )
    )
