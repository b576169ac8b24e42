"""The files of an export, in a directory or in a ZIP archive, read without unpacking and with bounded memory.

Nothing is opened but names that the format has. Whatever is wrong with the container is a `VerificationError`; what cannot be
read at all, because of the file system, is an `UnsupportedError`.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import IO, Protocol

from chaukas.verify.errors import UnsupportedError, VerificationError

__all__ = ["DirectoryExport", "ExportFiles", "FileReader", "ZipExport", "open_export"]

#: More files than this are not looked at.
FILES_MAX = 10_000_000
_CHUNK_BYTES = 1 << 20
#: What reading a broken or hostile archive may raise (zipfile documents only the first).
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, LookupError,
    OverflowError, AttributeError,
)  # fmt: skip


class ExportFiles(Protocol):
    """A container of files, named by their paths within the export."""

    def names(self) -> frozenset[str]:
        """All of them."""

    def open(self, name: str) -> FileReader:
        """Begin to read one. `VerificationError` if it is not there."""

    def close(self) -> None:
        """Let go of the container."""


class FileReader:
    """One file, read once from the beginning to the end; `digest` is that of what was read so far."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._hash = sha256()

    def read_up_to(self, count: int) -> bytes:
        """Up to `count` bytes; fewer at the end of the file only."""
        try:
            data = self._file.read(count)
        except OSError as error:
            raise UnsupportedError(f"{self._name} cannot be read: {error}") from error
        except _ARCHIVE_ERRORS as error:
            raise VerificationError(f"{self._name} cannot be unpacked: {error}") from error
        self._hash.update(data)
        return data

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises `VerificationError` if the file ends before them."""
        parts, missing = [], count
        while missing:  # in pieces, so that a false length cannot ask for more memory than the file has bytes
            part = self.read_up_to(min(missing, _CHUNK_BYTES))
            if not part:
                raise VerificationError(f"{self._name} ends in the middle of a record")
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def number(self, count: int) -> int:
        """A big-endian number of `count` bytes."""
        return int.from_bytes(self.take(count), "big")

    def rest(self, bytes_max: int) -> bytes:
        """All that is left. Raises `VerificationError` if that is more than `bytes_max` bytes."""
        parts, total = [], 0
        while part := self.read_up_to(_CHUNK_BYTES):
            parts.append(part)
            total += len(part)
            if total > bytes_max:
                raise VerificationError(f"{self._name} has more than {bytes_max} bytes")
        return b"".join(parts)

    def finish(self) -> None:
        """Read on to the end; raises `VerificationError` if anything is left."""
        if self.read_up_to(1):
            self.drain()
            raise VerificationError(f"{self._name} goes on after its last record")

    def drain(self) -> None:
        """Read to the end for the digest's sake."""
        while self.read_up_to(_CHUNK_BYTES):
            continue

    @property
    def digest(self) -> str:
        """SHA-256 of what was read, in hex."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class DirectoryExport:
    """An export as a directory. Symbolic links and special files in it are not followed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        found: set[str] = set()
        try:
            for path in _regular_files(root):
                found.add(path.relative_to(root).as_posix())
                if len(found) > FILES_MAX:
                    raise VerificationError(f"the export has more than {FILES_MAX} files")
        except OSError as error:
            raise UnsupportedError(f"the export cannot be read: {error}") from error
        self._names = frozenset(found)

    def names(self) -> frozenset[str]:
        """All files."""
        return self._names

    def open(self, name: str) -> FileReader:
        """Begin to read one."""
        if name not in self._names:
            raise VerificationError(f"the export has no file {name}")
        try:
            return FileReader((self._root / name).open("rb"), name)
        except OSError as error:
            raise UnsupportedError(f"{name} cannot be read: {error}") from error

    def close(self) -> None:
        """Nothing is held open."""


def _regular_files(directory: Path) -> Iterable[Path]:
    waiting = [directory]
    while waiting:
        for path in waiting.pop().iterdir():
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                waiting.append(path)
            elif stat.S_ISREG(mode):
                yield path


class ZipExport:
    """An export as a ZIP archive, stored or deflated."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except OSError as error:
            raise UnsupportedError(f"the export cannot be read: {error}") from error
        except _ARCHIVE_ERRORS as error:
            raise VerificationError(f"the export is no ZIP archive: {error}") from error
        names = [info.filename for info in self._archive.infolist() if not info.is_dir()]
        self._names = frozenset(names)
        if len(names) != len(self._names):
            self._archive.close()
            raise VerificationError("the archive has two files of one name")

    def names(self) -> frozenset[str]:
        """All files."""
        return self._names

    def open(self, name: str) -> FileReader:
        """Begin to read one."""
        if name not in self._names:
            raise VerificationError(f"the export has no file {name}")
        try:
            return FileReader(self._archive.open(name), name)
        except OSError as error:
            raise UnsupportedError(f"{name} cannot be read: {error}") from error
        except _ARCHIVE_ERRORS as error:
            raise VerificationError(f"{name} cannot be unpacked: {error}") from error

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


def open_export(path: Path) -> ExportFiles:
    """The export at `path`: a directory or a ZIP archive. The caller closes it."""
    return DirectoryExport(path) if path.is_dir() else ZipExport(path)
