"""Reading the text index beside its writer. One reader per thread."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import apsw

from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.text_index.file import (
    TEXT_INDEX_NAME,
    TextIndexUnusable,
    is_current,
    open_index,
    reading,
)
from chaukas.server.storage.sqlite.text_index.match import match_of
from chaukas.server.storage.sqlite.text_index.search import TextSearch
from chaukas.server.text.expression import TextQuery

__all__ = ["TextIndexReader", "TextIndexSnapshot"]

_CACHE_KIB: Final = 8 * 1024
#: A prefix is asked for when its tokens stand in at most so many events, each counted per token, and are at most so many:
#: either takes some 20 ms. A prefix of more is in so many events that a scan finds a page of them soon.
_PREFIX_PLACES_MAX: Final = 200_000
_PREFIX_TOKENS_MAX: Final = 20_000

_SQL_VOCABULARY = "CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, words, row)"
_SQL_BEGINNING = "SELECT doc FROM temp.vocabulary WHERE term >= ? AND term < ?"
_SQL_INDEXED = "SELECT next_index FROM indexed WHERE log_no = ?"
_SQL_MARKS = "SELECT log_no, next_index, mark FROM indexed"
#: BEGIN is deferred: a snapshot starts with its first read.
_SQL_TOUCH = "SELECT 1 FROM made_of"


class TextIndexReader:
    """Opens the file when it is asked, and again after it was removed and made anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._database: apsw.Connection | None = None
        #: Device and number of the file that is open: a removed file's number is not used again while it is open.
        self._file = (0, 0)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[TextIndexSnapshot]:
        """The index as it is now; later commits are not seen within. One at a time.

        Raises `TextIndexUnusable` when there is none, when it is not of the tokens that we cut, or when it cannot be read. Every
        method of what it gives may raise it too.
        """
        database = self._current()
        try:
            with reading():
                database.execute("BEGIN")
                fetch(database, _SQL_TOUCH)
            yield TextIndexSnapshot(database)
        except TextIndexUnusable:
            self.close()
            raise
        finally:
            if self._database is not None and self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file, until the next snapshot."""
        if self._database is not None:
            database, self._database = self._database, None
            with contextlib.suppress(apsw.Error):
                database.close()

    def _current(self) -> apsw.Connection:
        """A connection to the file that now has the name."""
        try:
            status = (self._directory / TEXT_INDEX_NAME).stat()
        except OSError as error:
            self.close()
            raise TextIndexUnusable("there is no text index") from error
        if self._database is not None and self._file == (status.st_dev, status.st_ino):
            return self._database
        self.close()
        self._file = (status.st_dev, status.st_ino)
        try:
            with reading():
                self._database = open_index(self._directory, writer=False, cache_kib=_CACHE_KIB)
                if is_current(self._database):
                    self._database.execute(_SQL_VOCABULARY)
                    return self._database
        except TextIndexUnusable:
            self.close()
            raise
        self.close()
        raise TextIndexUnusable("the text index was made of other tokens")


class TextIndexSnapshot:
    """One state of the index, within `TextIndexReader.snapshot`."""

    def __init__(self, database: apsw.Connection) -> None:
        self._database = database
        self._indexed: dict[int, int] = {}

    def indexed(self, log_no: int) -> int:
        """The index behind the last event of the log that the index holds; the caller reads the rest."""
        if log_no not in self._indexed:
            with reading():
                rows = fetch(self._database, _SQL_INDEXED, (log_no,))
            self._indexed[log_no] = rows[0][0] if rows else 0
        return self._indexed[log_no]

    def marks(self) -> dict[int, tuple[int, bytes]]:
        """For each log its position and the mark of the record there."""
        with reading():
            return {log_no: (index, mark) for log_no, index, mark in fetch(self._database, _SQL_MARKS)}

    def search(self, query: TextQuery, log_nos: Collection[int]) -> TextSearch:
        """Ask for the events of some logs."""
        match = match_of(query, self._prefix_is_cheap)
        return TextSearch(self._database, match, self.indexed, log_nos)

    def _prefix_is_cheap(self, beginning: str) -> bool:
        """Whether FTS5 puts the list of a prefix together in reasonable time."""
        places = tokens = 0
        # No character of a token is U+10FFFF, which is none at all.
        with reading():
            for (events,) in self._database.execute(_SQL_BEGINNING, (beginning, beginning + "\U0010ffff")):
                places += events
                tokens += 1
                if places > _PREFIX_PLACES_MAX or tokens > _PREFIX_TOKENS_MAX:
                    return False
        return True
