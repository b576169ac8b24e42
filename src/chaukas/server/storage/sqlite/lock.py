"""One server per data directory: a file lock that the operating system releases when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from chaukas.server.errors import CannotServeError

__all__ = ["DirectoryLock"]


class DirectoryLock:
    """Holds `<directory>/lock` (flock) while the store is open."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._descriptor = -1

    def acquire(self) -> None:
        """Raises `CannotServeError` when another process holds the lock or the directory can not be written."""
        try:
            _make_directory(self._path.parent)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._lock()
        except OSError as error:
            self.release()
            raise CannotServeError(f"the data directory {self._path.parent} cannot be written: {error.strerror}") from error

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise CannotServeError(
                f"the data directory {self._path.parent} is in use by another server (process {holder}):"
                " stop it, or talk to it over its address"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _make_directory(directory: Path) -> None:
    """Create a directory and its parents so that they survive a power cut: SQLite syncs only what it creates itself."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    parent = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
