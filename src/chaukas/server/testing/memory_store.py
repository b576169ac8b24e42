"""A store in lists and dictionaries: the oracle that drivers are compared with, and a fake for tests of a backend.

It is written to be obviously right, not fast: every question walks over every event. It makes the same record as any
driver (origins, indices, entries, leaf hashes), so a real one may be replaced by it wherever a `Store` is asked for.
"""

from __future__ import annotations

import secrets
import time
from collections import ChainMap, Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaukas.server.errors import NotFoundError, OverloadedError, StorageError
from chaukas.server.storage.contract import (
    ArrivalPoint,
    Arrivals,
    EventFilter,
    EventRecord,
    EventStats,
    IngestStatus,
    Outcome,
    Page,
    PageRequest,
    QuarantineItem,
    QuarantineRow,
    SessionPlace,
    SessionRow,
    StoredEvent,
    StoreInfo,
)
from chaukas.server.storage.entry import (
    KIND_EVENT,
    SALT_BYTES,
    commitment,
    encode_entry,
    entry_head,
    leaf_hash,
    log_id_of,
    origin_of,
)
from chaukas.server.testing.memory_events import answer_of, arrival_of, passes, position_of, session_of
from chaukas.server.testing.memory_journal import Change, Journal, KeptEvent
from chaukas.server.testing.memory_sessions import sessions_of

__all__ = ["KeptEvent", "MemoryStore"]


@dataclass(slots=True)
class _Content:
    """All that is kept. An overlay is a copy whose changes do not reach the original."""

    #: By (origin, event id), in the order of arrival.
    events: MutableMapping[tuple[str, str], KeptEvent] = field(default_factory=dict)
    #: The last event of each log, by origin.
    heads: MutableMapping[str, KeptEvent] = field(default_factory=dict)
    #: The last event of each session, by (origin, session id).
    sessions: MutableMapping[tuple[str, str], KeptEvent] = field(default_factory=dict)
    #: By (tenant, project, bytes), in the order of first arrival.
    rows: MutableMapping[tuple[str, str, bytes], QuarantineRow] = field(default_factory=dict)
    #: Quarantine ids rise and are never given twice, so that a listing can go on behind a row that was removed.
    last_row_number: int = 0

    def overlay(self) -> _Content:
        return _Content(
            ChainMap({}, self.events),
            ChainMap({}, self.heads),
            ChainMap({}, self.sessions),
            ChainMap({}, self.rows),
            self.last_row_number,
        )

    def keep_event(self, event: KeptEvent) -> None:
        self.events[event.origin, event.record.event_id] = event
        self.heads[event.origin] = event
        if event.record.session_id:
            self.sessions[event.origin, event.record.session_id] = event

    def keep_row(self, row: QuarantineRow) -> None:
        self.rows[row.tenant_id, row.project_id, row.raw] = row
        self.last_row_number = max(self.last_row_number, int(row.quarantine_id))

    def apply(self, change: Change) -> None:
        """Make a committed change part of the content; the same in operation and in recovery."""
        for event in change.events:
            self.keep_event(event)
        for row in change.rows:
            self.keep_row(row)
        for key in [key for key, row in self.rows.items() if row.quarantine_id in change.removed]:
            del self.rows[key]


class MemoryStore:
    """Implements `chaukas.server.storage.contract.Store`.

    Without `data_dir` everything is in memory and stays with the object over `close` and `open`. With it every change is
    also synced to a journal in that directory, which the next store over it reads; the directory is not guarded against a
    second server. `server_name` begins the origins. The quarantine holds at most `quarantine_items_max` different items of
    `quarantine_bytes_max` bytes together.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        server_name: str = "chaukas.localhost",
        quarantine_items_max: int = 100_000,
        quarantine_bytes_max: int = 1 << 30,
    ) -> None:
        self._server_name = server_name
        self._quarantine_items_max = quarantine_items_max
        self._quarantine_bytes_max = quarantine_bytes_max
        self._journal = Journal(data_dir) if data_dir is not None else None
        self._content = _Content()
        self._serving = False

    async def open(self) -> None:
        """Read the journal, if there is one, and serve. Raises `CannotServeError` when it cannot be used."""
        if self._serving:
            return
        if self._journal is not None:
            changes = self._journal.open()
            self._content = _Content()
            for change in changes:
                self._content.apply(change)
        self._serving = True

    async def close(self) -> None:
        """Serve no longer. Idempotent."""
        self._serving = False
        if self._journal is not None:
            self._journal.close()

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """Store the items, all or nothing. Raises `OverloadedError` (quarantine full) and `StorageError` (journal, closed)."""
        # Nothing in here waits, so no other task sees or makes a change in between.
        self._require_serving()
        draft = self._content.overlay()
        change = Change()
        now_ns = time.time_ns()
        outcomes = [
            _append_event(draft, change, item, origin_of(self._server_name, item.tenant_id, item.project_id), now_ns)
            if isinstance(item, EventRecord)
            else _quarantine(draft, change, item, now_ns)
            for item in items
        ]
        self._require_room(draft)
        self._commit(change)
        return outcomes

    async def query(self, request: PageRequest) -> Page:
        """One page: all matches sorted, those behind `after` taken, cut where `limit` or `bytes_max` would be passed."""
        self._require_serving()
        matches = [event for event in self._content.events.values() if passes(event.record, request.filter)]
        matches.sort(key=position_of, reverse=request.descending)
        if request.after is not None:
            after = request.after
            matches = [
                event for event in matches if (position_of(event) < after if request.descending else position_of(event) > after)
            ]
        page: list[KeptEvent] = []
        size_bytes = 0
        for event in matches[: request.limit]:
            size_bytes += len(event.record.stored)
            if page and size_bytes > request.bytes_max:
                break
            page.append(event)
        return Page(events=[answer_of(event) for event in page], more=len(matches) > len(page))

    async def count(self, filter: EventFilter) -> int:
        """How many events match."""
        self._require_serving()
        return sum(passes(event.record, filter) for event in self._content.events.values())

    async def arrivals(self, filter: EventFilter, after: Mapping[int, int] | None, limit: int, bytes_max: int) -> Arrivals:
        """Everything in scope sorted by its arrival, looked at from the position on until the answer is full."""
        scope = self._arrived(filter.tenant_id, filter.project_id)
        ends = {event.log_id: event.index + 1 for event in scope}
        if after is None:
            return Arrivals([], [], ends, arrival_of(scope[-1]) if scope else None, more=False)
        if any(index > ends.get(log_id, -1) for log_id, index in after.items()):
            raise NotFoundError("the position is not one of this record")
        behind = [event for event in scope if event.index >= after.get(event.log_id, 0)]
        found = Arrivals([], [], dict(after), None, more=False)
        size_bytes = 0
        for event in behind:
            matches = passes(event.record, filter)
            size_bytes += matches * len(event.record.stored)
            if len(found.events) == limit or (matches and found.events and size_bytes > bytes_max):
                found.more = True
                break
            found.after[event.log_id] = event.index + 1
            found.point = arrival_of(event)
            if matches:
                found.events.append(answer_of(event))
                found.ranks.append(sum(found.after.values()))
        return found

    async def arrivals_at(self, tenant_id: str | None, project_id: str | None, point: ArrivalPoint) -> dict[int, int]:
        """For each log in scope, how many events stand before the point."""
        scope = self._arrived(tenant_id, project_id)
        before = Counter(event.log_id for event in scope if arrival_of(event) <= point)
        return {event.log_id: before[event.log_id] for event in scope}

    async def stats(self, tenant_id: str | None, project_id: str | None, start_ns: int | None, end_ns: int | None) -> EventStats:
        """Figures over the events of the range; a session belongs to one log, and its duration is that of the whole session."""
        self._require_serving()
        wanted = EventFilter(tenant_id=tenant_id, project_id=project_id, start_ns=start_ns, end_ns=end_ns)
        events = [event for event in self._content.events.values() if passes(event.record, wanted)]
        sessions = {session_of(event) for event in events if event.record.session_id}
        times_us: dict[tuple[str, str], list[int]] = {session: [] for session in sessions}
        for event in self._content.events.values():
            if session_of(event) in sessions:
                times_us[session_of(event)].append(event.record.timestamp_us)
        return EventStats(
            total_events=len(events),
            total_sessions=len(sessions),
            events_by_type=dict(Counter(event.record.type for event in events)),
            session_duration_us_sum=sum(max(times) - min(times) for times in times_us.values()),
        )

    async def sessions(
        self,
        tenant_id: str | None,
        project_id: str | None,
        limit: int,
        after: SessionPlace | None = None,
        session_id: str | None = None,
    ) -> list[SessionRow]:
        """Sessions, newest first."""
        return sessions_of(self._arrived(tenant_id, project_id), limit, after, session_id)

    async def events_with_id(self, tenant_id: str | None, project_id: str | None, event_id: str) -> list[StoredEvent]:
        """The events of that id in scope."""
        return [answer_of(event) for event in self._arrived(tenant_id, project_id) if event.record.event_id == event_id]

    async def quarantine_list(
        self, tenant_id: str | None, project_id: str | None, limit: int, after: str | None = None
    ) -> list[QuarantineRow]:
        """Rows without their bytes, oldest first."""
        self._require_serving()
        return [
            replace(row, raw=b"")
            for row in self._content.rows.values()
            if tenant_id in (None, row.tenant_id)
            and project_id in (None, row.project_id)
            and (after is None or row.quarantine_id > after)
        ][:limit]

    async def quarantine_get(self, quarantine_id: str) -> QuarantineRow | None:
        """The row with its bytes, or None."""
        self._require_serving()
        return next((row for row in self._content.rows.values() if row.quarantine_id == quarantine_id), None)

    async def quarantine_remove(self, quarantine_id: str) -> bool:
        """Forget a row; False when there is none."""
        if await self.quarantine_get(quarantine_id) is None:
            return False
        self._commit(Change(removed=[quarantine_id]))
        return True

    async def info(self) -> StoreInfo:
        """Counted anew each time."""
        self._require_serving()
        return StoreInfo(
            driver="memory",
            logs=len(self._content.heads),
            events=len(self._content.events),
            sessions=len(self._content.sessions),
            quarantine_items=len(self._content.rows),
            quarantine_bytes=sum(row.size_bytes for row in self._content.rows.values()),
        )

    def log(self, origin: str) -> list[KeptEvent]:
        """The events of one log in the order of their indices, with entries and salts: what a driver's are compared with."""
        return [event for event in self._content.events.values() if event.origin == origin]

    def _arrived(self, tenant_id: str | None, project_id: str | None) -> list[KeptEvent]:
        self._require_serving()
        wanted = EventFilter(tenant_id=tenant_id, project_id=project_id)
        return sorted((event for event in self._content.events.values() if passes(event.record, wanted)), key=arrival_of)

    def _require_serving(self) -> None:
        if not self._serving:
            raise StorageError("the event store is not open")

    def _require_room(self, draft: _Content) -> None:
        """A quarantine that did not grow is not full: what only counts up a kept row is always taken."""
        items, size_bytes = len(draft.rows), sum(row.size_bytes for row in draft.rows.values())
        if len(draft.rows) > len(self._content.rows) and (
            items > self._quarantine_items_max or size_bytes > self._quarantine_bytes_max
        ):
            raise OverloadedError("the quarantine is full; nothing of this request was stored")

    def _commit(self, change: Change) -> None:
        if self._journal is not None:
            try:
                self._journal.write(change)
            except OSError as error:
                # The file may end in half a line: only opening it again makes it fit for use.
                self._serving = False
                raise StorageError from error
        self._content.apply(change)


def _append_event(draft: _Content, change: Change, record: EventRecord, origin: str, now_ns: int) -> Outcome:
    known = draft.events.get((origin, record.event_id))
    if known is None:
        event = _enter(draft, record, origin, now_ns)
        draft.keep_event(event)
        change.events.append(event)
        return Outcome(IngestStatus.ACCEPTED, record.event_id, origin=origin, index=event.index)
    if record.received in (known.record.received, known.record.stored):
        return Outcome(IngestStatus.DUPLICATE, record.event_id, origin=origin, index=known.index)
    reason = "event_id: another event with this id and other content is stored"
    item = QuarantineItem(record.tenant_id, record.project_id, record.event_id, record.received, (reason,))
    return replace(_quarantine(draft, change, item, now_ns), status=IngestStatus.REJECTED, reason=reason)


def _enter(draft: _Content, record: EventRecord, origin: str, now_ns: int) -> KeptEvent:
    """The event's place in its log, its salts, its entry and its leaf hash."""
    before = draft.heads.get(origin)
    in_session = draft.sessions.get((origin, record.session_id))
    received_at_ns = max(now_ns, before.received_at_ns) if before else now_ns
    envelope_salt, content_salt = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(SALT_BYTES)
    session_salt, session_sequence = b"", -1
    if record.session_id:
        session_salt = in_session.session_salt if in_session else secrets.token_bytes(SALT_BYTES)
        session_sequence = in_session.session_sequence + 1 if in_session else 0
    entry = encode_entry(
        entry_head(KIND_EVENT, received_at_ns),
        commitment(envelope_salt, record.stored[: record.envelope_bytes]),
        commitment(content_salt, record.stored[record.envelope_bytes :]),
        commitment(session_salt, record.session_id.encode()) if record.session_id else b"",
        max(session_sequence, 0),
    )
    return KeptEvent(
        # A copy: the caller's object may change after the append, the record must not.
        record=replace(record),
        origin=origin,
        log_id=log_id_of(origin),
        index=before.index + 1 if before else 0,
        received_at_ns=received_at_ns,
        envelope_salt=envelope_salt,
        content_salt=content_salt,
        session_salt=session_salt,
        session_sequence=session_sequence,
        entry=entry,
        leaf_hash=leaf_hash(entry),
        leaf_hash_before=before.leaf_hash if before else b"",
    )


def _quarantine(draft: _Content, change: Change, item: QuarantineItem, now_ns: int) -> Outcome:
    """Keep the item's bytes once per tenant and project; id and reasons stay those of the first arrival."""
    known = draft.rows.get((item.tenant_id, item.project_id, item.raw))
    if known is not None:
        row = replace(known, count=known.count + 1, last_received_at_ns=max(now_ns, known.last_received_at_ns))
    else:
        row = QuarantineRow(
            quarantine_id=f"{draft.last_row_number + 1:012d}",
            tenant_id=item.tenant_id,
            project_id=item.project_id,
            event_id=item.event_id,
            reasons=tuple(item.reasons),
            first_received_at_ns=now_ns,
            last_received_at_ns=now_ns,
            count=1,
            size_bytes=len(item.raw),
            raw=item.raw,
        )
    draft.keep_row(row)
    change.rows.append(row)
    return Outcome(IngestStatus.QUARANTINED, item.event_id, reason="; ".join(item.reasons), quarantine_id=row.quarantine_id)
