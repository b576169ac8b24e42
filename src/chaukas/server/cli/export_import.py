"""`chaukas import` of an export (docs/export.md): verified first, then its events are stored, with the bytes that they had.

The events get entries of their own in the logs of the server that takes them; what proves them in the old logs stays in the
export.
"""

from __future__ import annotations

import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from chaukas.server.cli.connection import Connection
from chaukas.server.cli.delivery import deliver
from chaukas.server.cli.event_line import printable
from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.line_result import LEFT_OUT, LineResult
from chaukas.server.errors import ChaukasError
from chaukas.server.storage.contract import IngestStatus
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.verify.entries import KIND_EVENT, KIND_NAMES, decode_entry
from chaukas.verify.errors import VerificationError
from chaukas.verify.export_check import check_export
from chaukas.verify.export_files import ExportFiles, open_export
from chaukas.verify.exports import MANIFEST_NAME, ExportedEntry, Manifest, read_entries
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import AUTHENTICITY, Outcome
from chaukas.verify.verifier_keys import parse_verifier_keys

__all__ = ["ExportImport", "import_export", "is_export", "read_trust"]

_BATCH_EVENTS_MAX = 500
_BATCH_BYTES_MAX = 1024 * 1024
#: Events that are named one by one when they are not stored.
_NAMED_MAX = 100
_MANIFEST_BYTES_MAX = 1 << 30


@dataclass(slots=True)
class ExportImport:
    """How many events had which status; entries that are no events are counted apart."""

    counts: Counter[str] = field(default_factory=Counter)
    other_entries: int = 0
    without_payload: int = 0
    #: Whether a signature was checked: only with a key that the caller brought.
    authentic: bool = False
    duration_s: float = 0.0
    interrupted: bool = False

    @property
    def not_stored(self) -> int:
        """Events that are not in the record now."""
        stored = self.counts[IngestStatus.ACCEPTED.value] + self.counts[IngestStatus.DUPLICATE.value]
        return self.counts.total() - stored + self.without_payload

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
            "events": self.counts.total(),
            **{status.replace(" ", "_"): self.counts[status] for status in statuses},
            "other_entries": self.other_entries,
            "without_payload": self.without_payload,
            "authentic": self.authentic,
            "duration_s": round(self.duration_s, 3),
            "interrupted": self.interrupted,
        }

    def __str__(self) -> str:
        parts = [f"{self.counts[status]:,} {word}" for status, word in _WORDS.items() if self.counts[status] or status in _ALWAYS]
        if self.without_payload:
            parts.append(f"{self.without_payload:,} whose bytes are not in the export")
        others = f"; {self.other_entries:,} entries that are no events stay in the export" if self.other_entries else ""
        end = "; interrupted, run it again to go on: what is stored is then a duplicate" if self.interrupted else ""
        return f"{self.counts.total():,} events in {self.duration_s:.1f} s: {', '.join(parts)}{others}{end}"


_ALWAYS = (IngestStatus.ACCEPTED.value, IngestStatus.DUPLICATE.value)
_WORDS = {
    IngestStatus.ACCEPTED.value: "stored",
    IngestStatus.DUPLICATE.value: "duplicates",
    IngestStatus.REJECTED.value: "rejected (the id stands for other content; kept in the quarantine)",
    IngestStatus.QUARANTINED.value: "invalid (kept in the quarantine)",
    LEFT_OUT: "left out (too large for this server)",
}


def is_export(path: str) -> bool:
    """Whether a file or directory of this name looks like an export, and not like JSON Lines."""
    place = Path(path)
    try:
        if place.is_dir():
            return (place / MANIFEST_NAME).exists()
        return place.is_file() and zipfile.is_zipfile(place)
    except OSError:
        return False


def read_trust(keys: Sequence[str], key_files: Sequence[Path]) -> Trust:
    """The keys that the caller trusts. Raises `CommandError`."""
    try:
        texts = [file.read_text(encoding="utf-8") for file in key_files]
        return Trust(tuple(key for text in (*keys, *texts) for key in parse_verifier_keys(text)))
    except OSError as error:
        raise CommandError(f"--key-file: {error.filename} can not be read: {error.strerror}") from error
    except (ValueError, VerificationError) as error:
        raise CommandError(f"--key: {error}") from error


def import_export(connection: Connection, path: Path, trust: Trust, console: Console) -> ExportImport:
    """Verify an export, then store its events.

    1. The export is verified whole (`chaukas.verify`). Without a key nobody's signature can be checked, which is told; with one
       it must be there.
    2. Its events are handed to the server in the order of their logs.

    Raises `CommandError` for an export that is damaged or cannot be read, and when the server cannot be reached.
    """
    # 1.
    report = check_export(path, trust)
    verdicts = {aspect: report.verdict(aspect) for aspect in sorted(report.required)}
    failed = [verdict for verdict in verdicts.values() if verdict.outcome is Outcome.FAILED]
    missing = {aspect: verdict for aspect, verdict in verdicts.items() if verdict.outcome is not Outcome.VERIFIED}
    if failed or missing.keys() - {AUTHENTICITY} or (missing and trust.log_keys):
        reasons = "; ".join(reason for verdict in failed or missing.values() for reason in verdict.reasons)
        raise CommandError(f"{path} is not imported, because it is damaged or not what it should be: {printable(reasons)}")
    summary = ExportImport(authentic=not missing)
    # 2.
    began = time.monotonic()
    try:
        files = open_export(path)
        try:
            _Import(connection, files, console, summary).run()
        finally:
            files.close()
    except VerificationError as error:
        raise CommandError(f"{path} changed while it was read: {error}") from error
    except ChaukasError as error:
        done = summary.counts.total()
        again = f"; {done:,} events before are answered for, run the import again to go on" if done else ""
        raise CommandError(f"{error.public_message}{again}") from error
    summary.duration_s = time.monotonic() - began
    return summary


class _Import:
    def __init__(self, connection: Connection, files: ExportFiles, console: Console, summary: ExportImport) -> None:
        self._connection = connection
        self._files = files
        self._console = console
        self._summary = summary
        self._named = 0
        manifest = files.open(MANIFEST_NAME)
        try:
            self._manifest = Manifest.parse(manifest.rest(_MANIFEST_BYTES_MAX))
        finally:
            manifest.close()

    def run(self) -> None:
        columns = (
            TextColumn("import"), BarColumn(bar_width=30), TaskProgressColumn(), TextColumn("{task.completed:,.0f} events"),
            TimeRemainingColumn(),
        )  # fmt: skip
        total = sum(log.entries for log in self._manifest.logs)
        terminal = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not terminal) as progress:
            task = progress.add_task("import", total=total)
            # One sender: events are stored in the order of their entries, while the next ones are read.
            with ThreadPoolExecutor(1, thread_name_prefix="chaukas-import") as sender:
                pending: tuple[list[Event], Future[list[LineResult]]] | None = None
                try:
                    for batch in self._batches():
                        if pending is not None:
                            progress.advance(task, self._take(*pending))
                        pending = batch, sender.submit(deliver, self._connection, batch)
                    if pending is not None:
                        self._take(*pending)
                except KeyboardInterrupt:
                    self._summary.interrupted = True

    def _batches(self) -> Iterator[list[Event]]:
        batch: list[Event] = []
        size = 0
        for log in self._manifest.logs:
            for bundle in read_entries(self._files, self._manifest.kind, log):
                for one in bundle:
                    event = self._event(one)
                    if event is None:
                        continue
                    batch.append(event)
                    size += len(one.payload or b"")
                    if len(batch) >= _BATCH_EVENTS_MAX or size >= _BATCH_BYTES_MAX:
                        yield batch
                        batch, size = [], 0
        if batch:
            yield batch

    def _event(self, one: ExportedEntry) -> Event | None:
        """The event of an entry; None for other kinds, and where its bytes are not there any more."""
        kind = decode_entry(one.entry).kind
        if kind != KIND_EVENT:
            self._summary.other_entries += 1
            return None
        if one.payload is None:
            self._summary.without_payload += 1
            return None
        try:
            return Event.FromString(one.payload)
        except DecodeError as error:
            raise VerificationError(f"the {KIND_NAMES[kind]} at index {one.index} cannot be read") from error

    def _take(self, events: list[Event], answer: Future[list[LineResult]]) -> int:
        for event, result in zip(events, answer.result(), strict=True):
            self._summary.counts[result.status] += 1
            if result.status not in _ALWAYS:
                self._named += 1
                if self._named <= _NAMED_MAX:
                    kept = f" (kept as {result.quarantine_id})" if result.quarantine_id else ""
                    line = f"{event.event_id}: {result.status}: {result.reason}{kept}"
                    self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
        return len(events)
