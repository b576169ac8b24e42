"""The record as a crash leaves it, at every write: nothing acknowledged is missing, nothing half-written shows, work goes on.

The changes of one run are remembered and the files rebuilt as they stood after each of them: with everything written, as after
`kill -9`, and with only what was synced for sure, as after a power cut, which a killed process alone can never show.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from chaukas.server.storage.contract import EventFilter
from chaukas.server.storage.sqlite import SqliteStore, record_writer
from chaukas.server.testing.conformance_case import opened

from .comparison import assert_answers, assert_duplicates
from .disk import Change, image, mounted
from .record_check import check_record
from .work import Work, right
from .workload import commits

_MakeStore = Callable[..., SqliteStore]
#: Enough for two generations of postings to be merged, for blocks to be sealed in both logs and for several checkpoints.
_COMMITS = 12
_SEED = int(os.environ.get("CHAUKAS_TEST_SEED", "1"))


@dataclass(frozen=True, slots=True)
class _Run:
    """What happened to the disk, and after how many changes each commit was acknowledged."""

    changes: list[Change]
    acknowledged_at: list[int]

    def acknowledged(self, changes: int) -> int:
        """The number of commits that were acknowledged when this many changes had happened."""
        return sum(at <= changes for at in self.acknowledged_at)


async def _remembered_run(make_store: _MakeStore, directory: Path, work: Work) -> _Run:
    with mounted() as disk:
        disk.remember = True
        acknowledged_at = []
        async with opened(make_store(directory, disk.name)) as running:
            for items, expected in zip(work.commits, work.outcomes, strict=True):
                assert_answers(await running.append(items), expected)
                acknowledged_at.append(len(disk.remembered))
    run = _Run(disk.remembered, acknowledged_at)
    _assert_eventful(run, directory)
    return run


def _assert_eventful(run: _Run, directory: Path) -> None:
    """What must survive a crash did happen: checkpoints while commits came, sealed blocks, merged postings and waiting ones."""
    during = run.changes[run.acknowledged_at[0] : run.acknowledged_at[-1]]
    assert sum(change.kind == "write" and change.name == "record.db" for change in during) > 10
    with contextlib.closing(apsw.Connection(str(directory / "record.db"), flags=apsw.SQLITE_OPEN_READONLY)) as database:
        for table in ("block_columns", "tail", "postings", "pending_postings"):
            assert database.execute(f"SELECT count(*) FROM {table}").get > 0, table  # noqa: S608  names of our tables


async def _survived(
    open_store: Callable[[], SqliteStore], directory: Path, work: Work, acknowledged: int, events_per_block: int
) -> None:
    """Open what a crash left; all acknowledged commits are there and the one in flight wholly or not at all; go on with it."""
    async with opened(open_store()) as reopened:
        found = {(kept.origin, kept.index): kept.stored for kept in check_record(directory, events_per_block=events_per_block)}
        assert await reopened.count(EventFilter()) == len(found)
        assert found in [work.record_after(number) for number in (acknowledged - 1, acknowledged)], "lost, torn or made up"
        for number in range(acknowledged):
            await assert_duplicates(reopened, work.commits[number])
        for number in range(acknowledged, min(acknowledged + 2, len(work.commits))):
            assert_answers(await reopened.append(work.commits[number]), work.outcomes[number], again=number == acknowledged)
        if acknowledged + 2 >= len(work.commits):
            await work.after.check(reopened)
        check_record(directory, events_per_block=events_per_block)


@pytest.mark.parametrize("crash", ["killed", "power cut"])
def test_a_crash_at_every_write(make_store: _MakeStore, tmp_path: Path, small_blocks: int, crash: str) -> None:
    """Whenever the process or the machine stops, all acknowledged events are in the record afterwards, whole and once."""

    async def run() -> None:
        work = await right(commits(_COMMITS, seed=_SEED))
        remembered = await _remembered_run(make_store, tmp_path / "run", work)
        chance, step = (random.Random(_SEED), 2) if crash == "power cut" else (None, 1)
        directory = tmp_path / "image"
        with mounted() as disk:
            for changes in range(0, len(remembered.changes) + 1, step):
                image(remembered.changes[:changes], directory, power_cut=chance)
                acknowledged = remembered.acknowledged(changes)
                try:
                    await _survived(lambda: make_store(directory, disk.name), directory, work, acknowledged, small_blocks)
                except Exception as error:
                    error.add_note(f"{crash} after change {changes} of {len(remembered.changes)}, seed {_SEED}")
                    raise
                shutil.rmtree(directory)

    asyncio.run(run())


def test_the_power_cut_notices_a_missing_sync(make_store: _MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the power cut is one that can fail: without syncs, acknowledged commits are missing after it."""
    connect = record_writer.connect

    def connect_without_sync(*arguments: Any, **named: Any) -> apsw.Connection:
        database = connect(*arguments, **named)
        database.pragma("synchronous", "off")
        return database

    async def run() -> None:
        work = await right(commits(_COMMITS, seed=_SEED))
        with monkeypatch.context() as patched:
            patched.setattr(record_writer, "connect", connect_without_sync)
            remembered = await _remembered_run(make_store, tmp_path / "run", work)
        for number, changes in enumerate(remembered.acknowledged_at):
            directory = tmp_path / f"image-{number}"
            image(remembered.changes[:changes], directory, power_cut=random.Random(number))
            kept = 0
            # How a file that never should exist fails the reader is no matter here.
            with contextlib.suppress(Exception):
                async with opened(make_store(directory)) as reopened:
                    kept = await reopened.count(EventFilter())
            assert kept < work.stored_after(number)

    asyncio.run(run())
