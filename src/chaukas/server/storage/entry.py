"""The format of the record: origins, salted commitments, log entries and leaf hashes. Every driver writes exactly this.

An entry is the deterministic protobuf serialisation of `chaukas.audit.v1.LogEntry`, written here by hand because it is made
once per event; a test compares it with the generated code. Sources: DESIGN "Tamper evidence: formats"; leaf hash of
RFC 6962 §2.1. These formats outlive the code: they change only with a decision record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from urllib.parse import quote

__all__ = [
    "ENTRY_VERSION",
    "KIND_EVENT",
    "KIND_KEY",
    "KIND_QUARANTINED",
    "ORIGIN_BYTES_MAX",
    "SALT_BYTES",
    "commitment",
    "encode_entry",
    "entry_head",
    "entry_kind",
    "event_entries",
    "leaf_hash",
    "log_id_of",
    "origin_of",
    "session_fields",
]

ENTRY_VERSION = 1
#: `LOG_ENTRY_KIND_EVENT`.
KIND_EVENT = 1
#: `LOG_ENTRY_KIND_QUARANTINED` and `LOG_ENTRY_KIND_KEY`.
KIND_QUARANTINED = 2
KIND_KEY = 3
#: No log has a longer origin (DESIGN "Origin"); a tenant whose events would need one has its events quarantined.
ORIGIN_BYTES_MAX = 255
#: Length in bytes of each of the three salts (envelope, content, session).
SALT_BYTES = 16


def origin_of(server_name: str, tenant_id: str, project_id: str) -> str:
    """The origin of a tenant's (and project's) event log: `<server name>/events/<tenant>[/<project>]`, parts percent-encoded."""
    origin = f"{quote(server_name, safe='')}/events/{quote(tenant_id, safe='')}"
    return f"{origin}/{quote(project_id, safe='')}" if project_id else origin


def log_id_of(origin: str) -> int:
    """The log's number: the first 8 bytes of SHA-256(origin) without the top bit, so that it fits a signed 64-bit integer."""
    return int.from_bytes(sha256(origin.encode()).digest()[:8], "big") & 0x7FFF_FFFF_FFFF_FFFF


def commitment(salt: bytes, data: bytes) -> bytes:
    """SHA-256(salt ‖ data), 32 bytes."""
    return sha256(salt + data).digest()


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962 §2.1: SHA-256(0x00 ‖ entry), 32 bytes."""
    return sha256(b"\x00" + entry).digest()


def _varint(value: int) -> bytes:
    """Base-128 varint of a non-negative integer below 2^64."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL_VARINTS = tuple(_varint(number) for number in range(4096))


def entry_head(kind: int, received_at_ns: int) -> bytes:
    """The first fields of an entry (version, kind, received_at_ns), the same for all events of one commit."""
    if received_at_ns < 0:
        raise ValueError("received_at_ns must not be negative")
    head = b"\x08" + _varint(ENTRY_VERSION) + b"\x10" + _varint(kind)
    return head + b"\x18" + _varint(received_at_ns) if received_at_ns else head


def entry_kind(entry: bytes) -> int:
    """The kind of an entry that `encode_entry` wrote: version and kind are its first two fields, of two bytes each."""
    return entry[3]


def encode_entry(
    head: bytes,
    envelope_commitment: bytes,
    content_commitment: bytes,
    session_commitment: bytes = b"",
    session_sequence: int = 0,
    principal_key: int = 0,
) -> bytes:
    """A `LogEntry`: `head` from `entry_head`, then the commitments (32 bytes each).

    Without a session (`session_commitment` empty) both session fields are absent; with one, the sequence is written even
    when it is 0. `principal_key` is absent when it is 0.
    """
    entry = head + b"\x22\x20" + envelope_commitment + b"\x2a\x20" + content_commitment
    if session_commitment:
        sequence = _SMALL_VARINTS[session_sequence] if session_sequence < 4096 else _varint(session_sequence)
        entry += b"\x32\x20" + session_commitment + b"\x38" + sequence
    if principal_key:
        entry += b"\x40" + _varint(principal_key)
    return entry


def session_fields(session_commitment: bytes, first_sequence: int, events: int) -> list[bytes]:
    """The session's fields in the entries of consecutive events of one session, as `encode_entry` writes them."""
    start = b"\x32\x20" + session_commitment + b"\x38"
    numbers = range(first_sequence, first_sequence + events)
    if numbers.stop <= len(_SMALL_VARINTS):
        return [start + varint for varint in _SMALL_VARINTS[numbers.start : numbers.stop]]
    return [start + _varint(number) for number in numbers]


def event_entries(
    head: bytes, salts: bytes, stored: Sequence[bytes], envelopes: Sequence[int], sessions: Iterable[bytes]
) -> list[bytes]:
    """The entries of consecutive events of one commit, with the commitments to what is stored.

    `salts` holds two salts for each event, envelope and content; `envelopes` the lengths of the envelopes in bytes; `sessions`
    what `session_fields` made, b"" for an event without a session. The same as `encode_entry` for each of them, in one loop,
    because every event that arrives passes here.
    """
    entries: list[bytes] = []
    head += b"\x22\x20"
    start = 0
    for body, envelope_bytes, session in zip(stored, envelopes, sessions, strict=True):
        middle, end = start + SALT_BYTES, start + 2 * SALT_BYTES
        envelope_commitment = sha256(salts[start:middle] + body[:envelope_bytes]).digest()
        content_commitment = sha256(salts[middle:end] + body[envelope_bytes:]).digest()
        entries.append(head + envelope_commitment + b"\x2a\x20" + content_commitment + session)
        start = end
    return entries
