"""What readers know of postings that are not in the table yet. That none is missed is a property test."""

from __future__ import annotations

import apsw
import pytest

from chaukas.server.storage.sqlite import pending
from chaukas.server.storage.sqlite.pending import PendingPostings, block_numbers
from chaukas.server.storage.sqlite.postings import KIND_TAG, Postings, pack_prefix

from .record import empty_record


def _commit(database: apsw.Connection, postings: Postings, key: int, block_no: int) -> None:
    """One event of a log, whose entry the log counts."""
    with database:
        database.execute("UPDATE logs SET next_index = next_index + 1")
        postings.add(database, [([pack_prefix(1, KIND_TAG, key)], block_no)])
    postings.committed()


def _record() -> apsw.Connection:
    database = empty_record()
    database.execute("INSERT INTO logs VALUES (1, 1, 'origin', 'tenant', 'project', 0, 0, x'', 0, 0, 0, 0, 0)")
    return database


def test_readers_let_go_of_what_is_in_the_table(monkeypatch: pytest.MonkeyPatch):
    """However many events pass, a reader remembers about as many postings as wait to be merged."""
    monkeypatch.setattr(pending, "_GENERATION_POSTINGS", 20)
    database, postings, readers = _record(), Postings(50, run_postings=10, merge_postings_min=10), PendingPostings()
    most = 0
    for number in range(2_000):
        _commit(database, postings, number, number)
        readers.follow(database)
        most = max(most, sum(generation.postings for generation in readers.generations))
    assert 50 <= most <= 200


def test_numbers_of_commits_never_come_twice():
    """A writer that starts when nothing waits to be merged goes on behind the numbers that readers have seen."""
    database, readers = _record(), PendingPostings()
    postings = Postings(4, run_postings=4, merge_postings_min=100)
    for number in range(8):
        _commit(database, postings, number, number)
    readers.follow(database)
    database.execute("DELETE FROM pending_postings")
    postings = Postings()
    postings.recover(database)
    _commit(database, postings, 77, 5)
    readers.follow(database)
    assert block_numbers(readers.generations, pack_prefix(1, KIND_TAG, 77)) == {5}
