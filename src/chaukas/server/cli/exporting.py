"""`chaukas export`: complete logs, or the results of a query, with everything that proves them (docs/export.md).

What is read is checked before it is written: the entries of a complete log must lead to its signed head, and each result must be
proven by it. The manifest comes last, so that an export that was interrupted is none.
"""

from __future__ import annotations

import functools
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from chaukas.server.auth.principal import Principal
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.querying import Selection
from chaukas.server.config import Settings
from chaukas.server.errors import ConfigurationError, StorageError
from chaukas.server.query import QueryLimits, filter_of
from chaukas.server.storage.entry import KIND_EVENT, KIND_KEY, entry_kind
from chaukas.server.storage.log_contract import EntryRecord, LogInfo, SignedHead
from chaukas.server.storage.sqlite.export_reader import ExportReader
from chaukas.server.tlog.exporting import DirectorySink, ExportWriter, ZipSink
from chaukas.server.tlog.opening import signing_keys
from chaukas.server.tlog.proving import TileNodes, inclusion_plan
from chaukas.server.tlog.retired_keys import read_retired_keys
from chaukas.server.tlog.tiling import ReadTile
from chaukas.server.wire.json_form import event_to_openapi
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.errors import VerificationError
from chaukas.verify.evidence import Evidence
from chaukas.verify.exports import ExportedEntry
from chaukas.verify.merkle import leaf_hash, verify_inclusion
from chaukas.verify.payloads import Salts
from chaukas.verify.tiles import tile_width
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["ExportSummary", "export_record"]

_ENTRIES_AT_ONCE = 8_192
#: Tiles whose nodes are remembered, 16 KiB each.
_TILES_MAX = 512


@dataclass(slots=True)
class ExportSummary:
    """What was exported."""

    path: Path
    kind: str
    #: Origin, size of the checkpoint, entries in the export.
    logs: list[tuple[str, int, int]] = field(default_factory=list)
    #: Entries, or matches, behind the newest signed heads.
    unsigned: int = 0
    duration_s: float = 0.0

    @property
    def entries(self) -> int:
        """Of all logs."""
        return sum(entries for _, _, entries in self.logs)

    def to_json(self) -> dict[str, object]:
        """For scripts."""
        logs = [{"origin": origin, "size": size, "entries": entries} for origin, size, entries in self.logs]
        return {
            "path": str(self.path), "kind": self.kind, "entries": self.entries, "logs": logs, "unsigned": self.unsigned,
            "duration_s": round(self.duration_s, 3),
        }  # fmt: skip

    def __str__(self) -> str:
        logs = "1 log" if len(self.logs) == 1 else f"{len(self.logs):,} logs"
        text = f"{self.entries:,} entries of {logs} exported to {self.path} in {self.duration_s:.1f} s"
        return (
            f"{text}; {self.unsigned:,} more are not signed yet: a running server signs within a second"
            if self.unsigned
            else text
        )


def export_record(settings: Settings, path: Path, selection: Selection, *, json_lines: bool, console: Console) -> ExportSummary:
    """Export to a new or empty directory, or to a new archive when the name ends with `.zip`.

    Complete logs when `selection` names tenant and project at most, else the results of the query. Raises `CommandError` for a
    wrong filter, a path that is taken or cannot be written, and when there is nothing to export; `CannotServeError` and
    `StorageError` for a record that cannot be read or is damaged.
    """
    began = time.monotonic()
    is_query = selection != Selection(tenant=selection.tenant, project=selection.project)
    # A wrong filter is told before anything is made.
    selection.to_request()
    reader = ExportReader(settings.data_dir)
    try:
        sink = ZipSink(path) if path.suffix.lower() == ".zip" else DirectorySink(path)
        columns = (
            TextColumn("export"), BarColumn(bar_width=30), TaskProgressColumn(), TextColumn("{task.completed:,.0f} entries"),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            export = _Export(reader, ExportWriter(sink), _Keys(settings), progress, json_lines=json_lines)
            summary = export.results(path, selection) if is_query else export.complete_logs(path, selection)
    except FileExistsError as error:
        raise CommandError(f"{path} is taken: name a new directory, an empty one, or a new file that ends with .zip") from error
    except OSError as error:
        raise CommandError(f"{path} can not be written: {error.strerror or error}") from error
    except (ValueError, VerificationError) as error:
        raise StorageError(f"{error}; the export in {path} is not complete and has no manifest") from error
    finally:
        reader.close()
    summary.duration_s = time.monotonic() - began
    return summary


class _Keys:
    """The verifier keys that go with each log, for information: those that the state directory knows."""

    def __init__(self, settings: Settings) -> None:
        self._public: list[bytes] = []
        try:
            current = [key.public_key for key in signing_keys(settings.state_dir, settings.log_key_file, create=False)]
        except ConfigurationError:
            current = []
        self._public += [key.public_key for key in read_retired_keys(settings.state_dir) if key.public_key not in current]
        self._public += current

    def of(self, origin: str) -> list[VerifierKey]:
        """Oldest first."""
        return [VerifierKey(origin, 0x01, public_key) for public_key in self._public]


class _Export:
    def __init__(self, reader: ExportReader, writer: ExportWriter, keys: _Keys, progress: Progress, *, json_lines: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._keys = keys
        self._progress = progress
        self._json_lines = json_lines
        self._task = progress.add_task("export", total=None)

    def complete_logs(self, path: Path, selection: Selection) -> ExportSummary:
        summary = ExportSummary(path, "log")
        heads: list[tuple[LogInfo, SignedHead]] = []
        for log, _ in self._reader.logs(selection.tenant, selection.project):
            head = self._reader.head(log)
            summary.unsigned += log.size - (head.size if head else 0)
            if head is not None:
                heads.append((log, head))
        self._require(heads)
        self._progress.update(self._task, total=sum(head.size for _, head in heads) * (1 + self._json_lines))
        for log, head in heads:
            changes: list[EntryRecord] = []
            checkpoint = _checkpoint(log, head)
            entries = self._exported(self._reader.records(log, 0, head.size), changes)
            self._writer.complete_log(entries, checkpoint, self._keys.of(log.origin))
            self._writer.key_changes(self._evidence(log, record) for record in changes)
            summary.logs.append((log.origin, head.size, head.size))
        if self._json_lines:
            self._writer.json_lines(
                line for log, head in heads for line in self._lines(log, self._reader.records(log, 0, head.size))
            )
        self._writer.finish(_now())
        return summary

    def results(self, path: Path, selection: Selection) -> ExportSummary:
        summary = ExportSummary(path, "query")
        request = selection.to_request()
        # The heads are read first: every event below them is found.
        logs = [(log, others, self._reader.head(log)) for log, others in self._reader.logs(selection.tenant, selection.project)]
        found = self._reader.matches(filter_of(request.filter, Principal(name="command line"), QueryLimits()))
        results: list[tuple[LogInfo, bool, SignedHead, Sequence[int]]] = []
        for log, others, head in logs:
            indices: Sequence[int] = found.get(log.log_id, ())
            # They ascend: those below the head stand first.
            proven = bisect_left(indices, head.size) if head is not None else 0
            summary.unsigned += len(indices) - proven
            if head is not None and proven:
                results.append((log, others, head, indices[:proven]))
        self._require(results)
        self._progress.update(self._task, total=sum(len(indices) for *_, indices in results) * (1 + self._json_lines))
        for log, others, head, indices in results:
            self._writer.results(self._proven(log, head, indices), _checkpoint(log, head), self._keys.of(log.origin))
            if others:
                self._writer.key_changes(self._evidence(log, record) for record in self._key_entries(log, head.size))
            summary.logs.append((log.origin, head.size, len(indices)))
        if self._json_lines:
            self._writer.json_lines(
                line for log, _, _, indices in results for line in self._lines(log, self._reader.records_at(log, indices))
            )
        asked: dict[str, Any] = MessageToDict(request.filter, preserving_proto_field_name=True)
        self._writer.finish(_now(), asked)
        return summary

    def _require(self, found: Sequence[object]) -> None:
        if not found:
            raise CommandError("there is nothing to export: no log with a signed head, or no event that matches")

    def _exported(self, records: Iterator[EntryRecord], changes: list[EntryRecord]) -> Iterator[ExportedEntry]:
        for record in records:
            if entry_kind(record.entry) == KIND_KEY:
                changes.append(record)
            yield ExportedEntry(record.index, record.entry, _salts(record), record.stored)
            self._progress.advance(self._task)

    def _proven(self, log: LogInfo, head: SignedHead, indices: Sequence[int]) -> Iterator[ExportedEntry]:
        proofs = _Proofs(self._reader.read_tile(log), head.size)
        for record in self._reader.records_at(log, indices):
            proof = proofs.inclusion(record.index)
            verify_inclusion(leaf_hash(record.entry), record.index, head.size, proof, head.root)
            yield ExportedEntry(record.index, record.entry, _salts(record), record.stored, proof)
            self._progress.advance(self._task)

    def _key_entries(self, log: LogInfo, size: int) -> Iterator[EntryRecord]:
        for start in range(0, size, _ENTRIES_AT_ONCE):
            entries = self._reader.entries(log, start, min(start + _ENTRIES_AT_ONCE, size))
            indices = [start + at for at, entry in enumerate(entries) if entry_kind(entry) == KIND_KEY]
            yield from self._reader.records_at(log, indices)

    def _evidence(self, log: LogInfo, record: EntryRecord) -> Evidence:
        """A change of key, proven by the head that both keys signed."""
        head = self._reader.covering_head(log, record.index)
        if head is None:
            raise StorageError(f"the log {log.origin} has no head that covers the change of its key at index {record.index}")
        proof = _Proofs(self._reader.read_tile(log), head.size).inclusion(record.index)
        return Evidence(log.origin, record.index, record.entry, record.stored, _salts(record), proof, _checkpoint(log, head))

    def _lines(self, log: LogInfo, records: Iterator[EntryRecord]) -> Iterator[bytes]:
        for record in records:
            if entry_kind(record.entry) == KIND_EVENT:
                event = event_to_openapi(Event.FromString(record.stored))
                yield f"{json_text({'origin': log.origin, 'index': record.index, 'event': event})}\n".encode()
            self._progress.advance(self._task)


class _Proofs:
    """Inclusion proofs in one tree; tiles are hashed once for many of them."""

    def __init__(self, read_tile: ReadTile, size: int) -> None:
        self._size = size

        @functools.lru_cache(_TILES_MAX)
        def nodes(level: int, number: int) -> TileNodes:
            width = tile_width(size, level, number)
            return TileNodes(read_tile(level, number, width), width)

        self._nodes = nodes

    def inclusion(self, index: int) -> tuple[bytes, ...]:
        """The proof of one entry."""
        return tuple(inclusion_plan(index, self._size).hashes(self._nodes))


def _checkpoint(log: LogInfo, head: SignedHead) -> Checkpoint:
    checkpoint = parse_checkpoint(head.note)
    if (checkpoint.origin, checkpoint.size, checkpoint.root) != (log.origin, head.size, head.root):
        raise StorageError(f"the signed head of {head.size} entries of the log {log.origin} is damaged")
    return checkpoint


def _salts(record: EntryRecord) -> Salts:
    return Salts(record.envelope_salt, record.content_salt, record.session_salt or None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
