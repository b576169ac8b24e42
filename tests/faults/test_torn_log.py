"""A write-ahead log whose end is torn, as a crash in the middle of a transaction leaves it."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chaukas.server.storage.contract import EventFilter
from chaukas.server.storage.sqlite import SqliteStore, connection
from chaukas.server.testing.conformance_case import opened

from .comparison import assert_answers, assert_duplicates
from .disk import mounted
from .record_check import check_record
from .work import Work, right
from .workload import commits

_MakeStore = Callable[..., SqliteStore]
_POSITIONS = 40


async def _unfinished(make_store: _MakeStore, running: Path, kept: Path, work: Work, disk_name: str) -> int:
    """A copy in `kept` of the files of a store at work; returns the log's length before the last commit of `work`."""
    async with opened(make_store(running, disk_name)) as store:
        for items in work.commits[:-1]:
            await store.append(items)
        before = (running / "record.db-wal").stat().st_size
        await store.append(work.commits[-1])
        shutil.copytree(running, kept, ignore=shutil.ignore_patterns("*-shm"))
        return before


async def _opens_well(store: SqliteStore, directory: Path, work: Work, events_per_block: int) -> bool:
    """Everything but the last commit is there, the last one wholly or not at all; returns whether it is there."""
    last = len(work.commits) - 1
    found = {(kept.origin, kept.index): kept.stored for kept in check_record(directory, events_per_block=events_per_block)}
    assert found in (work.record_after(last - 1), work.record_after(last))
    async with opened(store):
        assert await store.count(EventFilter()) == len(found)
        for items in work.commits[:-1]:
            await assert_duplicates(store, items)
        assert_answers(await store.append(work.commits[-1]), work.outcomes[-1], again=True)
        await work.after.check(store)
    check_record(directory, events_per_block=events_per_block)
    return found == work.record_after(last)


@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
def test_a_torn_tail_loses_only_the_last_transaction(
    make_store: _MakeStore, tmp_path: Path, small_blocks: int, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """Wherever the last transaction is torn, the store opens by itself with every earlier one, and takes the last one again."""

    # No checkpoint in between: every commit stands in the log.
    monkeypatch.setattr(connection, "_CHECKPOINT_PAGES", 10_000)

    async def run() -> None:
        work = await right(commits(9))
        with mounted() as disk:
            before = await _unfinished(make_store, tmp_path / "running", tmp_path / "kept", work, disk.name)
        whole = (tmp_path / "kept" / "record.db-wal").read_bytes()
        assert len(whole) > before > 0, "the last commit stands at the end of the log"
        chance = random.Random(7)
        positions = {before, before + 1, before + 23, before + 24, len(whole) - 1, len(whole)}
        positions |= {chance.randrange(before, len(whole)) for _ in range(_POSITIONS)}
        complete = 0
        for position in sorted(positions):
            directory = tmp_path / "torn"
            shutil.copytree(tmp_path / "kept", directory)
            rest = b"" if damage == "cut off" else chance.randbytes(len(whole) - position)
            (directory / "record.db-wal").write_bytes(whole[:position] + rest)
            with mounted() as disk:
                complete += await _opens_well(make_store(directory, disk.name), directory, work, small_blocks)
            shutil.rmtree(directory)
        assert complete == 1, "only the untouched log holds the last transaction"

    asyncio.run(run())
