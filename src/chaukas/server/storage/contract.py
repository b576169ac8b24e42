"""The storage contract: what a driver must do. Every "must" has a test in `chaukas.server.testing.conformance`.

Callers take the narrowest protocol that serves them (`EventAppender`, `EventReader`, `ArrivalReader`, `StatsReader`,
`SessionReader`, `QuarantineStore`); a driver implements their sum, `Store`. All methods are coroutines of the server's event
loop; a driver does its blocking work in threads of its own. Times are the client's `timestamp` as whole microseconds since 1970
(`timestamp_us`, floor, may be negative) plus the remaining nanoseconds (`timestamp_sub_ns`, 0 to 999); server times
(`received_at_ns`) are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from chaukas.server.text.expression import TextQuery

__all__ = [
    "ArrivalPoint",
    "ArrivalReader",
    "Arrivals",
    "EventAppender",
    "EventFilter",
    "EventReader",
    "EventRecord",
    "EventStats",
    "IngestStatus",
    "Outcome",
    "Page",
    "PageRequest",
    "Position",
    "QuarantineItem",
    "QuarantineRow",
    "QuarantineStore",
    "SessionPlace",
    "SessionReader",
    "SessionRow",
    "StatsReader",
    "Store",
    "StoreInfo",
    "StoredEvent",
]


class IngestStatus(StrEnum):
    """What became of one submitted event; the values stand in ingest answers."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"


@dataclass(slots=True)
class EventRecord:
    """A validated event, ready to be appended."""

    tenant_id: str
    project_id: str
    event_id: str
    session_id: str
    trace_id: str
    span_id: str
    agent_id: str
    tags: tuple[str, ...]
    type: int
    status: int
    severity: int
    timestamp_us: int
    timestamp_sub_ns: int
    #: Deterministic serialisation after enrichment, without field 1000: `envelope ‖ content`. Kept byte for byte.
    stored: bytes
    #: Length in bytes of the envelope, the prefix of `stored` that holds the fields 1 to 23.
    envelope_bytes: int
    #: Deterministic serialisation as received, before enrichment, without field 1000; decides "same content", see `append`.
    received: bytes


@dataclass(slots=True)
class QuarantineItem:
    """Something that must be kept although it can not be stored as an event."""

    #: Tenant and project that it is attributed to; both empty when nobody can be named.
    tenant_id: str
    project_id: str
    #: As far as it could be read, for people who look for it; may be empty.
    event_id: str
    #: The bytes of the `Event` frame as received.
    raw: bytes
    #: One sentence per violation.
    reasons: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """What the store did with one submitted item; durable when it is returned."""

    status: IngestStatus
    event_id: str
    reason: str = ""
    #: Log and index at which the event stands (`accepted`, `duplicate`), else "" and -1.
    origin: str = ""
    index: int = -1
    #: Where it is kept (`rejected`, `quarantined`), else "".
    quarantine_id: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The place of an event in the order of answers: (timestamp, log_id, index); `log_id` is `entry.log_id_of(origin)`."""

    timestamp_us: int
    timestamp_sub_ns: int
    log_id: int
    index: int


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A conjunction. None or an empty set means "any"; an id that is given must be equal as a string."""

    tenant_id: str | None = None
    project_id: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    span_id: str | None = None
    trace_id: str | None = None
    types: frozenset[int] = frozenset()
    statuses: frozenset[int] = frozenset()
    severities: frozenset[int] = frozenset()
    #: All of them must be among the event's tags.
    tags: frozenset[str] = frozenset()
    #: Half-open range of the client's timestamp in nanoseconds since 1970: start_ns <= t < end_ns.
    start_ns: int | None = None
    end_ns: int | None = None
    #: Words that the event's texts must hold; `TextQuery.matches(stored)` decides.
    text: TextQuery | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page of a query: at most `limit` events (1 or more).

    It ends before the event whose stored bytes would take their sum above `bytes_max`, unless that is the page's first event; for
    no other reason does it end before `limit`.
    """

    filter: EventFilter
    limit: int
    bytes_max: int
    descending: bool = True
    #: Only events behind this position (in the direction of the order).
    after: Position | None = None


@dataclass(slots=True)
class StoredEvent:
    """An event as it stands in the record, with what answers derive from it."""

    position: Position
    origin: str
    #: The stored bytes; `hex(SHA-256(stored))` is the answer's `content_hash`.
    stored: bytes
    received_at_ns: int
    #: Leaf hash of the entry before this one in its log; empty at index 0.
    leaf_hash_before: bytes


@dataclass(slots=True)
class Page:
    """Events in order; `more` tells whether at least one further match stands behind the last one."""

    events: list[StoredEvent]
    more: bool


@dataclass(frozen=True, slots=True, order=True)
class ArrivalPoint:
    """A moment in the order of arrival over all logs, (received_at_ns, log_id, index), right before the event at `next_index`.

    It stands for everything that was received before `received_at_ns`, and of what was received at that time, for the logs with
    a smaller `log_id`, and for `log_id` below `next_index`.
    """

    received_at_ns: int
    log_id: int
    next_index: int


@dataclass(slots=True)
class Arrivals:
    """What arrived behind a position, in the order of arrival; only what is committed."""

    events: list[StoredEvent]
    #: For each of `events`, how many events of the scope (matching or not) stand in front of it or are it.
    ranks: list[int]
    #: The position behind everything that was looked at: for each log of the scope by `log_id`, the next index.
    after: dict[int, int]
    #: The last event that was looked at, as a point; None when there was nothing to look at.
    point: ArrivalPoint | None
    #: Whether something stands behind `after` that was not looked at.
    more: bool


@dataclass(slots=True)
class EventStats:
    """Exact figures over the events of a scope and range."""

    total_events: int = 0
    #: Sessions with at least one event in the range.
    total_sessions: int = 0
    #: By number of the event type.
    events_by_type: dict[int, int] = field(default_factory=dict)
    #: Sum over those sessions of (last - first timestamp of the *whole* session), microseconds.
    session_duration_us_sum: int = 0


@dataclass(frozen=True, slots=True, order=True)
class SessionPlace:
    """The place of a session in listings: (time of its last event, log_id, session_id), newest first."""

    last_us: int
    log_id: int
    session_id: str


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session of one log; times are microseconds since 1970 by the clients' timestamps."""

    place: SessionPlace
    tenant_id: str
    project_id: str
    events: int
    first_us: int


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """One kept item. `count` tells how often the same bytes arrived."""

    quarantine_id: str
    tenant_id: str
    project_id: str
    event_id: str
    reasons: tuple[str, ...]
    first_received_at_ns: int
    last_received_at_ns: int
    count: int
    size_bytes: int
    #: The kept bytes; empty in listings.
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Figures for `/metrics` and the command line."""

    driver: str
    logs: int
    events: int
    sessions: int
    quarantine_items: int
    quarantine_bytes: int
    #: Events that are not in the text index yet, and how often the process that keeps it ended and was started again.
    text_index_lag_events: int = 0
    text_index_restarts: int = 0


class EventAppender(Protocol):
    """Takes events and quarantine items."""

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """Store the items in one transaction; one outcome per item, in order.

        - When it returns, everything it reports must be durable (fsync), findable by every filter and counted.
        - Same `event_id` in the same log, and `received` bytes equal to those that came first or to those that were `stored` (as
          when an export is imported where it came from): `duplicate`, stored once, also within one call.
        - Same `event_id`, other bytes: `rejected`; the stored event must stay as it is; `received` goes to the quarantine.
        - A `QuarantineItem` is kept, deduplicated by the digest of its bytes within its tenant and project: `quarantined`. Bytes
          that are kept already are counted and need no room, even when the quarantine is full. Ids are never used twice.
        - A session belongs to its log: the same `session_id` in another log is another session.
        - Indices are dense from 0 in each log, in the order of the items; `received_at` never falls within a log.
        - Raises `StorageError` when the transaction failed (then nothing of it is stored, or all of it: sending again is
          safe), `OverloadedError` when an item had to be quarantined and the quarantine is full (then nothing is stored).
        """
        ...


class EventReader(Protocol):
    """Answers questions about events."""

    async def query(self, request: PageRequest) -> Page:
        """One page in the order (timestamp, log_id, index); must see every event whose append returned before the call."""
        ...

    async def count(self, filter: EventFilter) -> int:
        """The exact number of matching events."""
        ...


class ArrivalReader(Protocol):
    """Tells what arrived, to those who follow the record."""

    async def arrivals(self, filter: EventFilter, after: Mapping[int, int] | None, limit: int, bytes_max: int) -> Arrivals:
        """The matching events behind a position, in the order (received_at_ns, log_id, index); in each log by index.

        - `after` gives the next index of each log by `log_id`; a log of the filter's scope that it does not name begins at 0.
        - None asks for the position behind everything in scope, with `point` at its last event and without events.
        - Must see every event whose append returned before the call, and the calls of a walk (each with the `after` of the one
          before) must bring every match exactly once.
        - At most `limit` events (1 or more); it ends before the event whose stored bytes would take their sum above `bytes_max`,
          unless that is the first one. It may end earlier, even without an event, so that a call never looks at too much;
          `more` then tells that calling again goes on. What was looked at is passed in `after` whether it matched or not.
        - Raises `NotFoundError` when `after` names a log that is not in scope or an index behind its end: the record was
          replaced by another one.
        """
        ...

    async def arrivals_at(self, tenant_id: str | None, project_id: str | None, point: ArrivalPoint) -> dict[int, int]:
        """The position at a point: for each log of the scope, the next index; exact as long as the clock was not set back."""
        ...


class StatsReader(Protocol):
    """Answers `GetEventStats`."""

    async def stats(self, tenant_id: str | None, project_id: str | None, start_ns: int | None, end_ns: int | None) -> EventStats:
        """Exact statistics over the half-open range of client timestamps; None means no limit on that side.

        A session's duration is the difference of its events' `timestamp_us`, of any size; `events_by_type` has no zeros.
        """
        ...


class SessionReader(Protocol):
    """Lists sessions, and finds events by their id."""

    async def sessions(
        self,
        tenant_id: str | None,
        project_id: str | None,
        limit: int,
        after: SessionPlace | None = None,
        session_id: str | None = None,
    ) -> list[SessionRow]:
        """At most `limit` sessions (1 or more) behind a place, in descending order of `SessionPlace`.

        - None as tenant or project means all; `session_id` asks for the sessions of that id, one per log at most.
        - Must see every event whose append returned before the call. Events without a session id belong to none.
        - A session that gets a later event moves to the front; a walk that has passed the front does not meet it again.
        """
        ...

    async def events_with_id(self, tenant_id: str | None, project_id: str | None, event_id: str) -> list[StoredEvent]:
        """The events of an id, at most one per log of the scope, in no order."""
        ...


class QuarantineStore(Protocol):
    """What was kept aside."""

    async def quarantine_list(
        self, tenant_id: str | None, project_id: str | None, limit: int, after: str | None = None
    ) -> list[QuarantineRow]:
        """Rows without `raw`, oldest first, behind the id `after` (also when that row was removed).

        None as tenant or project means all, "" means unattributed.
        """
        ...

    async def quarantine_get(self, quarantine_id: str) -> QuarantineRow | None:
        """The row with its bytes, or None."""
        ...

    async def quarantine_remove(self, quarantine_id: str) -> bool:
        """Forget a row after it was stored as an event; False when it was not there."""
        ...


class Store(EventAppender, EventReader, ArrivalReader, StatsReader, SessionReader, QuarantineStore, Protocol):
    """The sum, with a life of its own."""

    async def open(self) -> None:
        """Take the data, recover after a crash, and serve. Raises `CannotServeError` when it is locked or unreadable."""
        ...

    async def close(self) -> None:
        """Finish what runs, release the data. Idempotent."""
        ...

    async def info(self) -> StoreInfo:
        """Cheap figures."""
        ...
