"""The lock on a data directory."""

from __future__ import annotations

import errno
import os
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
