"""Texts that nobody ever wrote: invented words, names, numbers, ids, and sentences of them.

Every word is made of syllables, so that no list of real words helps whoever matches them, and every telling value is given out
once: what two events have in common is what the generator gave to both.
"""

from __future__ import annotations

import random
from functools import lru_cache

__all__ = ["Speaker", "share_words", "vocabulary"]

_ONSETS = (*"bcdfghjklmnprstvwz", "br", "cl", "dr", "fl", "gr", "kl", "pl", "qu", "sk", "st", "tr")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "io", "ou")
_CODAS = ("l", "m", "n", "r", "s", "x", "nd", "rk", "lt", "sk", "th", "v", "g")
_VOCABULARY_SIZE = 3_000

_SENTENCES = (
    "the {0} {1} of the {2} was {3} by a {4} {5} near the {6}",
    "every {0} must {1} its {2} before the {3} can be {4} with {5} or {6}",
    "{0} and {1} are kept in the {2}, while {3} goes to the {4} for {5} {6}",
    "a {0} without {1} {2} has to be {3} again when the {4} {5} turns {6}",
    "our {0} {1} takes {2} only after the {3} has seen the {4} of the {5} {6}",
)
#: The same seven words in another order and with other words between them: no three in a row stay together.
_PARAPHRASES = (
    "near some {6}, there stood {1}, rather {0}, and one {5} that {4} once made {3} for {2}",
    "given {6} and also {5}, one is {4} by {3}; until then some {2} should {1} any {0}",
    "for {6} use {5}; the {4} receives {3}, whereas {2} holds {1} as well as {0}",
    "once {6}, this {5} lets {4} be {3} anew, if {2} lacks {1} like any {0}",
    "{6} is what {5} shows {4}, {3} having looked, so {2} follows {1} in {0}",
)


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """A few thousand distinct invented words, always the same."""
    rng = random.Random("vocabulary")
    found: dict[str, None] = {}
    while len(found) < _VOCABULARY_SIZE:
        syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 2, 3))))
        word = "".join(syllables) + rng.choice(_CODAS)
        # Words of a failure would make any answer one that owns up to it.
        if len(word) >= 6 and not word.startswith("fail"):
            found[word] = None
    return tuple(found)


def _cyrillic(text: str) -> str:
    return text.translate(str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстуввхыз"))


def _han(words: list[str]) -> tuple[str, str]:
    """Two characters for each word, without blanks, and the same words from the last to the first with others between."""
    signs = [
        "".join(chr(0x4E00 + int.from_bytes(part.encode(), "little") % 6_000) for part in (word[:3], word[3:])) for word in words
    ]
    return "的".join(signs) + "。", "與".join(reversed(signs)) + "。"


def share_words(one: str, other: str, count: int) -> bool:
    """Whether two texts have as many words in a row in common, whatever their case and punctuation."""

    def rows(text: str) -> set[tuple[str, ...]]:
        spaced = "".join(f" {sign} " if sign >= "\u4e00" else sign for sign in text)
        words = ["".join(filter(str.isalnum, word)).lower() for word in spaced.split()]
        return {tuple(words[place : place + count]) for place in range(len(words) - count + 1)}

    return bool(rows(one) & rows(other))


class Speaker:
    """Gives out texts and values of one world, each telling value once."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"speaker {seed}")
        self._words = list(vocabulary())
        self.rng.shuffle(self._words)
        self._next = 0
        self._given: set[str] = set()
        self._dates: set[str] = set()
        #: The script of prose: most worlds speak Latin.
        self.script = self.rng.choice(("latin", "latin", "latin", "latin", "cyrillic", "han"))

    def word(self) -> str:
        """A word that was not given out before."""
        self._next += 1
        return self._words[self._next % len(self._words)]

    def _once(self, make: str) -> str:
        """The first filling of a form (`#` a digit, `@` a letter) that was never given out, without a 0 in it."""
        while True:
            text = "".join(self._sign(sign) for sign in make)
            digits = "".join(filter(str.isdigit, text))
            if not any(digits in given or given in digits for given in self._given):
                self._given.add(digits)
                return text

    def _sign(self, sign: str) -> str:
        if sign == "#":
            return str(self.rng.randrange(1, 10))
        return self.rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") if sign == "@" else sign

    def number(self) -> str:
        """A number of an order or account."""
        return self._once(self.rng.choice(("#####", "######", "#######")))

    def amount(self) -> str:
        """A price with a fraction."""
        return self._once(self.rng.choice(("###.##", "####.##", "###.#")))

    def code(self) -> str:
        """An id of letters and digits."""
        return self._once(self.rng.choice(("@@-####-@", "@@@####@##", "@@####@####", "##@@@####", "@@@-####-####")))

    def date(self) -> str:
        """A day, long ago or far away, so that it is nobody's today."""
        year, month, day = self.rng.randrange(1931, 1999), self.rng.randrange(1, 13), self.rng.randrange(1, 29)
        text = f"{year}-{month:02}-{day:02}"
        if text in self._dates:
            return self.date()
        self._dates.add(text)
        return text

    def person(self) -> str:
        """A first and a last name."""
        name = f"{self.word()} {self.word()}"
        return (_cyrillic(name) if self.script == "cyrillic" else name).title()

    def address(self) -> str:
        """An e-mail address."""
        return f"{self.word()}.{self.word()}@{self.word()}.example"

    def value(self) -> str:
        """Any of the telling values."""
        return self.rng.choice((self.number, self.amount, self.code, self.date, self.person, self.address))()

    def sentence(self) -> tuple[str, str]:
        """A sentence of seven words that stand nowhere else, and one that says much the same in another order."""
        form = self.rng.randrange(len(_SENTENCES))
        words = [self.word() for _ in range(7)]
        if self.script == "han":
            return _han(words)
        plain = _SENTENCES[form].format(*words)
        other = _PARAPHRASES[form].format(*words)
        if self.script == "cyrillic":
            plain, other = _cyrillic(plain), _cyrillic(other)
        return plain[0].upper() + plain[1:] + ".", other[0].upper() + other[1:] + "."
