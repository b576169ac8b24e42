"""Looking at a data directory without changing it."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import apsw
import pytest

from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite import inspection
from chaukas.server.storage.sqlite.connection import DATABASE_NAME, connect
from chaukas.server.storage.sqlite.inspection import (
    FORMAT_VERSION,
    indexed_events,
    inspect_record,
    lock_holder,
    unrecovered_bytes,
)
from chaukas.server.storage.sqlite.lock import DirectoryLock
from chaukas.server.storage.sqlite.schema import migrate
from chaukas.server.storage.sqlite.text_index.file import TEXT_INDEX_NAME, create_tables, open_index


def contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A directory with an empty record."""
    database = connect(tmp_path, writer=True, cache_kib=1024)
    migrate(database, "log.example.com")
    database.close()
    return tmp_path


def test_a_record_says_what_it_is(record: Path) -> None:
    """Format, server name and amounts are read, and no file appears, vanishes or changes."""
    before = contents(record)
    figures = inspect_record(record, served=False)
    assert figures is not None
    assert (figures.is_record, figures.format_version, figures.server_name) == (True, FORMAT_VERSION, "log.example.com")
    assert (figures.logs, figures.events, figures.newest_received_at_ns) == (0, 0, None)
    assert contents(record) == before


def test_a_record_in_use_is_read_beside_its_writer(record: Path) -> None:
    """With a server at work the newest state is read, and its files stay as they are."""
    database = connect(record, writer=True, cache_kib=1024)
    try:
        database.execute("UPDATE meta SET value = 'other.example.com' WHERE key = 'server_name'")
        figures = inspect_record(record, served=True)
        assert figures is not None
        assert figures.server_name == "other.example.com"
        assert unrecovered_bytes(record) > 0
    finally:
        database.close()


def test_after_a_crash_nothing_is_guessed(tmp_path: Path) -> None:
    """With a write-ahead log that nobody worked through only the header counts, also when it holds the whole record."""
    database = connect(tmp_path, writer=True, cache_kib=1024)
    database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    migrate(database, "log.example.com")
    database.close()
    before = contents(tmp_path)
    assert unrecovered_bytes(tmp_path) > 0
    figures = inspect_record(tmp_path, served=False)
    assert figures is not None
    assert (figures.is_record, figures.recovered, figures.events) == (True, False, 0)
    assert contents(tmp_path) == before
    (tmp_path / DATABASE_NAME).write_bytes(b"")
    empty = inspect_record(tmp_path, served=False)
    assert empty is not None
    assert not empty.recovered
    header = b"SQLite format 3\0" + bytes(52) + b"GP10" + bytes(28)
    (tmp_path / DATABASE_NAME).write_bytes(header)
    foreign = inspect_record(tmp_path, served=False)
    assert foreign is not None
    assert not foreign.is_record


def test_a_newer_format_is_told_and_not_read(record: Path) -> None:
    """Of a format that this version does not know only the number is read."""
    database = apsw.Connection(str(record / DATABASE_NAME))
    database.pragma("user_version", FORMAT_VERSION + 1)
    database.execute("DROP TABLE logs")
    database.close()
    figures = inspect_record(record, served=False)
    assert figures is not None
    assert (figures.is_record, figures.format_version, figures.server_name) == (True, FORMAT_VERSION + 1, "")


def test_what_is_no_record_is_told(tmp_path: Path) -> None:
    """No file is None, another SQLite file is no record, and what SQLite can not read is an error with its path."""
    assert inspect_record(tmp_path, served=False) is None
    assert unrecovered_bytes(tmp_path) == 0
    database = apsw.Connection(str(tmp_path / DATABASE_NAME))
    database.execute("CREATE TABLE other (x)")
    database.close()
    figures = inspect_record(tmp_path, served=False)
    assert figures is not None
    assert not figures.is_record
    (tmp_path / DATABASE_NAME).write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises(CannotServeError, match=DATABASE_NAME):
        inspect_record(tmp_path, served=False)


def test_a_record_that_is_closed_to_this_user_is_told(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of another user is an error that names the file, not a record that is not there."""

    def closed(path: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", closed)
        with pytest.raises(CannotServeError, match=r"record\.db can not be looked at: Permission denied"):
            inspect_record(record, served=False)


def test_the_text_index_says_how_far_it_is(record: Path) -> None:
    """The sum of the positions of all logs is told, None without an index, and nothing is changed."""
    assert indexed_events(record, served=False) is None
    with open_index(record, writer=True, cache_kib=1024) as database:
        create_tables(database)
        database.execute("INSERT INTO indexed VALUES (1, 40, x''), (2, 2, x'')")
    database.close()
    before = contents(record)
    assert indexed_events(record, served=False) == 42
    assert contents(record) == before
    (record / TEXT_INDEX_NAME).write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises(CannotServeError, match=TEXT_INDEX_NAME):
        indexed_events(record, served=False)


@pytest.mark.parametrize("listed", [True, False])
def test_the_holder_of_the_lock_is_named(tmp_path: Path, listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server holds the directory its process is named, otherwise nobody; with and without a list of locks."""
    if not listed:
        monkeypatch.setattr(inspection, "_PROC_LOCKS", tmp_path / "missing")
    assert lock_holder(tmp_path) is None
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    try:
        assert lock_holder(tmp_path) == os.getpid()
    finally:
        lock.release()
    assert lock_holder(tmp_path) is None


def test_asking_for_the_holder_takes_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts in the same moment is not kept out by the question."""
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    lock.release()
    if not Path("/proc/locks").read_text():
        pytest.skip("this system lists no locks")
    monkeypatch.setattr(fcntl, "flock", lambda *_: pytest.fail("a lock was taken"))
    assert lock_holder(tmp_path) is None
