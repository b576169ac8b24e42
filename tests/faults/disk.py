"""A disk that fails when it is told to, and remembers everything that was done to it.

It is an SQLite VFS over the system's own: every change of a file (write, sync, truncate, delete, create) is numbered. A
`Fault` makes some of them fail, before or after they took effect or half-way. With `remember` on, the changes are kept, and
`image` rebuilds the files as a killed process (everything written) or a power cut (only what was synced for sure) leaves them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import apsw

__all__ = ["Change", "Disk", "Fault", "How", "image", "mounted"]

_NUMBERS = itertools.count(1)
#: What a disk writes at once: a torn write ends at a multiple of it.
_SECTOR_BYTES = 512


class How(Enum):
    """When a change fails."""

    NOT_STORED = "failed and not stored"
    STORED = "failed but stored"
    HALF = "half of it stored, then failed"


@dataclass(frozen=True, slots=True)
class Fault:
    """The changes numbered `first` to `last` (counted from 1 since the fault was set) fail."""

    first: int
    last: int
    how: How = How.NOT_STORED
    error: type[apsw.Error] = apsw.IOError


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one file; a sync says that everything before it is on the disk."""

    kind: str
    name: str
    offset: int = 0
    data: bytes = b""


@dataclass(slots=True)
class _Files:
    """The content of a directory, by file name: what programs read, and what would survive a power cut."""

    cached: dict[str, bytearray] = field(default_factory=dict)
    synced: dict[str, bytearray] = field(default_factory=dict)
    #: Changes of each file since its last sync.
    unsynced: dict[str, list[Change]] = field(default_factory=dict)


class Disk(apsw.VFS):
    """Registered under `self.name` until `unregister`."""

    def __init__(self) -> None:
        self.name = f"disk-{next(_NUMBERS)}"
        self.changes = 0
        self.fault: Fault | None = None
        self.faults_hit = 0
        self.read_error: type[apsw.Error] | None = None
        self.remember = False
        self.remembered: list[Change] = []
        super().__init__(self.name, "")

    def set_fault(self, fault: Fault | None) -> None:
        """From now on, counted from 1."""
        self.fault, self.changes, self.faults_hit = fault, 0, 0

    def change(self, change: Change, perform: Callable[[Change], None]) -> None:
        """Perform a change, unless it is its turn to fail."""
        self.changes += 1
        fault = self.fault
        if fault is None or not fault.first <= self.changes <= fault.last:
            self._perform(change, perform)
            return
        self.faults_hit += 1
        if fault.how is How.STORED:
            self._perform(change, perform)
        elif fault.how is How.HALF and change.kind == "write":
            self._perform(Change("write", change.name, change.offset, change.data[: len(change.data) // 2]), perform)
        raise fault.error(f"the disk was told to fail at change {self.changes}: {change.kind} {change.name}")

    def _perform(self, change: Change, perform: Callable[[Change], None]) -> None:
        perform(change)
        if self.remember:
            self.remembered.append(change)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  SQLite's name
        return _DiskFile(self, name, flags)

    def xDelete(self, name: str, sync_directory: bool) -> None:  # noqa: N802  SQLite's name
        self.change(Change("delete", Path(name).name), lambda _: super(Disk, self).xDelete(name, sync_directory))


class _DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        self._name = path.name
        opened = super().__init__
        if flags[0] & apsw.SQLITE_OPEN_CREATE and not path.exists():
            disk.change(Change("create", self._name), lambda _: opened("", name, flags))
        else:
            opened("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  SQLite's name
        if self._disk.read_error is not None:
            raise self._disk.read_error("the disk was told to fail when read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  SQLite's name
        write = super().xWrite
        self._disk.change(Change("write", self._name, offset, bytes(data)), lambda change: write(change.data, offset))

    def xSync(self, flags: int) -> None:  # noqa: N802  SQLite's name
        # Nobody cuts the power of the machine that runs the test: a real sync would cost time and show nothing.
        del flags
        self._disk.change(Change("sync", self._name), lambda _: None)

    def xTruncate(self, size: int) -> None:  # noqa: N802  SQLite's name
        truncate = super().xTruncate
        self._disk.change(Change("truncate", self._name, size), lambda _: truncate(size))


@contextmanager
def mounted() -> Iterator[Disk]:
    """A disk for the block."""
    disk = Disk()
    try:
        yield disk
    finally:
        disk.unregister()


def image(changes: list[Change], target: Path, *, power_cut: random.Random | None = None) -> None:
    """Write the files that `changes` leave behind into `target`.

    Without `power_cut` a killed process is meant: the system keeps everything that was written. With it, what was not synced
    may be there or not, change by change, a write also in part; the random source decides.
    """
    files = _Files()
    for change in changes:
        _apply(files, change)
    content = files.cached
    if power_cut is not None:
        content = files.synced
        for name, unsynced in files.unsynced.items():
            for change in unsynced:
                _survive(content, name, change, power_cut)
    target.mkdir(exist_ok=True)
    for name, data in content.items():
        (target / name).write_bytes(data)


def _apply(files: _Files, change: Change) -> None:
    name = change.name
    if change.kind == "delete":
        # SQLite syncs the directory where it matters; a file that comes back is the harder case and is not tried.
        for held in (files.cached, files.synced, files.unsynced):
            held.pop(name, None)  # type: ignore[attr-defined]
    elif change.kind == "sync":
        files.synced[name] = bytearray(files.cached.get(name, b""))
        files.unsynced.pop(name, None)
    else:
        _put(files.cached.setdefault(name, bytearray()), change)
        files.synced.setdefault(name, bytearray())
        files.unsynced.setdefault(name, []).append(change)


def _put(data: bytearray, change: Change) -> None:
    if change.kind == "truncate":
        del data[change.offset :]
        data.extend(bytes(change.offset - len(data)))
    elif change.kind == "write":
        data.extend(bytes(max(0, change.offset - len(data))))
        data[change.offset : change.offset + len(change.data)] = change.data


def _survive(content: dict[str, bytearray], name: str, change: Change, chance: random.Random) -> None:
    fate = chance.random()
    if fate < 0.4:
        return
    if fate < 0.6 and change.kind == "write":
        kept = chance.randrange(0, len(change.data) + 1, _SECTOR_BYTES)
        change = Change("write", name, change.offset, change.data[:kept])
    _put(content.setdefault(name, bytearray()), change)
