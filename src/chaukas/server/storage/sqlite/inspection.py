"""Looking at a data directory without changing it, whether or not a server is running on it.

While a server runs, a read-only connection shares its write-ahead log. Without one the file is read as immutable: SQLite then
makes no file beside it and takes no lock. A write-ahead log that a crash left behind belongs to the next start; until then the
tables may be half of one commit and half of another, and only the header of the file is read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite.connection import DATABASE_NAME, fetch
from chaukas.server.storage.sqlite.schema import APPLICATION_ID, FORMAT_VERSION, read_meta
from chaukas.server.storage.sqlite.text_index.file import TEXT_INDEX_NAME

__all__ = [
    "FORMAT_VERSION",
    "RecordFigures",
    "indexed_events",
    "inspect_record",
    "library_versions",
    "lock_holder",
    "unrecovered_bytes",
]

_LOCK_NAME: Final = "lock"
_PROC_LOCKS: Final = Path("/proc/locks")
#: `1: FLOCK  ADVISORY  WRITE 4711 fd:00:1234 0 EOF` (proc(5)): process, device and inode of a lock that is held.
_HELD: Final = re.compile(r"^\d+: FLOCK\s+\S+\s+WRITE\s+(-?\d+)\s+([0-9a-f]+):([0-9a-f]+):(\d+) ")
_HEADER_BYTES: Final = 100
_USER_VERSION_AT: Final = 60
_APPLICATION_ID_AT: Final = 68
_SQL_INDEXED: Final = "SELECT coalesce(sum(next_index), 0) FROM indexed"
_SQL_FIGURES: Final = "SELECT count(*), coalesce(sum(next_index), 0), max(received_at_ns) FROM logs"


@dataclass(frozen=True, slots=True)
class RecordFigures:
    """What a record says about itself."""

    #: Whether the file is one of ours at all; nothing else is known when it is not.
    is_record: bool
    #: The number of its last migration; above `FORMAT_VERSION` it is from a newer server.
    format_version: int = 0
    #: The name that its logs' origins begin with; empty where it can not be read.
    server_name: str = ""
    logs: int = 0
    events: int = 0
    #: False when a crash left a write-ahead log: nothing but the first two is known then, and the format may be 0, unknown.
    recovered: bool = True
    #: When the newest event was received, nanoseconds since 1970; None when there is none.
    newest_received_at_ns: int | None = None


def inspect_record(directory: Path, *, served: bool) -> RecordFigures | None:
    """What the record of `directory` says, None when there is none.

    `served` says whether a server is running on it. Raises `CannotServeError` when the file can not be read.
    """
    path = directory / DATABASE_NAME
    if not _exists(path):
        return None
    if not served and unrecovered_bytes(directory):
        return _header_figures(path)
    with _looking_into(path, served=served) as database:
        return _figures(database)


def indexed_events(directory: Path, *, served: bool) -> int | None:
    """How many events the text index has, in sum over all logs; None when there is no index. As `inspect_record` otherwise."""
    path = directory / TEXT_INDEX_NAME
    if not _exists(path):
        return None
    with _looking_into(path, served=served) as database:
        return int(fetch(database, _SQL_INDEXED)[0][0])


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CannotServeError(f"{path} can not be looked at: {error.strerror}") from error
    return True


@contextlib.contextmanager
def _looking_into(path: Path, *, served: bool) -> Iterator[apsw.Connection]:
    mode = "mode=ro" if served else "immutable=1"
    try:
        database = apsw.Connection(
            f"file:{quote(str(path.absolute()))}?{mode}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
    except apsw.Error as error:
        raise CannotServeError(f"{path} can not be opened: {error}") from error
    try:
        database.set_busy_timeout(2_000)
        database.pragma("query_only", 1)
        yield database
    except (apsw.Error, TypeError, ValueError) as error:
        raise CannotServeError(f"{path} can not be read: {error}") from error
    finally:
        database.close()


def _figures(database: apsw.Connection) -> RecordFigures:
    if database.pragma("application_id") != APPLICATION_ID:
        return RecordFigures(is_record=False)
    version = int(database.pragma("user_version"))
    if not 0 < version <= FORMAT_VERSION:
        # The tables of another format are nobody's business here.
        return RecordFigures(is_record=True, format_version=version)
    name = read_meta(database, "server_name")
    logs, events, newest_ns = fetch(database, _SQL_FIGURES)[0]
    return RecordFigures(
        is_record=True,
        format_version=version,
        server_name=name if isinstance(name, str) else "",
        logs=logs,
        events=events,
        newest_received_at_ns=newest_ns,
    )


def _header_figures(path: Path) -> RecordFigures:
    """What the first 100 bytes say (sqlite.org/fileformat, section 1.3). They may be older than the write-ahead log."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise CannotServeError(f"{path} can not be read: {error.strerror}") from error
    if len(header) < _HEADER_BYTES:
        return RecordFigures(is_record=True, recovered=False)
    version, application = (int.from_bytes(header[at : at + 4]) for at in (_USER_VERSION_AT, _APPLICATION_ID_AT))
    return RecordFigures(is_record=application in (0, APPLICATION_ID), format_version=version, recovered=False)


def unrecovered_bytes(directory: Path, name: str = DATABASE_NAME) -> int:
    """Size of the write-ahead log: what the next start works through, if no server is running."""
    try:
        return (directory / f"{name}-wal").stat().st_size
    except OSError:
        return 0


def lock_holder(directory: Path) -> int | None:
    """The process that serves the directory, 0 when it is not known which, None when there is none.

    Takes no lock where the system lists them. Raises `OSError` when the lock file can not be read.
    """
    path = directory / _LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        written = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        named = int(written) if written.isdigit() else 0
        listed = _listed_holder(os.fstat(descriptor), named)
        if listed is not None:
            return listed if listed >= 0 else None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return named
        return None
    finally:
        os.close(descriptor)


def _listed_holder(status: os.stat_result, named: int) -> int | None:
    """The process by the system's list of locks, -1 when nobody holds it, None when there is no such list."""
    try:
        lines = _PROC_LOCKS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        found = _HELD.match(line)
        if found is None or int(found[4]) != status.st_ino:
            continue
        device = os.makedev(int(found[2], 16), int(found[3], 16))
        # Some file systems list a device of their own; then the process that the file names decides.
        if device == status.st_dev or int(found[1]) == named:
            return max(int(found[1]), 0) or named
    return -1 if lines else None


def library_versions() -> dict[str, str]:
    """The versions of SQLite and of its binding."""
    return {"sqlite": apsw.sqlite_lib_version(), "apsw": apsw.apsw_version()}
