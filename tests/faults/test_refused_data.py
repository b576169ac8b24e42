"""Data directories that cannot be served: each is refused with a sentence that helps, and left as it was found."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from chaukas.server.errors import CannotServeError, StorageError
from chaukas.server.storage.contract import EventFilter
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.testing import make_record
from chaukas.server.testing.conformance_case import opened

from .record_check import check_record
from .work import right
from .workload import commits

_ROOT = Path(__file__).parents[2]


def _refusal(directory: Path, server_name: str = "chaukas.localhost") -> str:
    """Why the directory is not opened; the store is closed as a server would close it."""

    async def run() -> str:
        store = SqliteStore(directory, server_name)
        with pytest.raises(CannotServeError) as raised:
            await store.open()
        await store.close()
        return raised.value.public_message

    return asyncio.run(run())


async def _fill(directory: Path, events: int = 40) -> None:
    async with opened(SqliteStore(directory)) as store:
        await store.append([make_record(f"e{number}", tags=[f"t{number % 3}"]) for number in range(events)])


def _content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}


@contextmanager
def _process(directory: Path, count: int = 1, kill_at: int = 0) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.serving_process", str(directory), str(count), str(kill_at), "0"],
        cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for read in process.stdout:
        if read.strip() == line:
            return
    raise AssertionError(f"the process ended before it said {line!r}: {process.communicate()[1]}")


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    """Another process on the directory is refused, naming the one that has it; when that one is killed the next one starts."""
    with _process(tmp_path) as first:
        _until(first, "waiting")
        message = _refusal(tmp_path)
        assert f"process {first.pid}" in message
        assert str(tmp_path) in message
        first.kill()
        first.wait()

        async def run() -> None:
            work = await right(commits(1, events=40))
            async with opened(SqliteStore(tmp_path)) as store:
                await work.after.check(store)

        asyncio.run(run())
    check_record(tmp_path)


@pytest.mark.parametrize("kill_at", [3, 58, 97, 140, 201, 333])
def test_a_process_killed_at_a_write(tmp_path: Path, kill_at: int) -> None:
    """A real process that dies at a write leaves a directory that opens by itself with everything it acknowledged."""
    with _process(tmp_path, 6, kill_at) as process:
        said, _ = process.communicate("")
        assert process.returncode == -9, f"it was meant to die at change {kill_at} and went on: {said}"
    acknowledged = said.split().count("acknowledged")

    async def run() -> None:
        work = await right(commits(6, events=40))
        async with opened(SqliteStore(tmp_path)) as store:
            assert await store.count(EventFilter()) in (work.stored_after(acknowledged - 1), work.stored_after(acknowledged))
            for items in work.commits[max(0, acknowledged - 1) :]:
                await store.append(items)
            await work.after.check(store)

    asyncio.run(run())
    check_record(tmp_path)


def _foreign(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "record.db")) as database:
        database.execute("CREATE TABLE mine (note TEXT)")
        database.commit()


def _foreign_application(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "record.db")) as database:
        database.execute("PRAGMA application_id = 77")


def _newer(directory: Path) -> None:
    asyncio.run(_fill(directory))
    with closing(sqlite3.connect(directory / "record.db")) as database:
        database.execute("PRAGMA user_version = 4711")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _no_database(directory: Path) -> None:
    (directory / "record.db").write_bytes(b"this is a text, and long enough to be taken for a header of a database" * 40)


def _directory_instead_of_file(directory: Path) -> None:
    (directory / "record.db").mkdir()


def _lost_secret(directory: Path) -> None:
    asyncio.run(_fill(directory))
    with closing(sqlite3.connect(directory / "record.db")) as database:
        database.execute("DELETE FROM meta WHERE key = 'key_secret'")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (_foreign, "is not a Chaukas record"),
        (_foreign_application, "is not a Chaukas record"),
        (_newer, "format 4711"),
        (_no_database, "cannot be opened"),
        (_directory_instead_of_file, "cannot be opened"),
        (_lost_secret, "has lost its key secret"),
    ],
)
def test_what_is_not_our_record_is_refused_and_left_alone(tmp_path: Path, prepare: object, says: str) -> None:
    """A file of somebody else, of a newer version or no database at all is refused and not changed by one byte."""
    assert callable(prepare)
    prepare(tmp_path)
    before = {} if (tmp_path / "record.db").is_dir() else _content(tmp_path)
    for _ in range(2):
        assert says in _refusal(tmp_path)
    if before:
        assert _content(tmp_path) == before


def test_another_server_name_is_refused(tmp_path: Path) -> None:
    """The name is part of every log's origin: a record of another name is refused, and opens under its own."""
    asyncio.run(_fill(tmp_path))
    before = _content(tmp_path)
    assert "'chaukas.localhost'" in _refusal(tmp_path, "other.example")
    assert _content(tmp_path) == before
    asyncio.run(_fill(tmp_path))


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that other users reach; pytest's own are closed to them."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        for path in (directory, *directory.rglob("*")):
            path.chmod(0o755)


@pytest.mark.parametrize("what", ["directory", "database", "missing directory"])
def test_what_cannot_be_written_is_refused(reachable: Path, what: str) -> None:
    """Without the right to write the server does not start: it would take events that it cannot keep."""
    directory = reachable / "data"
    if what != "missing directory":
        asyncio.run(_fill(directory))
    if what == "directory":
        directory.chmod(0o555)
    elif what == "database":
        directory.chmod(0o777)
        (directory / "lock").chmod(0o666)
        (directory / "record.db").chmod(0o444)
    reachable.chmod(0o555)
    # The superuser may write everywhere: a test that runs as one asks as somebody else.
    user = 65534 if os.geteuid() == 0 else 0
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.serving_process", str(directory), "1", "0", str(user)],
        cwd=_ROOT, input="", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("refused: "), done.stderr
    assert f"{directory} cannot be written" in done.stderr


@pytest.mark.parametrize("size", [100, 4096, 3 * 4096, -4096, -1])
def test_a_truncated_database_never_answers_wrongly(tmp_path: Path, size: int) -> None:
    """What is left of a truncated file is refused, or every question that needs the missing part fails: no event is denied."""

    async def run() -> str:
        await _fill(tmp_path, events=3_000)
        path = tmp_path / "record.db"
        os.truncate(path, size if size > 0 else path.stat().st_size + size)
        store = SqliteStore(tmp_path)
        try:
            async with opened(store):
                assert await store.count(EventFilter(tags=frozenset({"t1"}))) == 1_000
                return "answered"
        except (CannotServeError, StorageError) as error:
            return type(error).__name__

    assert asyncio.run(run()) in ("CannotServeError", "StorageError")
