"""What an entry commits to: the payload and the salts of one entry.

The payload of an `event` is its stored bytes, cut into envelope and content; of every other kind the envelope is empty and the
payload is the content.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.verify.entries import KIND_EVENT, SALT_BYTES, LogEntry, check_commitment
from chaukas.verify.errors import VerificationError
from chaukas.verify.stored_events import StoredEvent, read_stored_event

__all__ = ["Salts", "check_payload"]


@dataclass(frozen=True, slots=True)
class Salts:
    """Salts of 16 bytes each; None where a salt was erased, or there is no session, or it was not handed out."""

    envelope: bytes | None = None
    content: bytes | None = None
    session: bytes | None = None

    def __post_init__(self) -> None:
        for name in ("envelope", "content", "session"):
            salt = getattr(self, name)
            if salt is not None and len(salt) != SALT_BYTES:
                raise VerificationError(f"the salt of the {name} has {len(salt)} bytes, not {SALT_BYTES}")


def check_payload(entry: LogEntry, payload: bytes, salts: Salts) -> StoredEvent | None:
    """That `payload` is what `entry` commits to; returns the event, or None for entries of other kinds.

    1. The payload is cut here, by the numbers of its fields, whatever the server says of its parts.
    2. Envelope and content are those that were committed to, each with its salt.
    3. An event has session fields in its entry exactly if it names a session; with the session's salt, it is that session.

    Raises `VerificationError`.
    """
    # 1.
    event = read_stored_event(payload) if entry.kind == KIND_EVENT else None
    envelope, content = (event.envelope, event.content) if event else (b"", payload)
    # 2.
    if salts.envelope is None or salts.content is None:
        raise VerificationError("the payload is here, but not the salts of its envelope and content")
    check_commitment(entry.envelope_commitment, salts.envelope, envelope, "envelope")
    check_commitment(entry.content_commitment, salts.content, content, "content")
    # 3.
    session_id = event.session_id if event else ""
    if event is not None and bool(session_id) != (entry.session_commitment is not None):
        raise VerificationError("the log entry and the event disagree on whether there is a session")
    if salts.session is not None:
        if entry.session_commitment is None:
            raise VerificationError("there is a salt of a session, but no session")
        check_commitment(entry.session_commitment, salts.session, session_id.encode(), "session id")
    return event
