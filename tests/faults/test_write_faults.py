"""Every write, sync, truncation, deletion and creation of a file fails once, in each way that it can."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from chaukas.server.errors import CannotServeError, StorageError
from chaukas.server.storage.contract import EventFilter, IngestStatus, Outcome
from chaukas.server.storage.sqlite import SqliteStore, appender, duplicates, logs, postings, quarantine, sessions
from chaukas.server.testing.conformance_case import opened

from .comparison import assert_answers, assert_duplicates
from .disk import Disk, Fault, How, mounted
from .record_check import check_record
from .work import Work, right
from .workload import Items, commits

_MakeStore = Callable[..., SqliteStore]
#: Commits that stand in the store before the faults begin, and those that meet them: blocks are sealed in them, a generation
#: of postings is being merged, the log is checkpointed.
_BEFORE, _DURING = 7, 4


async def _append_until_taken(store: SqliteStore, items: Items, expected: list[Outcome]) -> int:
    """Returns how often the append failed; nothing but `StorageError` tells a client to send again."""
    for failures in range(3):
        try:
            answers = await store.append(items)
        except StorageError:
            continue
        assert_answers(answers, expected, again=failures > 0)
        return failures
    raise AssertionError("one fault must not fail a commit three times")


async def _live_through(store: SqliteStore, disk: Disk, fault: Fault | None, work: Work, first: int) -> int:
    """Take the commits from `first` on while the fault happens, and close; returns how many appends failed."""
    failures = 0
    await store.open()
    disk.set_fault(fault)
    try:
        for number in range(first, len(work.commits)):
            failures += await _append_until_taken(store, work.commits[number], work.outcomes[number])
            # Readers see every acknowledged commit, whatever happened to the writer meanwhile.
            assert await store.count(EventFilter()) == work.stored_after(number)
    finally:
        await store.close()
    return failures


async def _check(store: SqliteStore, directory: Path, work: Work, events_per_block: int) -> None:
    async with opened(store):
        await work.after.check(store)
        for items in work.commits:
            await assert_duplicates(store, items)
    check_record(directory, events_per_block=events_per_block)


@pytest.mark.parametrize("how", How)
def test_each_change_fails_once(make_store: _MakeStore, tmp_path: Path, small_blocks: int, how: How) -> None:
    """A failing disk never makes a false acknowledgement or a loss: sent again, every event stands in the record once."""

    async def run() -> None:
        work = await right(commits(_BEFORE + _DURING))
        with mounted() as disk:
            base = tmp_path / "base"
            async with opened(make_store(base)) as store:
                for items in work.commits[:_BEFORE]:
                    await store.append(items)
            number, failures = 0, 0
            while True:
                number += 1
                directory = tmp_path / "data"
                shutil.copytree(base, directory)
                failures += await _live_through(make_store(directory, disk.name), disk, Fault(number, number, how), work, _BEFORE)
                hit = disk.faults_hit
                disk.set_fault(None)
                await _check(make_store(directory, disk.name), directory, work, small_blocks)
                shutil.rmtree(directory)
                if not hit:
                    break
            print(f"{number - 1} changes failed ({how.value}), {failures} appends with them")
            assert number > 100, "the work changes files more often than that: the faults were not injected"
            assert failures > number / 2, "most changes belong to a commit, which must have failed with them"

    asyncio.run(run())


@pytest.mark.parametrize("how", How)
def test_each_change_of_the_first_opening_fails_once(make_store: _MakeStore, tmp_path: Path, how: How) -> None:
    """A new data directory whose disk fails is refused with `CannotServeError`, and the next start finishes what was begun."""

    async def run() -> None:
        refused: list[str] = []
        number = 0
        with mounted() as disk:
            while True:
                number += 1
                directory = tmp_path / str(number)
                disk.set_fault(Fault(number, number, how))
                store = make_store(directory, disk.name)
                try:
                    await store.open()
                except CannotServeError as error:
                    refused.append(error.public_message)
                await store.close()
                hit = disk.faults_hit
                disk.set_fault(None)
                async with opened(make_store(directory, disk.name)) as store:
                    (outcome,) = await store.append(commits(1)[0][:1])
                    assert outcome.status is IngestStatus.ACCEPTED
                    assert await store.count(EventFilter()) == 1
                check_record(directory)
                if not hit:
                    break
        assert len(refused) > 40, "creating the database takes more changes than that"
        assert all(str(tmp_path) in message for message in refused), "an operator must read which directory it is"

    asyncio.run(run())


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError, apsw.CantOpenError])
def test_a_disk_that_stays_full_and_recovers(make_store: _MakeStore, tmp_path: Path, error: type[apsw.Error]) -> None:
    """While the disk is full every append fails and every question is answered; when there is room again, appends work."""

    async def run() -> None:
        work = await right(commits(10))
        with mounted() as disk:
            async with opened(make_store(tmp_path, disk.name)) as store:
                for number, (items, expected) in enumerate(zip(work.commits, work.outcomes, strict=True)):
                    # The disk runs full at another change of each commit: at its first one, its second one, and so on.
                    disk.set_fault(Fault(1 + number, 1_000_000, How.HALF, error))
                    for _ in range(3):
                        with pytest.raises(StorageError) as raised:
                            await store.append(items)
                        assert "nothing of this request was acknowledged" in raised.value.public_message
                        assert await store.count(EventFilter()) == work.stored_after(number - 1)
                        assert (await store.stats(None, None, None, None)).total_events == work.stored_after(number - 1)
                    if row := await store.quarantine_list(None, None, 1):
                        with pytest.raises(StorageError):
                            await store.quarantine_remove(row[0].quarantine_id)
                    disk.set_fault(None)
                    assert_answers(await store.append(items), expected)
                await work.after.check(store)
        check_record(tmp_path, events_per_block=16)

    asyncio.run(run())


@pytest.mark.parametrize("error", [apsw.IOError, apsw.CorruptError])
def test_reading_fails_and_recovers(make_store: _MakeStore, tmp_path: Path, error: type[apsw.Error]) -> None:
    """A disk that cannot be read gives `StorageError` to questions; afterwards all are answered again, nothing is stuck."""

    async def run() -> None:
        work = await right(commits(6))
        with mounted() as disk:
            async with opened(make_store(tmp_path, disk.name)) as store:
                for items in work.commits:
                    # Connections that are at work already, and whose cache the commit makes void.
                    await asyncio.gather(*(store.info() for _ in range(8)))
                    await store.append(items)
                    disk.read_error = error
                    questions = [
                        store.count(EventFilter(session_id="s1")),
                        store.stats("acme", "shop", 1, None),
                        store.info(),
                    ] * 4
                    answers = await asyncio.gather(*questions, return_exceptions=True)
                    failed = [answer for answer in answers if isinstance(answer, BaseException)]
                    assert failed
                    assert {type(error) for error in failed} == {StorageError}
                    disk.read_error = None
                await asyncio.gather(*(work.after.check(store) for _ in range(4)))
                for items in work.commits:
                    await assert_duplicates(store, items)

    asyncio.run(run())


_STEPS = [
    (sessions.Sessions, "touch"),
    (sessions.Sessions, "write"),
    (postings.Postings, "add"),
    (logs.Logs, "head"),
    (logs.Logs, "advance"),
    (quarantine.Quarantine, "keep"),
    (duplicates.Duplicates, "stored"),
    (appender, "write_slice"),
    (appender, "encode_bodies"),
]


@pytest.mark.parametrize(("owner", "step"), _STEPS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("how", [How.NOT_STORED, How.STORED])
@pytest.mark.parametrize("then", ["recovered", "not even recovered"])
def test_each_step_of_the_writer_fails(
    make_store: _MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, step: str, how: How, then: str
) -> None:
    """An error where nobody expects one (out of memory, a fault of ours) leaves memory and record as they were."""
    perform, recover = getattr(owner, step), postings.Postings.recover
    broken, failures = False, 0

    def fail(*arguments: object, **named: object) -> object:
        nonlocal failures
        done = perform(*arguments, **named) if how is How.STORED or not broken else None
        if broken:
            failures += 1
            raise MemoryError(step)
        return done

    def fail_to_recover(*arguments: Any) -> None:
        nonlocal failures
        if broken and then == "not even recovered":
            failures += 1
            raise MemoryError("recover")
        recover(*arguments)

    static = isinstance(inspect.getattr_static(owner, step), staticmethod)
    monkeypatch.setattr(owner, step, staticmethod(fail) if static else fail)
    monkeypatch.setattr(postings.Postings, "recover", fail_to_recover)

    async def run() -> None:
        nonlocal broken
        work = await right(commits(8))
        with mounted() as disk:
            async with opened(make_store(tmp_path, disk.name)) as store:
                for items, expected in zip(work.commits, work.outcomes, strict=True):
                    for part in (items[: len(items) // 2], items):
                        broken = True
                        # A part that never comes to the broken step is stored.
                        with contextlib.suppress(MemoryError):
                            await store.append(part)
                        broken = False
                    assert_answers(await store.append(items), expected, again=True)
                await work.after.check(store)
        assert failures > 3
        check_record(tmp_path, events_per_block=16)

    asyncio.run(run())
