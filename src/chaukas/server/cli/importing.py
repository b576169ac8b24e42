"""`chaukas import`: JSON Lines into the record, in order, with one answer for every line.

Lines are read and decoded while the batch before them is on its way to the disk; what is held in memory is two batches.
Nothing counts as imported before it is acknowledged, and an import that was interrupted is simply run again: what is stored
already is counted as duplicate.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from rich.console import Console

from chaukas.server.cli.connection import Connection
from chaukas.server.cli.delivery import deliver
from chaukas.server.cli.event_line import printable
from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.import_progress import ImportProgress
from chaukas.server.cli.line_result import LEFT_OUT, LineResult
from chaukas.server.errors import ChaukasError
from chaukas.server.storage.contract import IngestStatus
from chaukas.server.wire.json_form import JsonProblem
from chaukas.server.wire.json_lines import read_json_lines
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["STDIN", "ImportSummary", "import_files"]

#: Stands for standard input where a file is named.
STDIN: Final = "-"
_BATCH_EVENTS_MAX: Final = 500
_BATCH_BYTES_MAX: Final = 1024 * 1024
#: Lines that are named one by one; a file of another kind would otherwise scroll everything away.
_NAMED_LINES_MAX: Final = 100
_SHOWN_REASON_MAX: Final = 500
_BUFFER_BYTES: Final = 256 * 1024
_STORED: Final = frozenset({IngestStatus.ACCEPTED.value, IngestStatus.DUPLICATE.value})


@dataclass(slots=True)
class ImportSummary:
    """How many lines had which status."""

    files: int
    counts: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0
    interrupted: bool = False

    @property
    def not_stored(self) -> int:
        """Lines that are not in the record now."""
        return self.counts.total() - sum(self.counts[status] for status in _STORED)

    @property
    def exit_status(self) -> ExitStatus:
        """What the command ends with."""
        if self.interrupted:
            return ExitStatus.INTERRUPTED
        return ExitStatus.PARTLY if self.not_stored else ExitStatus.DONE

    def to_json(self) -> dict[str, object]:
        """For scripts."""
        statuses = (*(status.value for status in IngestStatus), LEFT_OUT)
        return {
            "files": self.files,
            "lines": self.counts.total(),
            **{status.replace(" ", "_"): self.counts[status] for status in statuses},
            "duration_s": round(self.duration_s, 3),
            "interrupted": self.interrupted,
        }

    def __str__(self) -> str:
        counts = self.counts
        parts = [f"{counts[IngestStatus.ACCEPTED]:,} stored", f"{counts[IngestStatus.DUPLICATE]:,} duplicates"]
        if counts[IngestStatus.REJECTED]:
            parts.append(f"{counts[IngestStatus.REJECTED]:,} rejected (the id stands for other content; kept in the quarantine)")
        if counts[IngestStatus.QUARANTINED]:
            parts.append(f"{counts[IngestStatus.QUARANTINED]:,} invalid (kept in the quarantine)")
        if counts[LEFT_OUT]:
            parts.append(f"{counts[LEFT_OUT]:,} left out (no events)")
        files = "1 file" if self.files == 1 else f"{self.files:,} files"
        end = "; interrupted, run it again to go on: what is stored is then a duplicate" if self.interrupted else ""
        return f"{counts.total():,} lines of {files} in {self.duration_s:.1f} s: {', '.join(parts)}{end}"


@dataclass(slots=True)
class _Line:
    number: int
    item: Event | JsonProblem
    #: The line as it stands in the file.
    text: bytes


@dataclass(slots=True)
class _Batch:
    """Lines of one file that travel together."""

    source: str
    lines: list[_Line] = field(default_factory=list)
    size_bytes: int = 0
    #: Bytes of this file up to the end of the batch.
    read_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.lines) >= _BATCH_EVENTS_MAX or self.size_bytes >= _BATCH_BYTES_MAX


class _LineReader(io.BufferedReader):
    """A file that remembers the line that was read last, and how much was read."""

    read_bytes = 0
    #: The last line with its end; empty if it was too long to be read as a whole.
    last_line = b""
    _ended = True

    def readline(self, size: int | None = -1, /) -> bytes:
        part = super().readline(size)
        self.read_bytes += len(part)
        self.last_line = part if self._ended else b""
        self._ended = part.endswith(b"\n")
        return part


def import_files(connection: Connection, files: Sequence[str], rejects: Path | None, console: Console) -> ImportSummary:
    """Import the files in the order given (`-` is standard input) and say on `console` what was not stored.

    `rejects` is written anew with every line that was not stored, as it stands in its file. Raises `CommandError` when a file
    can not be read or the server can not be reached; what was acknowledged until then is stored.
    """
    sizes = [_size_of(file) for file in files]
    total_bytes = None if None in sizes else sum(size or 0 for size in sizes)
    with ExitStack() as opened:
        copy = opened.enter_context(_open_rejects(rejects, files)) if rejects is not None else None
        progress = opened.enter_context(ImportProgress(console, total_bytes))
        return _Import(connection, files, copy, progress).run()


class _Import:
    def __init__(self, connection: Connection, files: Sequence[str], rejects: BinaryIO | None, progress: ImportProgress) -> None:
        self._connection = connection
        self._files = files
        self._rejects = rejects
        self._progress = progress
        self._named = 0
        self._summary = ImportSummary(len(files))

    def run(self) -> ImportSummary:
        began = time.monotonic()
        pending: tuple[_Batch, Future[list[LineResult]]] | None = None
        # One sender: events are stored in the order of their lines.
        with ThreadPoolExecutor(1, thread_name_prefix="chaukas-import") as sender:
            try:
                for batch in self._batches():
                    if pending is not None:
                        self._take(*pending)
                    pending = batch, sender.submit(self._send, batch.lines)
                if pending is not None:
                    self._take(*pending)
            except KeyboardInterrupt:
                # The batch that is on its way will be stored: its lines are not counted, and duplicates the next time.
                self._summary.interrupted = True
            except ChaukasError as error:
                done = self._summary.counts.total()
                again = f"; {done:,} lines before are answered for, run the import again to go on" if done else ""
                raise CommandError(f"{error.public_message}{again}") from error
        self._summary.duration_s = time.monotonic() - began
        return self._summary

    def _batches(self) -> Iterator[_Batch]:
        before_bytes = 0
        for file in self._files:
            source = "standard input" if file == STDIN else file
            try:
                with _open(file) as reader:
                    batch = _Batch(source)
                    for number, item in read_json_lines(reader):
                        batch.lines.append(_Line(number, item, reader.last_line))
                        batch.size_bytes += len(reader.last_line)
                        batch.read_bytes = before_bytes + reader.read_bytes
                        if batch.is_full:
                            yield batch
                            batch = _Batch(source)
                    before_bytes += reader.read_bytes
            except OSError as error:
                raise _unreadable(file, error) from error
            if batch.lines:
                yield batch

    def _send(self, lines: Sequence[_Line]) -> list[LineResult]:
        return deliver(self._connection, [line.item for line in lines])

    def _take(self, batch: _Batch, answer: Future[list[LineResult]]) -> None:
        """Wait for the answers of a batch, count them, and report what was not stored."""
        for line, result in zip(batch.lines, answer.result(), strict=True):
            self._summary.counts[result.status] += 1
            if result.status not in _STORED:
                self._report(batch.source, line, result)
        self._progress.show(batch.source, batch.read_bytes, self._summary.counts.total())

    def _report(self, source: str, line: _Line, result: LineResult) -> None:
        copied = self._rejects is not None and bool(line.text)
        if self._rejects is not None and line.text:
            self._rejects.write(line.text if line.text.endswith(b"\n") else line.text + b"\n")
        self._named += 1
        if self._named > _NAMED_LINES_MAX:
            if self._named == _NAMED_LINES_MAX + 1:
                self._progress.report("further lines that are not stored are counted, but not named here")
            return
        kept = f" (kept as {result.quarantine_id})" if result.quarantine_id else ""
        lost = " (too long for --rejects)" if self._rejects is not None and not copied else ""
        reason = printable(result.reason)[:_SHOWN_REASON_MAX]
        self._progress.report(f"{source}:{line.number}: {result.status}: {reason}{kept}{lost}")


def _open(file: str) -> _LineReader:
    raw = io.FileIO(sys.stdin.fileno(), closefd=False) if file == STDIN else io.FileIO(file)
    return _LineReader(raw, buffer_size=_BUFFER_BYTES)


def _size_of(file: str) -> int | None:
    """Size in bytes, None where it is not known before the end. Raises `CommandError` for what can not be read."""
    if file == STDIN:
        return None
    # Without opening it: the writer at the other end of a named pipe would lose its reader again.
    try:
        status = Path(file).stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise CommandError(f"{file} is a directory; name the files in it")
    if not os.access(file, os.R_OK):
        raise CommandError(f"{file} can not be read: permission denied")
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _open_rejects(rejects: Path, files: Sequence[str]) -> BinaryIO:
    """Begin the file anew. Raises `CommandError` when it can not be written or is one of those that are read."""
    try:
        if any(file != STDIN and rejects.exists() and rejects.samefile(file) for file in files):
            raise CommandError(f"--rejects: {rejects} is a file that is to be imported; name another one")
        return rejects.open("wb")
    except OSError as error:
        raise CommandError(f"--rejects: {rejects} can not be written: {error.strerror}") from error


def _unreadable(file: str, error: OSError) -> CommandError:
    return CommandError(f"{file} can not be read: {error.strerror or error}")
