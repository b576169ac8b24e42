"""What readers know of postings that are not in the table yet."""

from __future__ import annotations

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.storage.sqlite import pending
from chaukas.server.storage.sqlite.pending import Generation, PendingPostings, block_numbers
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


def _seen(database: apsw.Connection, readers: PendingPostings, key: int, before: tuple[Generation, ...]) -> list[int]:
    readers.follow(database)
    prefix = pack_prefix(1, KIND_TAG, key)
    return Postings.blocks_of(database, prefix, block_numbers((*before, *readers.generations), prefix))


@given(
    steps=st.lists(st.one_of(st.tuples(st.integers(0, 9), st.integers(0, 3)), st.sampled_from(("look", "crash"))), max_size=120)
)
def test_readers_see_what_was_committed(steps: list[tuple[int, int] | str]):
    """After any commits, looks and restarts of the writer, merged or not, a reader finds exactly the blocks that were added."""
    database, postings, readers = _record(), Postings(12, run_postings=3, merge_postings_min=2), PendingPostings()
    added: dict[int, set[int]] = {}
    for step in steps:
        if isinstance(step, tuple):
            key, block_no = step
            _commit(database, postings, key, block_no)
            added.setdefault(key, set()).add(block_no)
        elif step == "crash":
            postings = Postings(12, run_postings=3, merge_postings_min=2)
            postings.recover(database)
        else:
            before = readers.generations
            for key in range(10):
                assert _seen(database, readers, key, before) == sorted(added.get(key, ()))
    for key in range(10):
        assert _seen(database, readers, key, readers.generations) == sorted(added.get(key, ()))


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
    assert _seen(database, readers, 77, readers.generations) == [5]
