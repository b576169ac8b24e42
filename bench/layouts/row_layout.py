"""What the rejected layouts share with the driver: logs, sessions, counts, salts, commitments, entries, leaf hashes.

They use the driver's own code and tables for everything that is not under trial, so that a difference between two rates is
one between two ways to keep events. They are trials: no quarantine, and no index of tags (which the driver has to pay for).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from chaukas.server.storage.contract import EventRecord, IngestStatus, Outcome, StoredEvent
from chaukas.server.storage.entry import KIND_EVENT, SALT_BYTES, encode_entry, entry_head, leaf_hash
from chaukas.server.storage.sqlite.connection import connect
from chaukas.server.storage.sqlite.logs import LogHead, Logs
from chaukas.server.storage.sqlite.schema import migrate
from chaukas.server.storage.sqlite.sessions import HOUR_US, Rollup, Sessions

__all__ = ["CACHE_KIB", "PAGE", "QUESTIONS", "SERVER_NAME", "Identity", "Layout", "RowLayout", "Sealed", "seal"]

SERVER_NAME = "bench.localhost"
#: Page caches of the writer and of a reader, as the driver has them.
CACHE_KIB = (32 * 1024, 8 * 1024)
#: What is asked at the end; each question but the newest page has a value.
QUESTIONS = ("session", "trace", "span", "agent", "type", "newest")
#: An answer has so many events at most, newest first.
PAGE = 100

#: Index, both salts and salted digest of a stored event.
Identity = tuple[int, bytes, bytes]


class Layout(Protocol):
    """A way to keep events."""

    def append(self, records: Sequence[EventRecord]) -> list[Outcome]:
        """Store the records in one durable transaction."""
        ...

    def ask(self, question: str, tenant_id: str, project_id: str, value: str | int) -> list[StoredEvent]:
        """The newest page that answers one of `QUESTIONS`."""
        ...

    def close(self) -> None:
        """Move everything into the database file and close it."""
        ...


@dataclass(slots=True)
class Sealed:
    """What stands beside the bytes of consecutive events: one item for each."""

    salts: list[bytes]
    digests: list[bytes]
    entries: list[bytes]


def seal(head: LogHead, records: Sequence[EventRecord], commitments: Sequence[tuple[bytes, int]]) -> Sealed:
    """Salts, digests and entries as the driver makes them; moves the head behind the records."""
    random_bytes = os.urandom(2 * SALT_BYTES * len(records))
    salts = [random_bytes[at : at + 2 * SALT_BYTES] for at in range(0, len(random_bytes), 2 * SALT_BYTES)]
    start = entry_head(KIND_EVENT, head.received_at_ns)
    sealed = Sealed(salts, [], [])
    for record, both, (session_commitment, sequence) in zip(records, salts, commitments, strict=True):
        stored, envelope_bytes = record.stored, record.envelope_bytes
        sealed.digests.append(sha256(both + record.received).digest())
        sealed.entries.append(
            encode_entry(
                start,
                sha256(both[:SALT_BYTES] + stored[:envelope_bytes]).digest(),
                sha256(both[SALT_BYTES:] + stored[envelope_bytes:]).digest(),
                session_commitment,
                sequence,
            )
        )
    head.next_index += len(records)
    head.last_leaf = leaf_hash(sealed.entries[-1])
    return sealed


class RowLayout:
    """A layout with a row per event; a subclass brings its tables, its duplicate check and its way to write and ask."""

    schema = ""

    def __init__(self, directory: Path) -> None:
        self.database = connect(directory, writer=True, cache_kib=CACHE_KIB[0])
        migrate(self.database, SERVER_NAME)
        self.database.execute(self.schema)
        self.reader = connect(directory, writer=False, cache_kib=CACHE_KIB[1])
        self.logs, self.sessions = Logs(SERVER_NAME), Sessions()
        self.logs.recover(self.database)
        self.sessions.recover(self.database)

    def append(self, records: Sequence[EventRecord]) -> list[Outcome]:
        """See `Layout.append`."""
        self.database.execute("BEGIN IMMEDIATE")
        now_ns = time.time_ns()
        by_log: dict[tuple[str, str], list[int]] = {}
        for place, record in enumerate(records):
            by_log.setdefault((record.tenant_id, record.project_id), []).append(place)
        outcomes: dict[int, Outcome] = {}
        rollups: dict[int, Rollup] = {}
        touched: list[LogHead] = []
        for scope, places in by_log.items():
            head = self._head(*scope)
            new = self._sort_out(head, [records[place] for place in places], places, outcomes)
            if new:
                head.received_at_ns = max(head.received_at_ns, now_ns)
                rollup = rollups[head.log_no] = Rollup(head.log_no)
                self._append_new(head, new, rollup)
                touched.append(head)
        self.sessions.write(self.database, rollups)
        for head in touched:
            rollup = rollups[head.log_no]
            self.logs.advance(self.database, head, rollup.new_sessions, rollup.added_duration_us)
        self.database.execute("COMMIT")
        return [outcomes[place] for place in range(len(records))]

    def _head(self, tenant_id: str, project_id: str) -> LogHead:
        head = self.logs.head(self.database, tenant_id, project_id, create=True)
        if head is None:
            raise AssertionError("a log is created when it is missing")
        return head

    def _sort_out(
        self, head: LogHead, records: list[EventRecord], places: list[int], outcomes: dict[int, Outcome]
    ) -> list[EventRecord]:
        """The records that are not stored yet; an outcome for every place."""
        stored = self.identities(head.log_no, records)
        here: dict[str, int] = {}
        new: list[EventRecord] = []
        for record, place in zip(records, places, strict=True):
            known = stored.get(record.event_id)
            if known is not None:
                same = sha256(known[1] + record.received).digest() == known[2]
                status = IngestStatus.DUPLICATE if same else IngestStatus.REJECTED
                outcomes[place] = Outcome(status, record.event_id, "", head.origin, known[0])
            elif record.event_id in here:
                status = (
                    IngestStatus.DUPLICATE if new[here[record.event_id]].received == record.received else IngestStatus.REJECTED
                )
                outcomes[place] = Outcome(status, record.event_id)
            else:
                index = head.next_index + len(new)
                here[record.event_id] = len(new)
                new.append(record)
                outcomes[place] = Outcome(IngestStatus.ACCEPTED, record.event_id, "", head.origin, index)
        return new

    def _append_new(self, head: LogHead, records: list[EventRecord], rollup: Rollup) -> None:
        commitments: list[tuple[bytes, int]] = []
        session_numbers: list[int] = []
        self.sessions.load(self.database, head.log_no, {record.session_id for record in records})
        for record in records:
            hour = record.timestamp_us // HOUR_US
            rollup.by_hour_and_type[hour, record.type] += 1
            session = self.sessions.touch(head.log_no, record.session_id, [record.timestamp_us], [hour])
            commitments.append((session.commitment, session.events))
            session_numbers.append(session.session_no)
            session.events += 1
        self.write(head, records, commitments, session_numbers)

    def identities(self, log_no: int, records: list[EventRecord]) -> dict[str, Identity]:
        """Those of the records' ids that are stored."""
        raise NotImplementedError

    def write(
        self, head: LogHead, records: list[EventRecord], commitments: list[tuple[bytes, int]], session_numbers: list[int]
    ) -> None:
        """Write the rows of a log's new events and move its head."""
        raise NotImplementedError

    def close(self) -> None:
        """See `Layout.close`."""
        self.reader.close()
        self.database.close()
