"""The one writer: duplicates, places, salts, commitments, entries, columns, counts, all in one transaction.

Used by the record's one writer (`record_writer`). Whatever memory holds between transactions (heads, sessions, postings) is a
copy of what the database says; when a transaction fails the copy is thrown away and read again, by the code that a start uses.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import repeat

import apsw
import zstandard

from chaukas.server.errors import StorageError
from chaukas.server.storage.contract import EventRecord, IngestStatus, Outcome, QuarantineItem
from chaukas.server.storage.entry import (
    KIND_EVENT,
    KIND_QUARANTINED,
    ORIGIN_BYTES_MAX,
    SALT_BYTES,
    entry_head,
    event_entries,
    leaf_hash,
    origin_of,
    session_fields,
)
from chaukas.server.storage.log_contract import OtherEntry
from chaukas.server.storage.sqlite.blocks import BlockReader, write_slice
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK, SliceBuilder
from chaukas.server.storage.sqlite.duplicates import Duplicates
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.logs import LogHead, Logs
from chaukas.server.storage.sqlite.postings import (
    KIND_AGENT,
    KIND_EVENT_ID,
    KIND_SESSION,
    KIND_SPAN,
    KIND_TAG,
    KIND_TRACE,
    Postings,
    pack_prefixes,
)
from chaukas.server.storage.sqlite.quarantine import Quarantine
from chaukas.server.storage.sqlite.segments import (
    INDEX_BITS,
    SEGMENT_BYTES_MAX,
    SEGMENT_EVENTS_MAX,
    SegmentReader,
    encode_bodies,
    join_entries,
)
from chaukas.server.storage.sqlite.sessions import HOUR_US, Rollup, Sessions

__all__ = ["Appender"]

_SQL_SEGMENT = "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_COMPRESSION_LEVEL = 1


class _Part:
    """The new events of one log in one transaction, in order, with their id keys and the prefixes of their postings."""

    __slots__ = ("head", "keys", "prefixes", "records")

    def __init__(self, head: LogHead) -> None:
        self.head = head
        self.records: list[EventRecord] = []
        self.keys: list[int] = []
        self.prefixes: list[bytes] = []


def _end_of_run(records: list[EventRecord], start: int) -> int:
    """Behind the last of the records that have session, trace, agent and tags of the one at `start`."""
    first = records[start]
    session_id, trace_id, agent_id, tags = first.session_id, first.trace_id, first.agent_id, first.tags
    for end in range(start + 1, len(records)):
        record = records[end]
        if record.session_id != session_id or record.trace_id != trace_id or record.agent_id != agent_id or record.tags != tags:
            return end
    return len(records)


class Appender:
    """Appends items through one connection."""

    def __init__(self, database: apsw.Connection, logs: Logs, keys: IdKeys, postings: Postings, quarantine: Quarantine) -> None:
        self._database = database
        self._logs = logs
        self._keys = keys
        self._postings = postings
        self._quarantine = quarantine
        self._sessions = Sessions()
        self._segments = SegmentReader()
        self._blocks = BlockReader()
        self._duplicates = Duplicates(postings, self._segments, self._blocks)
        self._compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True)
        self._rollups: dict[int, Rollup] = {}

    def recover(self) -> None:
        """Read everything that memory holds from the database; after opening and after a failed transaction."""
        self._logs.recover(self._database)
        self._sessions.recover(self._database)
        self._postings.recover(self._database)
        self._quarantine.recover(self._database)
        self._segments.forget()
        self._blocks.forget()

    def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """One transaction; see `EventAppender.append`."""
        with self._transaction():
            outcomes = self._append(items, time.time_ns())
        self._postings.committed()
        return outcomes

    def append_others(self, log_id: int, entries: Sequence[OtherEntry]) -> int:
        """One transaction; see `LogWriter.append_others`."""
        with self._transaction():
            head = self._logs.head_of(self._database, log_id)
            if head is None:
                raise StorageError(f"there is no log with the number {log_id}")
            first_index = head.next_index
            self._append_others(head, entries)
        return first_index

    def log_quarantined(self, items_max: int) -> int:
        """One transaction; see `LogWriter.log_quarantined`."""
        with self._transaction():
            waiting = self._quarantine.unlogged(self._database, items_max)
            for number, tenant_id, project_id, raw in waiting:
                place = -1
                if len(origin_of(self._logs.server_name, tenant_id, project_id)) <= ORIGIN_BYTES_MAX:
                    head = self._logs.head(self._database, tenant_id, project_id, create=True)
                    if head is None:
                        raise AssertionError("a log is created when it is missing")
                    place = head.log_no << INDEX_BITS | head.next_index
                    self._append_others(head, [OtherEntry(KIND_QUARANTINED, b"", raw)])
                self._quarantine.logged(self._database, number, place)
        return len(waiting)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """Leave no transaction open and no memory of what was not stored."""
        try:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
        finally:
            self.recover()

    def _append(self, items: Sequence[EventRecord | QuarantineItem], now_ns: int) -> list[Outcome]:
        self._rollups = {}
        parts, outcomes = self._sort_out(items, now_ns)
        postings: list[tuple[list[bytes], int]] = []
        for part in parts:
            if part.records:
                self._append_part(part, now_ns, postings)
        self._postings.add(self._database, postings)
        self._sessions.write(self._database, self._rollups)
        for part in parts:
            if part.records:
                rollup = self._rollups[part.head.log_no]
                self._logs.advance(self._database, part.head, rollup.new_sessions, rollup.added_duration_us)
        return outcomes

    def _sort_out(self, items: Sequence[EventRecord | QuarantineItem], now_ns: int) -> tuple[list[_Part], list[Outcome]]:
        """Decide for every item: new (into its log's part), duplicate, or kept aside."""
        parts: dict[tuple[str, str], _Part] = {}
        by_log: dict[tuple[str, str], list[int]] = {}
        outcomes: list[Outcome] = [None] * len(items)  # type: ignore[list-item]  # every place is filled below
        for place, item in enumerate(items):
            if isinstance(item, QuarantineItem):
                kept = self._quarantine.keep(self._database, item, now_ns)
                outcomes[place] = Outcome(IngestStatus.QUARANTINED, item.event_id, "; ".join(item.reasons), quarantine_id=kept)
            else:
                by_log.setdefault((item.tenant_id, item.project_id), []).append(place)
        for scope, places in by_log.items():
            head = self._logs.head(self._database, *scope, create=True)
            if head is None:
                raise AssertionError("a log is created when it is missing")
            part = parts[scope] = _Part(head)
            records: list[EventRecord] = [items[place] for place in places]  # type: ignore[misc]  # sorted out above
            self._sort_out_log(part, records, places, outcomes, now_ns)
        return list(parts.values()), outcomes

    def _sort_out_log(
        self, part: _Part, records: list[EventRecord], places: list[int], outcomes: list[Outcome], now_ns: int
    ) -> None:
        log_no, origin = part.head.log_no, part.head.origin
        keys = self._keys.keys([record.event_id for record in records])
        prefixes = pack_prefixes(log_no, KIND_EVENT_ID, keys)
        stored = self._duplicates.stored(self._database, log_no, records, keys, prefixes)
        index = part.head.next_index
        if not stored and len({record.event_id for record in records}) == len(records):
            part.records, part.keys, part.prefixes = records, keys, prefixes
            for record, place in zip(records, places, strict=True):
                outcomes[place] = Outcome(IngestStatus.ACCEPTED, record.event_id, "", origin, index)
                index += 1
            return
        first_here: dict[str, tuple[EventRecord, Outcome]] = {}
        for record, key, prefix, place in zip(records, keys, prefixes, places, strict=True):
            event_id = record.event_id
            known = stored.get(event_id)
            earlier = first_here.get(event_id)
            if known is None and earlier is None:
                outcome = outcomes[place] = Outcome(IngestStatus.ACCEPTED, event_id, "", origin, index)
                first_here[event_id] = (record, outcome)
                part.records.append(record)
                part.keys.append(key)
                part.prefixes.append(prefix)
                index += 1
                continue
            if known is not None:
                same, stands_at = known.same_content(record.received), known.index
            else:
                assert earlier is not None  # noqa: S101  one of the two is set
                same, stands_at = record.received in (earlier[0].received, earlier[0].stored), earlier[1].index
            if same:
                outcomes[place] = Outcome(IngestStatus.DUPLICATE, event_id, "", origin, stands_at)
                continue
            reason = f"event_id: an event with this id and other content is stored at {origin}#{stands_at}"
            item = QuarantineItem(record.tenant_id, record.project_id, event_id, record.received, (reason,))
            kept = self._quarantine.keep(self._database, item, now_ns)
            outcomes[place] = Outcome(IngestStatus.REJECTED, event_id, reason, quarantine_id=kept)

    def _append_part(self, part: _Part, now_ns: int, postings: list[tuple[list[bytes], int]]) -> None:
        """Cut a log's new events into slices that end at block boundaries and segments that end at slices."""
        head = part.head
        head.received_at_ns = max(head.received_at_ns, now_ns)
        rollup = self._rollups[head.log_no] = Rollup(head.log_no)
        start = 0
        while start < len(part.records):
            room = EVENTS_PER_BLOCK - head.next_index % EVENTS_PER_BLOCK
            end = min(start + room, len(part.records))
            records = part.records[start:end]
            first_index = head.next_index
            columns, sessions = self._columns(head.log_no, records, part.keys[start:end], rollup)
            self._write_segments(head, records, sessions)
            write_slice(self._database, self._compressor, head.log_no, first_index, columns)
            prefixes = part.prefixes[start:end] + self._prefixes(head.log_no, columns)
            postings.append((prefixes, first_index // EVENTS_PER_BLOCK))
            start = end

    def _append_others(self, head: LogHead, entries: Sequence[OtherEntry]) -> None:
        """Entries that are no events: each in a segment of its own, and a gap in the columns of the events."""
        head.received_at_ns = max(head.received_at_ns, time.time_ns())
        for entry in entries:
            salts = os.urandom(2 * SALT_BYTES)
            stored, first_index = entry.envelope + entry.content, head.next_index
            start = entry_head(entry.kind, head.received_at_ns)
            packed = event_entries(start, salts, [stored], [len(entry.envelope)], [b""])
            row = (
                head.log_no << INDEX_BITS | first_index, 1, head.received_at_ns, head.last_leaf, salts, b"",
                join_entries(packed), encode_bodies(self._compressor, [stored], [len(entry.envelope)]),
            )  # fmt: skip
            self._database.execute(_SQL_SEGMENT, row)
            head.next_index += 1
            head.last_leaf = leaf_hash(packed[0])
            columns = SliceBuilder()
            columns.add_gap(head.received_at_ns // 1_000, 1)
            write_slice(self._database, self._compressor, head.log_no, first_index, columns)
        self._logs.advance_others(self._database, head, len(entries))

    def _columns(
        self, log_no: int, records: list[EventRecord], keys: list[int], rollup: Rollup
    ) -> tuple[SliceBuilder, list[bytes]]:
        """The columns of a slice, and the session's fields in each event's entry.

        Neighbours mostly share session, trace, agent and tags: what is the same for a run of events is looked up once.
        """
        columns = SliceBuilder()
        numbers, traces, agents, tagsets = columns.session_numbers, columns.traces, columns.agents, columns.tagsets
        spans = columns.spans
        columns.id_key = keys
        columns.us = timestamps = [record.timestamp_us for record in records]
        columns.sub = [record.timestamp_sub_ns for record in records]
        columns.type = [record.type for record in records]
        columns.status = [record.status for record in records]
        columns.severity = [record.severity for record in records]
        columns.span = [spans.setdefault(record.span_id, len(spans)) for record in records]
        hours = [timestamp // HOUR_US for timestamp in timestamps]
        rollup.by_hour_and_type.update(zip(hours, columns.type, strict=True))
        self._sessions.load(self._database, log_no, {record.session_id for record in records})
        sessions: list[bytes] = []
        start = 0
        while start < len(records):
            first = records[start]
            end = _end_of_run(records, start)
            length = end - start
            session_at = 0
            if first.session_id:
                session = self._sessions.touch(log_no, first.session_id, timestamps[start:end], hours[start:end])
                sessions += session_fields(session.commitment, session.events, length)
                session.events += length
                session_at = numbers.setdefault(session.session_no, len(numbers))
            else:
                sessions += repeat(b"", length)
            columns.session += repeat(session_at, length)
            columns.trace += repeat(traces.setdefault(first.trace_id, len(traces)), length)
            columns.agent += repeat(agents.setdefault(first.agent_id, len(agents)), length)
            columns.tagset += repeat(tagsets.setdefault(first.tags, len(tagsets)), length)
            start = end
        return columns, sessions

    def _write_segments(self, head: LogHead, records: list[EventRecord], sessions: list[bytes]) -> None:
        start, size = 0, 0
        for at, record in enumerate(records):
            length = len(record.stored)
            if at > start and (at - start >= SEGMENT_EVENTS_MAX or size + length > SEGMENT_BYTES_MAX):
                self._write_segment(head, records[start:at], sessions[start:at])
                start, size = at, 0
            size += length
        self._write_segment(head, records[start:], sessions[start:])

    def _write_segment(self, head: LogHead, records: list[EventRecord], sessions: list[bytes]) -> None:
        events = len(records)
        salts = os.urandom(2 * SALT_BYTES * events)
        stored = [record.stored for record in records]
        envelopes = [record.envelope_bytes for record in records]
        entries = event_entries(entry_head(KIND_EVENT, head.received_at_ns), salts, stored, envelopes, sessions)
        # Bytes that were stored as they came are compared as they are; a digest is needed only beside enriched ones.
        keeps_digests = any(record.received is not record.stored for record in records)
        row = (
            head.log_no << INDEX_BITS | head.next_index, events, head.received_at_ns, head.last_leaf,
            salts, _digests(salts, records) if keeps_digests else b"", join_entries(entries),
            encode_bodies(self._compressor, stored, envelopes),
        )  # fmt: skip
        self._database.execute(_SQL_SEGMENT, row)
        head.next_index += events
        head.last_leaf = leaf_hash(entries[-1])

    def _prefixes(self, log_no: int, columns: SliceBuilder) -> list[bytes]:
        """The prefixes of a slice's postings but for those of the event ids, which are made with the look for duplicates."""
        keys = self._keys.keys
        prefixes = pack_prefixes(log_no, KIND_SESSION, filter(None, columns.session_numbers))
        for kind, strings in ((KIND_TRACE, columns.traces), (KIND_SPAN, columns.spans), (KIND_AGENT, columns.agents)):
            prefixes += pack_prefixes(log_no, kind, keys(filter(None, strings)))
        tags = {tag for tagset in columns.tagsets for tag in tagset}
        return prefixes + pack_prefixes(log_no, KIND_TAG, keys(tags))


def _digests(salts: bytes, records: list[EventRecord]) -> bytes:
    """The `digests` column of a segment."""
    size = 2 * SALT_BYTES
    return b"".join(sha256(salts[at * size : (at + 1) * size] + record.received).digest() for at, record in enumerate(records))
