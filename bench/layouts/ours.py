"""The layout of the driver, through its own appender and queries; and the same with its postings put straight into the B-tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import apsw

from bench.layouts.row_layout import CACHE_KIB, PAGE, SERVER_NAME
from chaukas.server.storage.contract import EventFilter, EventRecord, Outcome, PageRequest, StoredEvent
from chaukas.server.storage.sqlite.appender import Appender
from chaukas.server.storage.sqlite.connection import connect
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.logs import Logs
from chaukas.server.storage.sqlite.postings import Postings
from chaukas.server.storage.sqlite.quarantine import Quarantine
from chaukas.server.storage.sqlite.reader import EventQueries
from chaukas.server.storage.sqlite.schema import migrate, read_meta
from chaukas.server.storage.sqlite.text_index.reader import TextIndexReader

__all__ = ["Blocks", "BlocksUnmerged"]

_SQL_INSERT = "INSERT OR IGNORE INTO postings SELECT value FROM carray(?)"
_PAGE_BYTES_MAX = 3 * 1024 * 1024


class _StraightPostings(Postings):
    """Postings that each commit inserts into the table, sorted within the commit; memory holds none."""

    def add(self, database: apsw.Connection, postings: Iterable[tuple[list[bytes], int]]) -> None:
        """See `Postings.add`."""
        entries = sorted({prefix + block_no.to_bytes(4, "big") for prefixes, block_no in postings for prefix in prefixes})
        if entries:
            database.execute(_SQL_INSERT, (apsw.carray(tuple(entries)),))


class Blocks:
    """The driver: segments, columns in blocks of 1,024 events, postings merged in key order. Without its threads."""

    def __init__(self, directory: Path, postings: Postings | None = None) -> None:
        self._database = connect(directory, writer=True, cache_kib=CACHE_KIB[0])
        migrate(self._database, SERVER_NAME)
        secret = read_meta(self._database, "key_secret")
        if not isinstance(secret, bytes):
            raise TypeError("a migrated database has a secret")
        keys, postings = IdKeys(secret), postings or Postings()
        self._appender = Appender(self._database, Logs(SERVER_NAME), keys, postings, Quarantine(1_000, 1_000_000))
        self._appender.recover()
        self._reader = connect(directory, writer=False, cache_kib=CACHE_KIB[1])
        # There is no index of words, and nothing is asked that would need one.
        self._texts = TextIndexReader(directory)
        self._queries = EventQueries(self._reader, keys, postings, self._texts, lambda: None)

    def append(self, records: Sequence[EventRecord]) -> list[Outcome]:
        """See `Layout.append`."""
        return self._appender.append(records)

    def ask(self, question: str, tenant_id: str, project_id: str, value: str | int) -> list[StoredEvent]:
        """See `Layout.ask`."""
        types = frozenset({int(value)}) if question == "type" else frozenset[int]()
        text = str(value)
        wanted = EventFilter(
            tenant_id,
            project_id,
            session_id=text if question == "session" else None,
            trace_id=text if question == "trace" else None,
            span_id=text if question == "span" else None,
            agent_id=text if question == "agent" else None,
            types=types,
        )
        return self._queries.query(PageRequest(wanted, PAGE, _PAGE_BYTES_MAX)).events

    def close(self) -> None:
        """See `Layout.close`."""
        self._texts.close()
        self._reader.close()
        self._database.close()


class BlocksUnmerged(Blocks):
    """The driver, but each posting goes to its place in the B-tree at once."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, _StraightPostings())
