"""V and S: an index of our own. Volumes of so many events, each with a sorted list of its tokens in compressed pages.

V numbers events; S numbers segments of 128 events, so that a token counts once in a segment and a candidate is a segment to be
read. A page is a row of SQLite keyed by volume and first token: tokens, lengths, and 16-bit numbers, zstd. No volume is merged
with another, which favours them: that work is not in their figures.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apsw
import zstandard

from chaukas.server.storage.sqlite.text_index.file import open_index
from chaukas.server.storage.sqlite.text_index.indexed_text import indexed_text
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.tokens import ASCII_TOKENS

__all__ = ["Volumes"]

_TOKENS_PER_PAGE = 256
#: The pages of a volume that may hold tokens from ?2 to ?3.
_SQL_PAGES = (
    "SELECT page FROM pages WHERE volume = ?1 AND first <= ?3"
    " AND first >= (SELECT coalesce(max(first), '') FROM pages WHERE volume = ?1 AND first <= ?2)"
)


class Volumes:
    """Candidates are events (`unit_events` 1) or all events of a segment (128)."""

    def __init__(self, directory: Path, unit_events: int, volume_events: int) -> None:
        self._database = open_index(directory, writer=True, cache_kib=16 * 1024)
        self._database.execute(
            "CREATE TABLE pages (volume INTEGER, first TEXT, page BLOB, PRIMARY KEY (volume, first)) WITHOUT ROWID"
        )
        self._unit_events, self._volume_events = unit_events, volume_events
        self._postings: defaultdict[str, list[int]] = defaultdict(list)
        self._events = 0
        self._compressor, self._decompressor = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()

    def add(self, first_index: int, bodies: Sequence[bytes]) -> None:
        """`bodies` are a segment."""
        postings = self._postings
        number = first_index % self._volume_events // self._unit_events
        tokens = map(_tokens, map(indexed_text, bodies))
        for unit in [set[str]().union(*tokens)] if self._unit_events > 1 else map(set, tokens):
            for token in unit:
                postings[token].append(number)
            number += 1
        self._events = first_index + len(bodies)
        if self._events % self._volume_events == 0:
            self._write()

    def commit(self) -> None:
        """A volume is written when it is full; what is not, is read again after a crash."""

    def _write(self) -> None:
        volume = (self._events - 1) // self._volume_events
        postings, self._postings = self._postings, defaultdict(list)
        tokens = sorted(postings)
        with self._database:
            for begin in range(0, len(tokens), _TOKENS_PER_PAGE):
                page = tokens[begin : begin + _TOKENS_PER_PAGE]
                lists = [array("H", postings[token]) for token in page]
                lengths = array("I", map(len, lists))
                raw = b"\n".join((" ".join(page).encode(), lengths.tobytes() + b"".join(each.tobytes() for each in lists)))
                self._database.execute("INSERT INTO pages VALUES (?, ?, ?)", (volume, page[0], self._compressor.compress(raw)))

    def candidates(self, query: TextQuery) -> tuple[Iterable[int], bool]:
        """As `TextLayout.candidates`."""
        if self._postings:
            self._write()
        exact = self._unit_events == 1 and all(len(clause.tokens) == 1 for clause in query.clauses)
        return self._candidates(query), exact

    def _candidates(self, query: TextQuery) -> Iterator[int]:
        words = [(token, clause.prefix and token is clause.tokens[-1]) for clause in query.clauses for token in clause.tokens]
        for volume in range((self._events - 1) // self._volume_events + 1):
            common: set[int] | None = None
            for word, prefix in words:
                numbers = self._numbers(volume, word, prefix=prefix)
                common = numbers if common is None else common & numbers
                if not common:
                    break
            for number in sorted(common or ()):
                begin = volume * self._volume_events + number * self._unit_events
                yield from range(begin, min(begin + self._unit_events, self._events))

    def _numbers(self, volume: int, word: str, *, prefix: bool) -> set[int]:
        found: set[int] = set()
        for (page,) in self._database.execute(_SQL_PAGES, (volume, word, word + "\U0010ffff" if prefix else word)):
            head, _, rest = self._decompressor.decompress(page).partition(b"\n")
            tokens = head.decode().split(" ")
            lengths = memoryview(rest)[: 4 * len(tokens)].cast("I")
            at = 4 * len(tokens)
            for token, length in zip(tokens, lengths, strict=True):
                if token == word or (prefix and token.startswith(word)):
                    found.update(array("H", rest[at : at + 2 * length]))
                at += 2 * length
        return found

    def close(self) -> None:
        """As `TextLayout.close`."""
        if self._postings:
            self._write()
        self._database.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._database.close()


def _tokens(text: str) -> list[str]:
    return (text.translate(ASCII_TOKENS) if text.isascii() else text).split()
