"""What a driver must do for the transparency log, beside `storage.contract`: entries out, tiles and signed heads in.

The entry of an event and its index are written by `EventAppender.append`, in the transaction that acknowledges it. The tree
over the entries (C2SP tlog-tiles) and the signed heads follow from them: `tlog` computes, this contract keeps. A log is named by
its origin; `log_id` is `entry.log_id_of(origin)`. Every "must" has a test in `chaukas.server.testing.conformance_log`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

__all__ = [
    "EntryRecord",
    "LogInfo",
    "LogKeeping",
    "LogReader",
    "LogSnapshot",
    "LogStore",
    "LogWriter",
    "OtherEntry",
    "SignedHead",
    "Tile",
    "TileName",
    "TreeGrowth",
]

#: Level and number of a tile (C2SP tlog-tiles): level 0 holds leaf hashes, a tile at most 256 hashes.
TileName = tuple[int, int]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LogInfo:
    """A log as it is committed."""

    log_id: int
    origin: str
    tenant_id: str
    project_id: str
    #: Number of entries.
    size: int


@dataclass(frozen=True, slots=True)
class Tile:
    """Hashes of one tile, 32 bytes each, 1 to 256 of them."""

    level: int
    number: int
    hashes: bytes


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A checkpoint that was signed: it is stored before anybody sees it."""

    size: int
    root: bytes
    signed_at_ns: int
    #: The signed note with all its signature lines (C2SP signed-note, tlog-checkpoint).
    note: bytes


@dataclass(frozen=True, slots=True)
class TreeGrowth:
    """A new signed head of a log, and the tiles below it that are new or wider than before."""

    log_id: int
    tiles: tuple[Tile, ...]
    head: SignedHead


@dataclass(frozen=True, slots=True)
class OtherEntry:
    """An entry that is no event: what it commits to, as `envelope ‖ content`, like a stored event."""

    kind: int
    envelope: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """One entry with everything that opens its commitments."""

    index: int
    #: The `LogEntry` as it was hashed.
    entry: bytes
    #: `envelope ‖ content`; for an event its stored bytes.
    stored: bytes
    envelope_bytes: int
    envelope_salt: bytes
    content_salt: bytes
    #: Session id and its salt; empty without a session.
    session_id: str
    session_salt: bytes


class LogSnapshot(Protocol):
    """One committed state of the logs: whatever it is asked, the answers fit together. Raises `StorageError`."""

    def logs(self, tenant_id: str | None, project_id: str | None) -> list[LogInfo]:
        """All logs of a tenant and project (None: any), ordered by origin."""
        ...

    def log(self, log_id: int) -> LogInfo | None:
        """One log, or None."""
        ...

    def grown_logs(self) -> list[LogInfo]:
        """Logs whose size differs from the size of their newest signed head; cheap when there are none."""
        ...

    def entries(self, log_id: int, start: int, end: int) -> list[bytes]:
        """The committed entries of the indices start to end - 1, as they were hashed, at most those there are."""
        ...

    def tiles(self, log_id: int, names: Sequence[TileName]) -> list[bytes]:
        """The kept hashes of each tile, in order; empty bytes where none is kept. The last tile of a level may be partial."""
        ...

    def head(self, log_id: int, size: int | None = None) -> SignedHead | None:
        """The newest signed head, or the one of that size if it is kept."""
        ...

    def covering_head(self, log_id: int, index: int) -> SignedHead | None:
        """The smallest kept head that covers an index. One that two keys of the log signed must be kept for ever."""
        ...

    def entry_record(self, log_id: int, index: int) -> EntryRecord | None:
        """One entry with its bytes and salts, or None behind the end."""
        ...

    def find_event(self, tenant_id: str | None, project_id: str | None, event_id: str) -> list[tuple[LogInfo, int]]:
        """Where an event id stands: log and index, one per log within the scope."""
        ...


class LogReader(Protocol):
    """Reads logs, entries, tiles and heads: several questions at once by `read`, single ones by the other methods."""

    async def read(self, work: Callable[[LogSnapshot], _T]) -> _T:
        """What `work` makes of one snapshot of the store, in one visit: a proof asks for all its parts together.

        `work` may run in any thread, and more than once when a driver has to repeat its transaction. So it asks the snapshot and
        computes; it waits for nothing, and does not keep the snapshot. What it raises must come out unchanged.
        """
        ...

    async def logs(self, tenant_id: str | None, project_id: str | None) -> list[LogInfo]:
        """See `LogSnapshot.logs`."""
        ...

    async def log(self, log_id: int) -> LogInfo | None:
        """See `LogSnapshot.log`."""
        ...

    async def grown_logs(self) -> list[LogInfo]:
        """See `LogSnapshot.grown_logs`."""
        ...

    async def entries(self, log_id: int, start: int, end: int) -> list[bytes]:
        """See `LogSnapshot.entries`."""
        ...

    async def head(self, log_id: int, size: int | None = None) -> SignedHead | None:
        """See `LogSnapshot.head`."""
        ...

    async def covering_head(self, log_id: int, index: int) -> SignedHead | None:
        """See `LogSnapshot.covering_head`."""
        ...

    async def entry_record(self, log_id: int, index: int) -> EntryRecord | None:
        """See `LogSnapshot.entry_record`."""
        ...


class LogWriter(Protocol):
    """Keeps what the sequencer computed."""

    async def grow_trees(self, growths: Sequence[TreeGrowth]) -> None:
        """Store tiles and heads of several logs in one durable transaction.

        A tile that is kept must be a prefix of the one that replaces it, a head must not be smaller than the newest one, and not
        larger than the log: else `StorageError`, and nothing is changed.
        """
        ...

    async def cosign_head(self, log_id: int, size: int, note: bytes) -> None:
        """Replace the note of a kept head by one with more signature lines; the text before them must be the same."""
        ...

    async def log_quarantined(self, items_max: int) -> int:
        """Give up to so many attributed items of the quarantine that have none yet an entry (kind quarantined) in their log.

        One durable transaction, oldest first; returns how many there were. The entry commits to the bytes as they were received.
        """
        ...

    async def append_others(self, log_id: int, entries: Sequence[OtherEntry]) -> int:
        """Append entries that are no events, in one durable transaction; returns the index of the first one."""
        ...


class LogStore(LogReader, LogWriter, Protocol):
    """The sum."""


@runtime_checkable
class LogKeeping(Protocol):
    """A store that keeps the transparency log too."""

    @property
    def log_store(self) -> LogStore:
        """Its logs, as long as the store is open."""
        ...
