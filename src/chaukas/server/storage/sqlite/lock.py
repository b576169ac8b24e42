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
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotServeError(f"the data directory {self._path.parent} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise CannotServeError(
                f"the data directory {self._path.parent} is in use by another server (process {holder}):"
                " stop it, or talk to it over its address"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
