"""Many entries at once: what `entries` and `payloads` check one by one, in a loop that is made for whole logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from chaukas.verify.entries import ENTRY_PATTERN, KIND_EVENT, SALT_BYTES, varint_value
from chaukas.verify.errors import VerificationError

__all__ = ["CheckedEvents", "Damage", "check_events"]

_EVENT = bytes((KIND_EVENT,))
_UNREADABLE = "the log entry is not the canonical form of a LogEntry of version 1"
_TOO_EARLY = "its time of receipt is before that of the entry before"
_WRONG_CUT = "the stored bytes are not cut where their envelope ends"


@dataclass(frozen=True, slots=True)
class Damage:
    """One entry of a bulk is not what it should be: its position in the bulk, and a sentence."""

    position: int
    what: str


@dataclass(slots=True)
class CheckedEvents:
    """The outcome of `check_events`. `leaf_hashes` has one hash for every entry, damaged ones included.

    `received_at_ns`, `session_commitments` and `session_sequences` are as the entries say: the last two are None and 0 without a
    session, and all three are 0, None, 0 where an entry is unreadable. `damage` is in the order of positions.
    """

    leaf_hashes: list[bytes]
    received_at_ns: list[int] = field(default_factory=list)
    session_commitments: list[bytes | None] = field(default_factory=list)
    session_sequences: list[int] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)


def check_events(
    entries: Sequence[bytes],
    salts: bytes | Sequence[bytes],
    bodies: Sequence[bytes],
    envelope_lengths: Sequence[int],
    received_at_floor_ns: int = 0,
) -> CheckedEvents:
    """Check consecutive entries of a log against their payloads.

    `salts` holds 32 bytes per entry, the envelope's salt before the content's: one byte string, or a sequence of them.
    `envelope_lengths` says how the store cuts each body (0 for entries that are no events). Damage does not stop the check. Left
    to the caller, who knows the salt of each session: session ids, and that sequences are dense. For each entry:

    1. Its leaf hash is computed.
    2. It is in canonical form.
    3. Its time of receipt is not before that of the entry before (for the first: `received_at_floor_ns`).
    4. The content does not begin with a field of the envelope; only events have an envelope.
    5. Envelope and content are those that the entry commits to. (So a wrong cut is a wrong commitment, unless the server has
       committed to a wrong cut; that all of an envelope's fields are 1 to 23 is left to `payloads.check_payload`.)

    Raises `VerificationError` only if the sequences are not equally long.
    """
    count = len(entries)
    joined = salts if isinstance(salts, bytes) else b"".join(salts)
    if not count == len(bodies) == len(envelope_lengths) or len(joined) != 2 * SALT_BYTES * count:
        raise VerificationError("entries, salts, bodies and envelope lengths are not equally many")
    # 1.
    checked = CheckedEvents([sha256(b"\x00" + entry).digest() for entry in entries])
    times, commitments, sequences = checked.received_at_ns, checked.session_commitments, checked.session_sequences
    match_entry = ENTRY_PATTERN.fullmatch
    seen, seen_ns = b"", 0  # Events of one commit share their time of receipt, so most times are read once.
    floor_ns, end = received_at_floor_ns, 0
    for entry, body, cut in zip(entries, bodies, envelope_lengths, strict=True):
        start, middle, end = end, end + SALT_BYTES, end + 2 * SALT_BYTES
        # 2.
        match = match_entry(entry)
        if match is None:
            checked.damage.append(Damage(len(times), _UNREADABLE))
            times.append(0)
            commitments.append(None)
            sequences.append(0)
            continue
        kind, received, envelope, content, session, sequence, _ = match.groups()
        if received != seen:
            seen, seen_ns = received, varint_value(received) if received else 0
        # 3.
        if seen_ns < floor_ns:
            checked.damage.append(Damage(len(times), _TOO_EARLY))
        else:
            floor_ns = seen_ns
        # 4. and 5. come in one condition, since nearly always nothing is wrong.
        rest = body[cut:]
        if (
            sha256(joined[start:middle] + body[:cut]).digest() != envelope
            or sha256(joined[middle:end] + rest).digest() != content
            or kind != _EVENT
            or not 0 <= cut <= len(body)
            or (rest < b"\xc0" and rest and (rest < b"\x80" or rest[1:2] < b"\x02"))
        ):
            _name_damage(checked, match.groups(), joined[start:end], body, cut)
        times.append(seen_ns)
        commitments.append(session)
        sequences.append(varint_value(sequence) if sequence else 0)
    return checked


def _name_damage(checked: CheckedEvents, fields: Sequence[bytes], salts: bytes, body: bytes, cut: int) -> None:
    """Add what is wrong with the entry whose position is next, if anything is."""
    kind, _, envelope, content = fields[:4]
    rest = body[cut:]
    wrong = []
    if sha256(salts[:SALT_BYTES] + body[:cut]).digest() != envelope:
        wrong.append("the envelope is not what the log entry commits to")
    if sha256(salts[SALT_BYTES:] + rest).digest() != content:
        wrong.append("the content is not what the log entry commits to")
    if not 0 <= cut <= len(body) or (cut and kind != _EVENT) or (kind == _EVENT and _begins_with_envelope_field(rest)):
        wrong.append(_WRONG_CUT)
    if wrong:
        checked.damage.append(Damage(len(checked.received_at_ns), "; ".join(wrong)))


def _begins_with_envelope_field(content: bytes) -> bool:
    """Whether the first tag's field number is below 24: one byte, or a second byte that says 128 to 191."""
    return bool(content) and (content[0] < 0x80 or (content[0] < 0xC0 and content[1:2] <= b"\x01"))
