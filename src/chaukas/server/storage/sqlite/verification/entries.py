"""Entries and payloads: the segments of one block, decoded and compared with what their entries commit to."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import apsw
import zstandard
from google.protobuf.message import DecodeError

from chaukas.server.errors import StorageError
from chaukas.server.storage.entry import KIND_EVENT, KIND_KEY
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS, split_entries
from chaukas.server.storage.sqlite.verification.findings import Findings
from chaukas.server.wire.event_bytes import envelope_length
from chaukas.server.wire.fields import MalformedError
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.verify.bulk_check import CheckedEvents, check_events
from chaukas.verify.errors import VerificationError
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.verdict import COMPLETENESS

__all__ = ["Block", "BlockReading", "EventFields", "strictly_decompressed"]

_INDEX_MASK = (1 << INDEX_BITS) - 1
_SALTS_BYTES = 32

_SQL_SEGMENTS = (
    "SELECT place, events, received_at_ns, leaf_before, salts, length(digests), entries, bodies FROM segments"
    " WHERE place >= ? AND place < ? ORDER BY place"
)


class EventFields(NamedTuple):
    """What the derived tables need of an event."""

    event_id: str
    session_id: str
    trace_id: str
    span_id: str
    agent_id: str
    tags: tuple[str, ...]
    type: int
    status: int
    severity: int
    us: int
    sub: int


@dataclass(slots=True)
class Block:
    """The entries of one block from its first index on, up to its end or that of the log."""

    first_index: int
    #: Leaf hash and time of receipt of each entry.
    leaves: list[bytes] = field(default_factory=list)
    received_at_ns: list[int] = field(default_factory=list)
    #: Where each segment begins, with its time of receipt.
    segments: list[tuple[int, int]] = field(default_factory=list)
    #: None for an entry that is no event.
    events: list[EventFields | None] = field(default_factory=list)
    #: As the entries say: 32 bytes or None, and the place in the session.
    session_commitments: list[bytes | None] = field(default_factory=list)
    session_sequences: list[int] = field(default_factory=list)
    key_changes: list[tuple[int, KeyChange]] = field(default_factory=list)
    #: Keys of the event ids, 0 for an entry that is no event; made with the postings.
    id_keys: list[int] = field(default_factory=list)
    #: Whether every entry and event could be read: else nothing can be derived from them.
    readable: bool = True
    all_events: bool = True

    @property
    def end(self) -> int:
        """The index behind the last entry."""
        return self.first_index + len(self.leaves)


def strictly_decompressed(decompressor: zstandard.ZstdDecompressor, zipped: bytes) -> bytes:
    """One zstd frame and nothing behind it, without the bits of its header that a decoder ignores (RFC 8878 §3.1.1.1.1.3).

    Raises `zstandard.ZstdError`.
    """
    if len(zipped) < 5 or zipped[4] & 0x18:
        raise zstandard.ZstdError("not a frame as this server writes it")
    return decompressor.decompress(zipped, allow_extra_data=False)


class _Report(Protocol):
    """Takes a damage: what it is, and at which entry of the segment."""

    def __call__(self, what: str, at: int = 0) -> None: ...


class BlockReading:
    """Reads the blocks of one log in their order."""

    def __init__(self, log_no: int, origin: str, tenant_id: str, project_id: str) -> None:
        self._log_no = log_no
        self._origin = origin
        self._scope = (tenant_id, project_id)
        self._decompressor = zstandard.ZstdDecompressor()
        #: Of the entry before the next block.
        self.last_leaf = b""
        self.received_at_ns = 0

    def copy(self) -> BlockReading:
        """An independent copy."""
        other = BlockReading(self._log_no, self._origin, *self._scope)
        other.last_leaf, other.received_at_ns = self.last_leaf, self.received_at_ns
        return other

    def read(self, database: apsw.Connection, first_index: int, end: int, findings: Findings) -> Block:
        """The entries from a block's first index to `end` (not above the block's end), inside the caller's transaction."""
        block = Block(first_index)
        first = self._log_no << INDEX_BITS
        for row in fetch(database, _SQL_SEGMENTS, (first | first_index, first | end)):
            index = row[0] & _INDEX_MASK
            if index < block.end:
                findings.add("segments", "two segments hold the same entry", self._origin, index)
            if index != block.end:
                break
            self._read_segment(block, row, findings)
        if block.end != end:
            what = f"the entries from {block.end} to {end - 1} are missing"
            if block.end > end:
                what = f"the segment that ends before {block.end} reaches beyond {end}"
            findings.add("segments", what, self._origin, block.end, aspect=COMPLETENESS)
            block.readable = False
        return block

    def _read_segment(self, block: Block, row: tuple, findings: Findings) -> None:  # type: ignore[type-arg]
        _, events, received_at_ns, leaf_before, salts, digests_bytes, packed, zipped = row
        index = block.end

        def report(what: str, at: int = 0) -> None:
            findings.add("segments", what, self._origin, index + at)

        try:
            entries = split_entries(packed)
        except StorageError:
            entries = []
        if not 0 < events <= EVENTS_PER_BLOCK or len(entries) != events or len(salts) != _SALTS_BYTES * events:
            report(f"entries and salts are not those of {events} entries")
            # How far it reaches is not known; what follows begins somewhere behind.
            self._lose(block, max(1, min(events, EVENTS_PER_BLOCK - index % EVENTS_PER_BLOCK)))
            return
        block.segments.append((index, received_at_ns))
        if leaf_before != self.last_leaf:
            report("leaf_before is not the hash of the entry before")
        if digests_bytes not in {0, _SALTS_BYTES * events}:
            report(f"digests have {digests_bytes} bytes, not 0 or {_SALTS_BYTES * events}")
        try:
            bodies, envelopes = _split_bodies(strictly_decompressed(self._decompressor, zipped), events)
        except (zstandard.ZstdError, struct.error, ValueError):
            report(f"the payloads of {events} entries cannot be read")
            bodies, envelopes = [b""] * events, [0] * events
            checked = CheckedEvents([])
            block.readable = False
        else:
            checked = check_events(entries, salts, bodies, envelopes, self.received_at_ns)
            for damage in checked.damage:
                report(damage.what, damage.position)
        self._take(block, entries, bodies, envelopes, checked, received_at_ns, report)

    def _take(
        self, block: Block, entries: list[bytes], bodies: list[bytes], envelopes: list[int], checked: CheckedEvents,
        received_at_ns: int, report: _Report,
    ) -> None:  # fmt: skip
        if not checked.leaf_hashes:
            checked = check_events(entries, bytes(_SALTS_BYTES * len(entries)), bodies, envelopes)
        elif checked.received_at_ns != [received_at_ns] * len(entries):
            report("received_at_ns is not what the entries say")
        block.leaves += checked.leaf_hashes
        block.received_at_ns += [received_at_ns] * len(entries)
        block.session_commitments += checked.session_commitments
        block.session_sequences += checked.session_sequences
        self.last_leaf = checked.leaf_hashes[-1]
        self.received_at_ns = max(self.received_at_ns, received_at_ns)
        if not block.readable:
            block.events += [None] * len(entries)
            return
        kinds = {entry[3:4] for entry in entries}
        if kinds == {b"\x01"}:
            self._parse(block, bodies, envelopes, report)
            return
        if len(kinds) != 1:
            report("entries of several kinds share a segment")
        block.all_events = False
        for at, (entry, body) in enumerate(zip(entries, bodies, strict=True)):
            if entry[3:4] == bytes((KIND_EVENT,)):
                self._parse(block, [body], envelopes[at : at + 1], report)
                continue
            block.events.append(None)
            if entry[3:4] == bytes((KIND_KEY,)):
                try:
                    block.key_changes.append((block.first_index + len(block.events) - 1, KeyChange.parse(body)))
                except VerificationError as error:
                    report(str(error), at)

    def _parse(self, block: Block, bodies: Sequence[bytes], envelopes: Sequence[int], report: _Report) -> None:
        """The fields of events, and that they are cut where the envelope ends and belong to this log."""
        parse, scope, at = Event.FromString, self._scope, 0
        taken, new = block.events.append, tuple.__new__  # The constructor of a named tuple takes three times as long.
        try:
            for at, body in enumerate(bodies):
                event = parse(body)
                timestamp, trace_id = event.timestamp, event.trace_id
                nanos = timestamp.nanos
                if (event.tenant_id, event.project_id) != scope:
                    report("the event belongs to another tenant or project", at)
                if envelope_length(body, trace_id) != envelopes[at]:
                    report("the stored bytes are not cut where their envelope ends", at)
                fields = (
                    event.event_id, event.session_id, trace_id, event.span_id, event.agent_id, tuple(event.tags[:]),
                    event.type, event.status, event.severity,
                    timestamp.seconds * 1_000_000 + nanos // 1_000, nanos % 1_000,
                )  # fmt: skip
                taken(new(EventFields, fields))
        except (DecodeError, MalformedError):
            report("the stored bytes are no event", at)
            block.readable = False
            block.events += [None] * (len(bodies) - at)

    def _lose(self, block: Block, entries: int) -> None:
        """Go on behind a segment that cannot be read; every comparison that needs it is left out."""
        block.readable = False
        block.leaves += [b"\x00" * 32] * entries
        block.received_at_ns += [self.received_at_ns] * entries
        block.events += [None] * entries
        block.session_commitments += [None] * entries
        block.session_sequences += [0] * entries


def _split_bodies(plain: bytes, events: int) -> tuple[list[bytes], list[int]]:
    """The stored bytes and the lengths of their envelopes. Raises `struct.error` or `ValueError`."""
    lengths = struct.unpack_from(f"<{2 * events}I", plain)
    bodies: list[bytes] = []
    at = 8 * events
    for length in lengths[::2]:
        bodies.append(plain[at : at + length])
        at += length
    if at != len(plain):
        raise ValueError("the bodies do not fill the segment")
    return bodies, list(lengths[1::2])
