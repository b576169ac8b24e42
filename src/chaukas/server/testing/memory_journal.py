"""What `MemoryStore` keeps, and how it keeps it in a file: one line of JSON per change, synced before it counts."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from chaukas.server.errors import CannotServeError
from chaukas.server.storage.contract import EventRecord, QuarantineRow

__all__ = ["Change", "Journal", "KeptEvent"]

_FILE_NAME = "memory-store.jsonl"
_BYTES_FIELDS = frozenset(
    "stored received envelope_salt content_salt session_salt entry leaf_hash leaf_hash_before raw".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """One event as it stands in the record, with everything that its log entry was made from (DESIGN, formats)."""

    record: EventRecord
    origin: str
    log_id: int
    #: Dense from 0 within the log.
    index: int
    received_at_ns: int
    envelope_salt: bytes
    content_salt: bytes
    #: The same for all events of one session of one log; empty without a session.
    session_salt: bytes
    #: Dense from 0 within the session; -1 without a session.
    session_sequence: int
    #: The serialised `LogEntry`.
    entry: bytes
    leaf_hash: bytes
    #: Empty at index 0.
    leaf_hash_before: bytes


@dataclass(slots=True)
class Change:
    """One transaction: events that are new, quarantine rows that are new or counted up, ids of rows that go."""

    events: list[KeptEvent] = field(default_factory=list)
    rows: list[QuarantineRow] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


class Journal:
    """The changes of one store, in order, in one file. A crash leaves at most a torn last line, which never counted."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / _FILE_NAME
        self._file: BinaryIO | None = None

    def open(self) -> list[Change]:
        """All changes so far. Raises `CannotServeError` when the file cannot be read, written or understood."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
            content = self._path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                os.truncate(self._path, len(whole))
            changes = [_decode(line) for line in whole.splitlines()]
            self._file = self._path.open("ab")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CannotServeError(f"the journal {self._path} cannot be used") from error
        return changes

    def write(self, change: Change) -> None:
        """Append one change and sync it. Raises `OSError`; then the file may end in a torn line and must be opened again."""
        if self._file is None:
            raise OSError("the journal is not open")
        self._file.write(_encode(change))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Release the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _encode(change: Change) -> bytes:
    return json.dumps(asdict(change), default=bytes.hex).encode() + b"\n"


def _decode(line: bytes) -> Change:
    change = json.loads(line)
    return Change(
        events=[KeptEvent(**_fields({**event, "record": EventRecord(**_fields(event["record"]))})) for event in change["events"]],
        rows=[QuarantineRow(**_fields(row)) for row in change["rows"]],
        removed=change["removed"],
    )


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has neither bytes nor tuples: give the fields back the types that they had."""
    return {
        name: bytes.fromhex(value) if name in _BYTES_FIELDS else tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
    }
