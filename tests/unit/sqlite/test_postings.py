"""Postings: gathered, merged in steps, recovered. That no sequence of these loses one is a property test."""

from __future__ import annotations

from itertools import pairwise

import apsw
import pytest

from chaukas.server.storage.sqlite.postings import KIND_SESSION, KIND_TAG, Postings, pack_prefix

from .record import empty_record


def _commit(database: apsw.Connection, postings: Postings, new: list[tuple[bytes, int]]) -> None:
    by_block: dict[int, list[bytes]] = {}
    for prefix, block_no in new:
        by_block.setdefault(block_no, []).append(prefix)
    with database:
        postings.add(database, [(prefixes, block_no) for block_no, prefixes in by_block.items()])
    postings.committed()


def _table(database: apsw.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM postings").get)


def _pending(database: apsw.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM pending_postings").get)


def _blocks(database: apsw.Connection, postings: Postings, prefix: bytes) -> list[int]:
    return postings.blocks_of(database, prefix, postings.remembered(prefix))


def test_prefixes_sort_like_their_numbers():
    """The bytes of a posting stand in the order of log, kind and key: neighbours in the table are neighbours in meaning."""
    places = [(log, kind, key) for log in (1, 2, 70_000) for kind in range(6) for key in (0, 1, 255, 256, 1 << 62, (1 << 63) - 1)]
    prefixes = [pack_prefix(*place) for place in places]
    assert prefixes == sorted(prefixes)
    assert len(set(prefixes)) == len(prefixes)
    assert {len(prefix) for prefix in prefixes} == {12}


def test_a_generation_is_merged_in_small_steps():
    """A full generation goes into the table a few postings per commit, and its pending rows go only when all of it is there."""
    database, postings = empty_record(), Postings(100, run_postings=30, merge_postings_min=7)
    _commit(database, postings, [(pack_prefix(1, KIND_TAG, number), 5) for number in range(100)])
    assert (_table(database), _pending(database)) == (0, 1)
    sizes = [0]
    for number in range(200):
        _commit(database, postings, [(pack_prefix(2, KIND_TAG, number), number)])
        sizes.append(_table(database))
        for key in (0, 50, 99):
            assert _blocks(database, postings, pack_prefix(1, KIND_TAG, key)) == [5]
        assert _blocks(database, postings, pack_prefix(2, KIND_TAG, number)) == [number]
        assert _pending(database) > 0
    growth = {after - before for before, after in pairwise(sizes)}
    assert max(growth) == 7, "no commit may pay for many postings of others"
    assert sizes[-1] >= 100


def test_the_second_generation_waits_for_the_first():
    """While a generation is being merged the next one grows beyond its size rather than stopping anybody, and nothing is lost."""
    database, postings = empty_record(), Postings(20, run_postings=5, merge_postings_min=1)
    for number in range(300):
        _commit(database, postings, [(pack_prefix(1, KIND_SESSION, number % 37), number)])
    for key in range(37):
        expected = list(range(key, 300, 37))
        assert _blocks(database, postings, pack_prefix(1, KIND_SESSION, key)) == expected
        assert postings.existing(database, [pack_prefix(1, KIND_SESSION, key)]) == {pack_prefix(1, KIND_SESSION, key): expected}


@pytest.mark.parametrize("commits", [1, 3, 10, 29, 30, 31, 45, 80])
def test_memory_is_rebuilt_from_what_is_pending(commits: int):
    """After any number of commits a new process knows the same postings, also in the middle of merging, and goes on merging."""
    database, postings = empty_record(), Postings(60, run_postings=10, merge_postings_min=3)
    for number in range(commits):
        _commit(database, postings, [(pack_prefix(1, KIND_TAG, key), number) for key in (number, number + 1, 1_000)])
    recovered = Postings(60, run_postings=10, merge_postings_min=3)
    recovered.recover(database)
    for number in range(commits):
        assert _blocks(database, recovered, pack_prefix(1, KIND_TAG, number)) == sorted({max(0, number - 1), number})
    assert _blocks(database, recovered, pack_prefix(1, KIND_TAG, 1_000)) == list(range(commits))
    for number in range(commits, commits + 60):
        _commit(database, recovered, [(pack_prefix(1, KIND_TAG, key), number) for key in (number, 1_000)])
    assert _blocks(database, recovered, pack_prefix(1, KIND_TAG, 1_000)) == list(range(commits + 60))
    assert _table(database) > 0


def test_commits_that_bring_nothing_new_write_nothing():
    """Events of a block whose postings are known cost no row."""
    database, postings = empty_record(), Postings()
    _commit(database, postings, [(pack_prefix(1, KIND_TAG, 1), 0)] * 3)
    _commit(database, postings, [(pack_prefix(1, KIND_TAG, 1), 0)])
    _commit(database, postings, [])
    assert _pending(database) == 1
    assert database.execute("SELECT length(entries) FROM pending_postings").get == 16
