"""Running text for the workload: one long string to cut pieces from.

Compression must find in it what it finds in real text, neither more nor less. A batch of 100 events of the workload
shrinks 3.2 to 1 at zstd level 1, and a commit of 1,000 of them 3.4 to 1; `workload_report` shows it. Recorded agent
traffic, where every model call repeats the conversation, shrinks more (4 to 5 to 1), so that figures for disk are on
the careful side.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

__all__ = ["running_text"]

#: The small words that hold a text together come first, and so most often.
_FREQUENT = (
    "the",
    "of",
    "to",
    "and",
    "a",
    "in",
    "is",
    "for",
    "it",
    "on",
    "that",
    "with",
    "as",
    "this",
    "was",
    "be",
    "are",
    "by",
    "not",
)


def running_text(seed: int, size_bytes: int) -> bytes:
    """At least `size_bytes` of sentences in ASCII, so that a cut at any place is valid UTF-8."""
    rng = random.Random(f"text/{seed}")
    words = (Path(__file__).parent / "words.txt").read_text().split()
    rng.shuffle(words)
    table = [*_FREQUENT, *words]
    # Word frequencies of a natural text fall about as 1/rank (Zipf's law).
    weights = list(itertools.accumulate(1.0 / (rank + 8) for rank in range(len(table))))
    pieces: list[str] = []
    length = 0
    while length < size_bytes:
        drawn = rng.choices(table, cum_weights=weights, k=4_000)
        position = 0
        while position < len(drawn):
            count = rng.randint(6, 17)
            sentence = " ".join(drawn[position : position + count])
            if rng.random() < 0.15:
                sentence += f" {rng.randint(2, 9_999)}"
            pieces.append(sentence[0].upper() + sentence[1:] + ". ")
            length += len(pieces[-1])
            position += count
    return "".join(pieces).encode("ascii")
