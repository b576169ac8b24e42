"""What every layout of the text index under trial offers, and the FTS5 tables among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Protocol

import apsw

from chaukas.server.storage.sqlite.text_index import TextIndexReader, TextIndexWriter
from chaukas.server.storage.sqlite.text_index.file import BOUNDARY, open_index
from chaukas.server.storage.sqlite.text_index.indexed_text import indexed_text
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.tokens import ASCII_SYMBOLS

__all__ = ["Driver", "FtsRows", "TextLayout"]


class TextLayout(Protocol):
    """A way to index the texts of events that arrive in order, in one log."""

    def add(self, first_index: int, bodies: Sequence[bytes]) -> None:
        """Index consecutive stored events."""
        ...

    def commit(self) -> None:
        """Make them durable as far as a derived file has to be."""
        ...

    def candidates(self, query: TextQuery) -> tuple[Iterable[int], bool]:
        """The indexes of the events that may match, ascending, and whether they are exactly those that do."""
        ...

    def close(self) -> None:
        """Write what is left and close the file."""
        ...


class Driver:
    """F: the driver's own index: FTS5 with positions and a boundary between texts."""

    def __init__(self, directory: Path) -> None:
        self._writer = TextIndexWriter(directory)
        self._reader = TextIndexReader(directory)
        #: That of the last question: a page of its answer may be unread.
        self._snapshot = ExitStack()

    def add(self, first_index: int, bodies: Sequence[bytes]) -> None:
        """As `TextLayout.add`."""
        self._writer.add(1, first_index, bodies)

    def commit(self) -> None:
        """As `TextLayout.commit`."""
        self._writer.commit()

    def candidates(self, query: TextQuery) -> tuple[Iterable[int], bool]:
        """As `TextLayout.candidates`."""
        self._snapshot.close()
        snapshot = self._snapshot.enter_context(self._reader.snapshot())
        search = snapshot.search(query, [1])
        blocks = search.blocks(1)
        numbers = range(snapshot.indexed(1) // 1024 + 1) if blocks is None else sorted(blocks)
        return chain.from_iterable(search.in_block(1, number) for number in numbers), search.exact

    def close(self) -> None:
        """As `TextLayout.close`."""
        self._snapshot.close()
        self._reader.close()
        self._writer.settle()
        self._writer.close()


class FtsRows:
    """N and C: FTS5 with less detail, which knows no phrases; everything else as the driver has it."""

    def __init__(self, directory: Path, detail: str) -> None:
        self._database = open_index(directory, writer=True, cache_kib=16 * 1024)
        self._database.execute(
            f"CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, detail={detail},"
            f" tokenize=\"ascii tokenchars '{ASCII_SYMBOLS}{BOUNDARY}'\")"
        )
        for name, value in (("pgsz", 4_050), ("hashsize", 64 << 20), ("automerge", 8)):
            self._database.execute("INSERT INTO words(words, rank) VALUES (?, ?)", (name, value))
        self._waiting: list[tuple[int, str]] = []

    def add(self, first_index: int, bodies: Sequence[bytes]) -> None:
        """As `TextLayout.add`."""
        self._waiting += enumerate(map(indexed_text, bodies), first_index)

    def commit(self) -> None:
        """As `TextLayout.commit`."""
        with self._database:
            self._database.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", self._waiting)
        self._waiting.clear()

    def candidates(self, query: TextQuery) -> tuple[Iterable[int], bool]:
        """As `TextLayout.candidates`."""
        words = [(token, clause.prefix and token is clause.tokens[-1]) for clause in query.clauses for token in clause.tokens]
        expression = " AND ".join(f'"{word}"' + (" *" if prefix else "") for word, prefix in words)
        rows = self._database.execute("SELECT rowid FROM words WHERE words MATCH ?", (expression,))
        return chain.from_iterable(rows), all(len(clause.tokens) == 1 for clause in query.clauses)

    def close(self) -> None:
        """As `TextLayout.close`."""
        self._database.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._database.close()
