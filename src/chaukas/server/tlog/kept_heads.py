"""The newest signed head of every log, kept in a file outside the store.

Whoever can change the database can put an older copy of it back, signed heads and all. What was signed is therefore remembered in
the state directory too, and a store that has less, or something else, is recognised (DESIGN "Tamper evidence": the attacker with
the database). The file is a journal: one line per head, `<origin> <size> <root> <first 8 bytes of SHA-256 of the line>` in hex,
appended and synced before a head is shown. A torn last line is what a crash leaves, and is dropped; any other damage is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from chaukas.server.errors import CannotServeError

__all__ = ["KeptHead", "KeptHeads"]

#: The file is written anew when it has grown to so many bytes, and to twice of what is up to date in it.
_REWRITE_BYTES = 4 * 1024 * 1024
_CHECK_CHARS = 16


@dataclass(frozen=True, slots=True)
class KeptHead:
    """What was signed last."""

    origin: str
    size: int
    root: bytes


class KeptHeads:
    """One process writes the file; nothing in it is secret."""

    def __init__(self, path: Path) -> None:
        """Read the file, which need not exist. Raises `CannotServeError` when it is damaged or cannot be read."""
        self._path = path
        self._heads: dict[str, KeptHead] = {}
        self._size_bytes = 0
        #: What the file had when it was written anew; what was up to date then.
        self._current_bytes = 0
        self._read()

    def get(self, origin: str) -> KeptHead | None:
        """The newest head of a log."""
        return self._heads.get(origin)

    def all(self) -> list[KeptHead]:
        """The newest head of every log."""
        return list(self._heads.values())

    def keep(self, heads: Iterable[KeptHead]) -> None:
        """Remember heads, on the disk when it returns. Raises `OSError`; then nothing is remembered."""
        added = {head.origin: head for head in heads}
        if not added:
            return
        data = "".join(map(_line, added.values())).encode()
        if self._size_bytes + len(data) > max(_REWRITE_BYTES, 2 * self._current_bytes):
            self._rewrite({**self._heads, **added})
        else:
            self._append(data)
        self._heads.update(added)

    def _append(self, data: bytes) -> None:
        created = not self._path.exists()
        with self._path.open("ab") as file:
            # A torn line of an append that failed is cut off first: what follows it could not be read.
            file.truncate(self._size_bytes)
            file.seek(0, os.SEEK_END)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if created:
            _sync_directory(self._path.parent)
        self._size_bytes += len(data)

    def _rewrite(self, heads: dict[str, KeptHead]) -> None:
        """One line per log, in a new file that takes the old one's place; a crash leaves one of the two."""
        data = "".join(map(_line, heads.values())).encode()
        beside = self._path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        _sync_directory(self._path.parent)
        self._size_bytes = self._current_bytes = len(data)

    def _read(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise CannotServeError(f"the file of signed heads {self._path} cannot be read: {error.strerror}") from error
        lines = data.split(b"\n")
        # What stands behind the last newline was never complete.
        lines.pop()
        for number, line in enumerate(lines, 1):
            head = _parse(line)
            if head is None:
                raise CannotServeError(
                    f"the file of signed heads {self._path} is damaged in line {number}; restore it from a backup, because"
                    " without it nobody can tell whether the store was put back to an older state"
                )
            self._heads[head.origin] = head
            self._size_bytes += len(line) + 1


def _line(head: KeptHead) -> str:
    text = f"{head.origin} {head.size} {head.root.hex()}"
    return f"{text} {_check(text)}\n"


def _check(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_CHECK_CHARS]


def _parse(line: bytes) -> KeptHead | None:
    try:
        text, _, check = line.decode("ascii").rpartition(" ")
        origin, size, root = text.split(" ")
        head = KeptHead(origin, int(size), bytes.fromhex(root))
    except ValueError:
        return None
    return head if _check(text) == check and len(head.root) == 32 else None


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
