"""The process that writes the record: it may end at any moment, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from chaukas.server.errors import CannotServeError, OverloadedError, StorageError
from chaukas.server.storage.contract import EventFilter, IngestStatus, QuarantineItem
from chaukas.server.storage.log_contract import LogKeeping
from chaukas.server.storage.sqlite import SqliteStore, WriterProcessSettings
from chaukas.server.testing import make_record

pytestmark = pytest.mark.anyio

_GONE_S = 10.0


@asynccontextmanager
async def _store(directory: Path, problems: list[str], quarantine_items_max: int = 100) -> AsyncIterator[SqliteStore]:
    settings = WriterProcessSettings(on_problem=problems.append)
    store = SqliteStore(directory, quarantine_items_max=quarantine_items_max, writer_process=settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _writer() -> psutil.Process:
    """The one that this process has started."""
    (writer,) = [each for each in psutil.Process().children() if any("writer_child" in word for word in each.cmdline())]
    return writer


async def test_a_writer_that_was_killed_is_replaced(tmp_path: Path):
    """After `kill -9` of the writer a call fails as retryable, or the next one works; what was acknowledged is stored once."""
    problems: list[str] = []
    acknowledged: list[str] = []
    async with _store(tmp_path, problems) as store:
        for number in range(40):
            name = f"event-{number}"
            if number in (10, 25):
                _writer().kill()
            try:
                (outcome,) = await store.append([make_record(name)])
            except StorageError:
                (outcome,) = await store.append([make_record(name)])
            assert outcome.status in {IngestStatus.ACCEPTED, IngestStatus.DUPLICATE}
            acknowledged.append(name)
        assert await store.count(EventFilter()) == len(acknowledged) == 40
        for name in acknowledged:
            assert (await store.append([make_record(name)]))[0].status is IngestStatus.DUPLICATE
    assert problems == ["the process that writes the record ended (status -9); it is started again"] * 2


async def test_calls_under_way_hear_of_the_end(tmp_path: Path):
    """Everybody who waits when the writer dies is told that nothing was acknowledged; nobody waits for ever."""
    problems: list[str] = []
    async with _store(tmp_path, problems) as store:
        await store.append([make_record("first")])
        writer = _writer()
        writer.suspend()
        waiting = [asyncio.create_task(store.append([make_record(f"waits-{number}")])) for number in range(5)]
        await asyncio.sleep(0.05)
        assert not any(each.done() for each in waiting)
        writer.kill()
        failures = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), _GONE_S)
        assert {type(failure) for failure in failures} == {StorageError}
        (outcome,) = await store.append([make_record("waits-0")])
        assert outcome.status is IngestStatus.ACCEPTED


async def test_a_request_to_end_is_the_servers(tmp_path: Path):
    """SIGTERM and SIGINT to the whole group of processes do not end the writer before the server is done."""
    async with _store(tmp_path, []) as store:
        writer = _writer()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(writer.pid, number)
        (outcome,) = await store.append([make_record("after")])
        assert outcome.status is IngestStatus.ACCEPTED
        assert _writer() == writer
    assert not writer.is_running()


async def test_errors_come_through_as_they_are(tmp_path: Path):
    """What the store refuses is the same error in a thread and in a process, with its sentence."""
    async with _store(tmp_path, [], quarantine_items_max=1) as store:
        items = [QuarantineItem("acme", "shop", f"event-{number}", b"raw%d" % number, ("why",)) for number in range(2)]
        with pytest.raises(OverloadedError, match=r"the quarantine is full \(1 of 1 items"):
            await store.append(items)
        (kept,) = await store.append(items[:1])
        assert kept.status is IngestStatus.QUARANTINED
        assert await store.quarantine_remove(kept.quarantine_id)
        assert isinstance(store, LogKeeping)
        with pytest.raises(StorageError, match="there is no log with the number 7"):
            await store.log_store.append_others(7, [])


async def test_a_foreign_directory_is_refused(tmp_path: Path):
    """What the writer says when it cannot open the record is what the start says, and no process stays behind."""
    (tmp_path / "record.db").write_bytes(b"not a database" * 100)
    store = SqliteStore(tmp_path, writer_process=WriterProcessSettings())
    with pytest.raises(CannotServeError, match="cannot be opened: "):
        await store.open()
    assert not [each for each in psutil.Process().children() if any("writer_child" in word for word in each.cmdline())]


def test_the_writer_ends_with_its_server(tmp_path: Path):
    """A server that is killed takes its writer with it, and leaves the directory to the next one."""
    program = (
        "import asyncio, pathlib, sys, time\n"
        "from chaukas.server.storage.sqlite import SqliteStore, WriterProcessSettings\n"
        "async def main():\n"
        "    store = SqliteStore(pathlib.Path(sys.argv[1]), writer_process=WriterProcessSettings())\n"
        "    await store.open()\n"
        "    print('open', flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"open\n"
        (writer,) = psutil.Process(server.pid).children()
        server.kill()
    writer.wait(_GONE_S)

    async def take_over() -> int:
        async with _store(tmp_path, []) as store:
            return await store.count(EventFilter())

    assert asyncio.run(take_over()) == 0
