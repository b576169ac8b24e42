"""The full-text index of the embedded store: derived data in a file of its own, written by one process, read by another.

    follower process: stored bytes -> indexed_text -> TextIndexWriter -> text.db
    server process:   TextQuery -> TextIndexReader -> candidates, or TextIndexUnusable: then the caller scans

Nothing of the record depends on it; without it questions for text are answered by a scan. docs/decisions/0008 tells why FTS5.
"""

from chaukas.server.storage.sqlite.text_index.file import TEXT_INDEX_NAME, TextIndexUnusable, remove_text_index
from chaukas.server.storage.sqlite.text_index.reader import TextIndexReader, TextIndexSnapshot
from chaukas.server.storage.sqlite.text_index.search import TextSearch
from chaukas.server.storage.sqlite.text_index.writer import TextIndexWriter

__all__ = [
    "TEXT_INDEX_NAME",
    "TextIndexReader",
    "TextIndexSnapshot",
    "TextIndexUnusable",
    "TextIndexWriter",
    "TextSearch",
    "remove_text_index",
]
