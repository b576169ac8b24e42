"""The file of the text index: its tables, its version, and what happens to a file that is none of ours.

`words` is a contentless FTS5 table: for each token the places of the events that hold it, and its positions in them. A row's
number is its place, log_no << INDEX_BITS | index, as of segments. `indexed` says for each log how far the index goes, with a
mark of the record at this position; it is changed in the transaction that adds the rows.

The index is derived data: a file of another format, of other tokens, or a damaged one is removed and begun anew. A write-ahead
log with synchronous=NORMAL loses the newest transactions when the power fails, whole ones only: rows and `indexed` go together,
and the follower adds them again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from chaukas.server.errors import StorageError
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.text.tokens import ASCII_SYMBOLS, TOKENS_VERSION

__all__ = [
    "BOUNDARY",
    "DAMAGE",
    "FOREIGN",
    "TEXT_INDEX_NAME",
    "TOKEN_BYTES_MAX",
    "TextIndexUnusable",
    "create_tables",
    "is_current",
    "open_index",
    "reading",
    "remove_text_index",
]

TEXT_INDEX_NAME: Final = "text.db"
#: "Chtx" in ASCII.
_APPLICATION_ID: Final = 0x43687478
_FORMAT_VERSION: Final = 1
#: A token of its own between two texts, so that no phrase is found across them: the unit separator of ASCII, which separates
#: tokens wherever else it stands.
BOUNDARY: Final = "\x1f"
#: FTS5 keeps so many bytes of a token (FTS5_MAX_TOKEN_SIZE).
TOKEN_BYTES_MAX: Final = 32_768
#: What SQLite says of a file that is damaged or no database; and, when it is opened, of one without our tables.
DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
FOREIGN: Final = (*DAMAGE, apsw.SQLError)

_PAGE_BYTES: Final = 8_192
#: `auto_vacuum`: free pages are given back when the writer says so.
_INCREMENTAL: Final = 2
#: Half a page of SQLite without its overhead: two blobs of FTS5 fill one.
_LEAF_BYTES: Final = 4_050
#: Entries wait in memory until the transaction ends: each flush is a segment of the index that has to be merged.
_HASH_BYTES: Final = 64 * 1024 * 1024
#: So many segments of a size are merged into one; fewer (4 is FTS5's default) write half as much again, more answer no slower.
_MERGED_AT_ONCE: Final = 8
#: Pages of write-ahead log after which SQLite moves them into the file: 32 MiB.
_CHECKPOINT_PAGES: Final = 4_096

# FTS5's own tokenizer cuts at everything in ASCII that is no letter, no digit and no symbol of ours, folds A-Z, and leaves all
# other bytes alone: what `indexed_text` returns falls into exactly the tokens of `text.tokens`.
_SQL_WORDS: Final = (
    "CREATE VIRTUAL TABLE words USING fts5(text, content='', columnsize=0, detail=full,"
    f" tokenize=\"ascii tokenchars '{ASCII_SYMBOLS}{BOUNDARY}'\")"
)
_SQL_SET = "INSERT INTO words(words, rank) VALUES (?, ?)"
_SQL_INDEXED = "CREATE TABLE indexed (log_no INTEGER PRIMARY KEY, next_index INTEGER NOT NULL, mark BLOB NOT NULL) STRICT"
_SQL_MADE_OF = "CREATE TABLE made_of (tokens_version TEXT NOT NULL) STRICT"
_SQL_MADE_OF_THESE = "INSERT INTO made_of VALUES (?)"
_SQL_MADE_OF_WHICH = "SELECT tokens_version FROM made_of"
#: Reads the structure of the index; fails when it is gone.
_SQL_TOUCH = "SELECT rowid FROM words WHERE words MATCH '\"chaukas\"' LIMIT 1"


class TextIndexUnusable(StorageError):  # noqa: N818 # it says what the caller has to know: scan instead
    """The index cannot be read or written now. `damaged` says that its file must be removed and made again."""

    def __init__(self, message: str, *, damaged: bool = False) -> None:
        super().__init__(message)
        self.damaged = damaged


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """SQLite's exceptions while the index is read become `TextIndexUnusable`."""
    try:
        yield
    except apsw.Error as error:
        raise TextIndexUnusable(f"the text index cannot be read: {error}", damaged=isinstance(error, DAMAGE)) from error


def open_index(directory: Path, *, writer: bool, cache_kib: int) -> apsw.Connection:
    """A connection to the file; only a writer creates it. Raises `apsw.Error`."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if writer else apsw.SQLITE_OPEN_READONLY
    database = apsw.Connection(str(directory / TEXT_INDEX_NAME), flags=flags)
    try:
        database.set_busy_timeout(10_000 if writer else 200)
        if writer:
            database.pragma("page_size", _PAGE_BYTES)
            database.pragma("auto_vacuum", _INCREMENTAL)
            database.pragma("journal_mode", "wal")
            database.pragma("synchronous", "normal")
            database.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
            database.pragma("journal_size_limit", 2 * _CHECKPOINT_PAGES * _PAGE_BYTES)
        else:
            # The file may have been removed and made again meanwhile: closing the old one must not touch the new one's log.
            database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        database.pragma("cache_size", -cache_kib)
    except BaseException:
        database.close()
        raise
    return database


def is_current(database: apsw.Connection) -> bool:
    """Whether this is an index of our format and of the tokens that we cut. Raises `apsw.Error`."""
    if (database.pragma("application_id"), database.pragma("user_version")) != (_APPLICATION_ID, _FORMAT_VERSION):
        return False
    fetch(database, _SQL_TOUCH)
    return fetch(database, _SQL_MADE_OF_WHICH) == [(TOKENS_VERSION,)]


def create_tables(database: apsw.Connection) -> None:
    """Make an empty index in an empty file, in one transaction."""
    with database:
        database.execute(_SQL_WORDS)
        for name, value in (("pgsz", _LEAF_BYTES), ("hashsize", _HASH_BYTES), ("automerge", _MERGED_AT_ONCE)):
            database.execute(_SQL_SET, (name, value))
        database.execute(_SQL_INDEXED)
        database.execute(_SQL_MADE_OF)
        database.execute(_SQL_MADE_OF_THESE, (TOKENS_VERSION,))
        database.pragma("application_id", _APPLICATION_ID)
        database.pragma("user_version", _FORMAT_VERSION)


def remove_text_index(directory: Path) -> None:
    """Remove the index and its write-ahead log. Readers that have it open keep what they had until they look again.

    No writer may have it open.
    """
    # The log goes first: left alone, it would be taken for that of the next file.
    for suffix in ("-wal", "-shm", ""):
        (directory / f"{TEXT_INDEX_NAME}{suffix}").unlink(missing_ok=True)
