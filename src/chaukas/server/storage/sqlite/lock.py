"""One server per data directory: a file lock that the operating system releases when the process ends, however it ends.

The process that writes for a server holds the lock too. It may outlive a server that was killed, until its transaction is over; a
server that starts then waits for it, because what it would read before is not what will be there.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from chaukas.server.errors import CannotServeError

__all__ = ["DirectoryLock"]

#: How long a start waits for the writer of a server that is gone.
_LAST_COMMIT_S = 10.0
_LOOK_S = 0.01


class DirectoryLock:
    """Holds `<directory>/lock` (flock) while the store is open."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._descriptor = -1

    @property
    def descriptor(self) -> int:
        """The open file that holds the lock; -1 while it is not held. Whoever inherits it holds the lock too."""
        return self._descriptor

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
        deadline_s = time.monotonic() + _LAST_COMMIT_S
        while not self._locked():
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            if _is_running(holder) or time.monotonic() > deadline_s:
                self.release()
                raise CannotServeError(
                    f"the data directory {self._path.parent} is in use by another server (process {holder or 'unknown'}):"
                    " stop it, or talk to it over its address"
                )
            time.sleep(_LOOK_S)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def _locked(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _is_running(holder: str) -> bool:
    """Whether the process of a lock file still runs, or nobody can tell."""
    if not holder.isdigit():
        return True
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


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
