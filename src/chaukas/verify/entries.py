"""Log entries: a strict decoder of `chaukas.audit.v1.LogEntry` (proto/chaukas/audit/v1/log_entry.proto), version 1.

An entry is the deterministic protobuf serialisation of that message: fields in ascending order, each at most once, numbers in
their shortest form, no default values spelled out, no other fields. One regular expression says all of this, so a value has
exactly one encoding here, and nothing can hide in an entry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from chaukas.verify.errors import UnsupportedError, VerificationError

__all__ = [
    "KIND_ERASURE",
    "KIND_EVENT",
    "KIND_KEY",
    "KIND_NAMES",
    "KIND_QUARANTINED",
    "SALT_BYTES",
    "LogEntry",
    "check_commitment",
    "decode_entry",
]

KIND_EVENT = 1
KIND_QUARANTINED = 2
KIND_KEY = 3
KIND_ERASURE = 4
KIND_NAMES = {KIND_EVENT: "event", KIND_QUARANTINED: "quarantined", KIND_KEY: "key", KIND_ERASURE: "erasure"}
#: Length in bytes of each salt.
SALT_BYTES = 16

#: Varints in their shortest form: from 1 to 2^63 - 1, and from 1 to 2^64 - 1.
_POSITIVE_63 = rb"[\x80-\xff]{0,8}[\x01-\x7f]"
_POSITIVE_64 = rb"(?:" + _POSITIVE_63 + rb"|[\x80-\xff]{9}\x01)"
ENTRY_PATTERN = re.compile(
    rb"\x08\x01"  # version = 1
    rb"\x10(?P<kind>[\x01-\x04])"
    rb"(?:\x18(?P<received>" + _POSITIVE_63 + rb"))?"
    rb"\x22\x20(?P<envelope>.{32})"
    rb"\x2a\x20(?P<content>.{32})"
    rb"(?:\x32\x20(?P<session>.{32})\x38(?P<sequence>\x00|" + _POSITIVE_64 + rb"))?"
    rb"(?:\x40(?P<principal>" + _POSITIVE_64 + rb"))?",
    re.DOTALL,
)
_OTHER_VERSION = re.compile(rb"\x08(?:[\x02-\x7f]|[\x80-\xff]{1,9}[\x01-\x7f])\x10", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One leaf. Commitments are 32 bytes; both session fields are None without a session; `principal_key` 0 is none."""

    kind: int
    received_at_ns: int
    envelope_commitment: bytes
    content_commitment: bytes
    session_commitment: bytes | None
    session_sequence: int | None
    principal_key: int


def varint_value(data: bytes) -> int:
    """The number of a varint that the pattern has taken as a whole."""
    value = 0
    for shift, byte in enumerate(data):
        value |= (byte & 0x7F) << 7 * shift
    return value


def decode_entry(data: bytes) -> LogEntry:
    """Read an entry. Raises `VerificationError` for every other byte string, `UnsupportedError` for a newer version."""
    match = ENTRY_PATTERN.fullmatch(data)
    if match is None:
        if _OTHER_VERSION.match(data):
            raise UnsupportedError("the log entry has a version that this verifier does not know")
        raise VerificationError("the log entry is not the canonical form of a LogEntry of version 1")
    kind, received, envelope, content, session, sequence, principal = match.groups()
    return LogEntry(
        kind=kind[0],
        received_at_ns=varint_value(received) if received else 0,
        envelope_commitment=envelope,
        content_commitment=content,
        session_commitment=session,
        session_sequence=varint_value(sequence) if sequence else None,
        principal_key=varint_value(principal) if principal else 0,
    )


def check_commitment(commitment: bytes, salt: bytes, data: bytes, what: str) -> None:
    """That `commitment` is SHA-256(salt ‖ data) with a salt of 16 bytes. Raises `VerificationError` naming `what`."""
    if len(salt) != SALT_BYTES:
        raise VerificationError(f"the salt of the {what} has {len(salt)} bytes, not {SALT_BYTES}")
    if sha256(salt + data).digest() != commitment:
        raise VerificationError(f"the {what} is not what the log entry commits to")
