"""Verification of a whole record, beside the server that writes it.

First the blocks of every log are read, each in a short transaction of its own, so that nothing is held up; what is already there
stays as it is. Then comes one transaction for what changes with every commit: open blocks, counts, sessions, heads. A copy of
what was added up meets it there, so that the walk can go on afterwards with what arrives later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from chaukas.server.errors import CannotServeError, StorageError
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK
from chaukas.server.storage.sqlite.connection import DATABASE_NAME, fetch
from chaukas.server.storage.sqlite.inspection import lock_holder, unrecovered_bytes
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.schema import APPLICATION_ID, FORMAT_VERSION, read_meta
from chaukas.server.storage.sqlite.segments import INDEX_BITS, split_entries
from chaukas.server.storage.sqlite.sessions import HOUR_US
from chaukas.server.storage.sqlite.verification.columns import check_block, check_block_rows
from chaukas.server.storage.sqlite.verification.counts import EventCounts
from chaukas.server.storage.sqlite.verification.entries import Block, BlockReading
from chaukas.server.storage.sqlite.verification.findings import Findings
from chaukas.server.storage.sqlite.verification.heads import Heads, check_heads
from chaukas.server.storage.sqlite.verification.postings import PostingsCheck
from chaukas.server.storage.sqlite.verification.quarantine import check_quarantine
from chaukas.server.storage.sqlite.verification.schema import check_frame, check_gaps, check_logs
from chaukas.server.storage.sqlite.verification.sessions import SessionLedger
from chaukas.server.storage.sqlite.verification.tree import LogTree
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.merkle import leaf_hash
from chaukas.verify.verdict import COMPLETENESS

__all__ = ["LogOutcome", "Outcome", "RecordVerification"]

_CACHE_KIB = 16 * 1024
_POSITION_FORMAT = 1
_SQL_HEADS = "SELECT log_no, origin, tenant_id, project_id, next_index, head_size FROM logs ORDER BY log_no"
_SQL_ENTRIES = "SELECT entries FROM segments WHERE place >= ? AND place < ? ORDER BY place"
_SQL_LAST = "SELECT received_at_ns, last_leaf FROM logs WHERE log_no = ?"


@dataclass(slots=True)
class _Log:
    """What is known of one log behind its blocks that were read."""

    log_no: int
    origin: str
    reading: BlockReading
    tree: LogTree
    counts: EventCounts = field(default_factory=EventCounts)
    #: Index of the next block to read.
    position: int = 0
    others: int = 0
    key_changes: list[tuple[int, KeyChange]] = field(default_factory=list)
    #: False once something could not be read: then nothing that is added up over the log can be compared.
    readable: bool = True

    def copy(self) -> _Log:
        return _Log(
            self.log_no, self.origin, self.reading.copy(), self.tree.copy(), self.counts.copy(), self.position, self.others,
            list(self.key_changes), self.readable,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogOutcome:
    """One log as it was found."""

    origin: str
    #: Entries that were read.
    size: int
    heads: Heads
    #: Roots of the sizes that the caller asked for, None for a size beyond the end.
    roots: dict[int, bytes | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a settled verification says; signatures are for the caller to check."""

    logs: dict[str, LogOutcome]
    findings: Findings
    #: Items of the quarantine that no entry vouches for.
    unlogged_items: int
    #: Logs that could not be read to their end.
    unread: tuple[str, ...]


class RecordVerification:
    """Reads the record of a directory; one per thread. `step` until it returns 0, then `settle`, then perhaps `step` again."""

    def __init__(self, directory: Path) -> None:
        """Raises `CannotServeError` when there is no record that this version can check, `StorageError` for a damaged file."""
        self._directory = directory
        path = directory / DATABASE_NAME
        if not path.exists():
            raise CannotServeError(f"there is no event store in {directory}")
        # Without a server and without a write-ahead log the file is all, and nothing is written beside it.
        self._immutable = lock_holder(directory) is None and not unrecovered_bytes(directory)
        mode = "immutable=1" if self._immutable else "mode=ro"
        try:
            self._database = apsw.Connection(
                f"file:{quote(str(path.absolute()))}?{mode}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            )
        except apsw.Error as error:
            raise CannotServeError(f"{path} cannot be opened: {error}") from error
        self._database.set_busy_timeout(10_000)
        self._logs: dict[int, _Log] = {}
        self.findings = Findings()
        self._sessions = SessionLedger()
        try:
            secret = self._key_secret(path)
        except BaseException:
            self.close()
            raise
        self._postings = PostingsCheck(IdKeys(secret))

    def _key_secret(self, path: Path) -> bytes:
        try:
            self._database.pragma("cache_size", -_CACHE_KIB)
            version = self._database.pragma("user_version")
            if self._database.pragma("application_id") != APPLICATION_ID or version != FORMAT_VERSION:
                raise CannotServeError(f"{path} is no record of format {FORMAT_VERSION}, which this version checks")
            secret = read_meta(self._database, "key_secret")
        except apsw.Error as error:
            raise StorageError(f"{path} cannot be read: {error}") from error
        if isinstance(secret, bytes) and 0 < len(secret) <= 64:
            return secret
        self.findings.add("meta", "the secret of the keys is missing")
        return b"\x00"

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def verified(self) -> int:
        """Entries that were read, without those of open blocks."""
        return sum(log.position for log in self._logs.values())

    def total(self) -> int:
        """Entries of the record now."""
        with self._snapshot():
            return sum(row[4] for row in fetch(self._database, _SQL_HEADS))

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """One read transaction. Raises `StorageError` when SQLite cannot read."""
        try:
            self._database.execute("BEGIN")
            try:
                yield
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
        except apsw.Error as error:
            raise StorageError(f"the record cannot be read: {error}") from error

    def step(self, entries_max: int = 8 * EVENTS_PER_BLOCK) -> int:
        """Read whole blocks, up to about so many entries; returns how many there were, 0 when only open blocks are left."""
        done = 0
        with self._snapshot():
            heads = fetch(self._database, _SQL_HEADS)
            origins = {row[0]: row[1] for row in heads}
            for log_no, origin, tenant_id, project_id, size, head_size in heads:
                log = self._log(log_no, origin, tenant_id, project_id)
                while log.position + EVENTS_PER_BLOCK <= size and done < entries_max:
                    self._read_block(log, log.position + EVENTS_PER_BLOCK, head_size, origins, self._sessions, self._postings)
                    done += EVENTS_PER_BLOCK
                if done >= entries_max:
                    break
        return done

    def _log(self, log_no: int, origin: str, tenant_id: str, project_id: str) -> _Log:
        log = self._logs.get(log_no)
        if log is None:
            reading = BlockReading(log_no, origin, tenant_id, project_id)
            log = self._logs[log_no] = _Log(log_no, origin, reading, LogTree(log_no, origin))
        return log

    def _read_block(
        self, log: _Log, end: int, head_size: int, origins: dict[int, str], sessions: SessionLedger, postings: PostingsCheck
    ) -> Block:
        """Read and compare a block, or the part of it up to the end of the log; inside a transaction."""
        database, findings = self._database, self.findings
        block = log.reading.read(database, log.position, end, findings)
        log.readable &= block.readable and len(block.leaves) == end - log.position
        if len(block.leaves) == end - log.position:
            whole = len(block.leaves) // 256 * 256
            if log.tree.size == log.position:
                log.tree.extend(database, block.leaves[:whole], head_size, findings)
        if log.readable:
            hours = [event.us // HOUR_US if event else 0 for event in block.events]
            numbers = sessions.add(database, log.log_no, log.origin, block, hours, findings)
            postings.add(database, log.log_no, origins, block, numbers, findings)
            log.counts.add(block, hours)
            check_block(database, log.log_no, log.origin, block, numbers, findings)
            log.others += sum(event is None for event in block.events)
            log.key_changes += block.key_changes
        log.position = end
        return block

    def settle(self, sizes: dict[str, set[int]] | None = None) -> Outcome:
        """Compare what changes with every commit, in one transaction; `sizes` are heads of which the roots are wanted.

        What was found before it stays found; the walk is not changed.
        """
        before = self.findings
        self.findings = before.copy()
        try:
            with self._snapshot():
                return self._settle(sizes or {})
        finally:
            self.findings = before

    def _settle(self, sizes: dict[str, set[int]]) -> Outcome:
        database, findings = self._database, self.findings
        check_frame(database, findings)
        rows = check_logs(database, findings)
        origins = {row[0]: row[1] for row in rows}
        sessions, postings = self._sessions.copy(), self._postings.copy()
        logs: dict[int, _Log] = {}
        outcomes: dict[str, LogOutcome] = {}
        for log_no, origin, tenant_id, project_id, size, head_size, others in rows:
            walked = self._log(log_no, origin, tenant_id, project_id)
            walked.tree.look_again(database, head_size, findings)
            log = logs[log_no] = walked.copy()
            while log.position < size:
                end = min(size, log.position + EVENTS_PER_BLOCK)
                self._read_block(log, end, head_size, origins, sessions, postings)
            outcomes[origin] = self._settle_log(log, size, head_size, others, sizes.get(origin, set()))
        for log_no in self._logs.keys() - logs.keys():
            findings.add("logs", "the log was there, and is gone", self._logs[log_no].origin, aspect=COMPLETENESS)
        check_gaps(database, {row[0]: row[4] for row in rows}, findings)
        unread = {log_no for log_no, log in logs.items() if not log.readable}
        whole = {log_no: origin for log_no, origin in origins.items() if log_no not in unread}
        sessions.settle(database, whole, unread, findings)
        postings.settle(database, origins, unread, findings)
        unlogged = check_quarantine(database, findings)
        return Outcome(outcomes, findings, unlogged, tuple(origins[log_no] for log_no in sorted(unread)))

    def _settle_log(self, log: _Log, size: int, head_size: int, others: int, sizes: set[int]) -> LogOutcome:
        database, findings = self._database, self.findings
        if log.position > size:
            what = f"{log.position} entries were read, and it has {size} now"
            findings.add("logs", what, log.origin, size, aspect=COMPLETENESS)
        for last in fetch(database, _SQL_LAST, (log.log_no,)):
            if last != (log.reading.received_at_ns, log.reading.last_leaf):
                findings.add("logs", "last_leaf or received_at_ns is not that of the last entry", log.origin, max(0, size - 1))
        whole = log.tree.size >= size // 256 * 256

        def root_of(at: int) -> bytes | None:
            return log.tree.root(at, lambda start, end: self._leaves(log.log_no, start, end)) if whole and at <= size else None

        if whole:
            log.tree.settle(database, min(head_size, size), findings)
        checkpoints = check_heads(database, log.log_no, log.origin, size, head_size, root_of, findings)
        if log.readable:
            log.counts.settle(database, log.log_no, log.origin, findings)
            check_block_rows(database, log.log_no, log.origin, size, findings)
            if log.others != others:
                findings.add("logs", f"{log.others} entries are no events, the log says {others}", log.origin)
        heads = Heads(log.origin, tuple(checkpoints), tuple(log.key_changes))
        return LogOutcome(log.origin, size, heads, {at: root_of(at) for at in sizes})

    def _leaves(self, log_no: int, start: int, end: int) -> list[bytes]:
        """Leaf hashes from an index at which a segment begins."""
        first = log_no << INDEX_BITS
        entries: list[bytes] = []
        for (packed,) in fetch(self._database, _SQL_ENTRIES, (first | start, first | end)):
            entries += split_entries(packed)
        return [leaf_hash(entry) for entry in entries[: end - start]]

    def still_alone(self) -> bool:
        """Whether the file was all of the record until now: nobody began to write beside a reading that takes no lock."""
        return not self._immutable or (lock_holder(self._directory) is None and not unrecovered_bytes(self._directory))

    def position(self) -> dict[str, Any]:
        """Everything that a later verification needs to go on from here, for JSON."""
        with self._snapshot():
            name = read_meta(self._database, "server_name")
        return {
            "format": _POSITION_FORMAT,
            "server_name": name,
            "logs": [
                {
                    "log_no": log.log_no,
                    "position": log.position,
                    "origin": log.origin,
                    "last_leaf": log.reading.last_leaf.hex(),
                    "received_at_ns": log.reading.received_at_ns,
                    "tree": log.tree.as_json(),
                    "counts": log.counts.as_json(),
                    "others": log.others,
                    "key_changes": [[index, bytes(change).decode()] for index, change in log.key_changes],
                    "readable": log.readable,
                }
                for log in self._logs.values()
            ],
            "sessions": self._sessions.as_json(),
            "postings": self._postings.as_json(),
            "findings": self.findings.as_json(),
        }

    def go_on(self, position: dict[str, Any]) -> None:
        """Continue at what `position` returned, before the first step. Raises `ValueError` if it is of another record."""
        with self._snapshot():
            heads = {row[0]: row for row in fetch(self._database, _SQL_HEADS)}
            name = read_meta(self._database, "server_name")
        if position.get("format") != _POSITION_FORMAT or position.get("server_name") != name:
            raise ValueError("the position is of another record, or of another version")
        try:
            for each in position["logs"]:
                row = heads.get(each["log_no"])
                if row is None or row[1] != each["origin"]:
                    raise ValueError(f"the position knows a log {each['origin']}, which is not there")
                log = self._log(*row[:4])
                log.position, log.others, log.readable = each["position"], each["others"], each["readable"]
                log.reading.last_leaf = bytes.fromhex(each["last_leaf"])
                log.reading.received_at_ns = each["received_at_ns"]
                log.tree = LogTree.from_json(log.log_no, log.origin, each["tree"])
                log.counts = EventCounts.from_json(each["counts"])
                log.key_changes = [(index, KeyChange.parse(text.encode())) for index, text in each["key_changes"]]
            self._sessions = SessionLedger.from_json(position["sessions"])
            self._postings = self._postings.resumed(position["postings"])
            self.findings = Findings.from_json(position["findings"])
        except (KeyError, TypeError) as error:
            raise ValueError("the position is damaged") from error
