"""The lock on a data directory."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite import lock
from chaukas.server.storage.sqlite.lock import DirectoryLock


def test_one_holder_at_a_time(tmp_path: Path):
    """The second one is refused and named the first; when the first lets go, it may come in."""
    directory = tmp_path / "a" / "b"
    first, second = DirectoryLock(directory), DirectoryLock(directory)
    first.acquire()
    with pytest.raises(CannotServeError, match=f"process {os.getpid()}"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()
    assert directory.stat().st_mode & 0o777 == 0o700, "what agents did is nobody else's business"


@pytest.mark.parametrize("failing", ["ftruncate", "pwrite", "mkdir", "fsync"])
def test_a_full_disk_refuses_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str):
    """Whatever cannot be written on the way to the lock, the server says so, and leaves the directory to the next one."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    directory = tmp_path / "data"
    with monkeypatch.context() as patched:
        patched.setattr(lock.os, failing, fail) if failing != "mkdir" else patched.setattr(Path, "mkdir", fail)
        with pytest.raises(CannotServeError, match="cannot be written: No space left on device"):
            DirectoryLock(directory).acquire()
    held = DirectoryLock(directory)
    held.acquire()
    held.release()


def test_a_file_in_the_way_is_named(tmp_path: Path):
    """A data directory that is a file is refused with its name."""
    (tmp_path / "data").write_text("mine")
    with pytest.raises(CannotServeError, match="data cannot be written"):
        DirectoryLock(tmp_path / "data").acquire()
    assert (tmp_path / "data").read_text() == "mine"


def _held_by_the_writer_of(directory: Path, holder: int) -> int:
    """What the writer of a server holds after that was killed: the open file of its lock."""
    held = DirectoryLock(directory)
    held.acquire()
    (directory / "lock").write_text(f"{holder}\n")
    writer = os.dup(held.descriptor)
    held.release()
    return writer


def test_a_start_waits_for_the_last_commit_of_a_killed_server(tmp_path: Path):
    """While the writer of a server that is gone holds the lock the next one waits, and goes on once it lets go."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    writer = _held_by_the_writer_of(tmp_path, gone.pid)
    timer = threading.Timer(0.2, os.close, (writer,))
    timer.start()
    began = time.monotonic()
    late = DirectoryLock(tmp_path)
    late.acquire()
    assert time.monotonic() - began > 0.1
    late.release()
    timer.join()


def test_a_start_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A writer that never lets go, with its server gone, is named as what it is: another server."""
    monkeypatch.setattr(lock, "_LAST_COMMIT_S", 0.05)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    writer = _held_by_the_writer_of(tmp_path, gone.pid)
    try:
        with pytest.raises(CannotServeError, match=f"in use by another server \\(process {gone.pid}\\)"):
            DirectoryLock(tmp_path).acquire()
    finally:
        os.close(writer)
