"""Tail: the events that match, as they arrive, from now on, from the newest ones on, or from where a client left off."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import InvalidRequestError
from chaukas.server.operations.services import Services
from chaukas.server.operations.tail_cursor import TailPosition, resumed
from chaukas.server.query import answer_event, binding_of
from chaukas.server.storage.contract import EventFilter, PageRequest, Position
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryFilter

__all__ = ["RECENT_MAX", "Tail", "TailItem", "TailRequest", "open_tail"]

RECENT_MAX: Final = 1000
#: What one look at the store may bring: a client that reads slowly holds no more than this in memory.
_LOOK_EVENTS_MAX: Final = 256
_LOOK_BYTES_MAX: Final = 1024 * 1024
#: Looks are taken after commits; this one is taken in any case, should another process write to the store.
_LOOK_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class TailRequest:
    """What to follow, and where to begin: at a cursor, in front of the newest `recent` events, or now."""

    filter: QueryFilter = field(default_factory=QueryFilter)
    since: str = ""
    recent: int = 0


@dataclass(frozen=True, slots=True)
class TailItem:
    """An event, or the news that there is none; `cursor` resumes behind it (empty for the recent ones at the beginning)."""

    cursor: str
    event: Event | None


@contextlib.asynccontextmanager
async def open_tail(services: Services, principal: Principal, wanted: TailRequest) -> AsyncIterator[Tail]:
    """A tail, for as long as the block runs.

    Raises `InvalidRequestError` naming the wrong field, `PermissionDeniedError` for a foreign tenant or project,
    `OverloadedError` when there are too many clients, `NotFoundError` for a cursor of another record, `StorageError`.
    """
    if wanted.filter.HasField("time"):
        raise InvalidRequestError("filter.time", "a tail has no range of time: it begins at a cursor or now, and does not end")
    if not 0 <= wanted.recent <= RECENT_MAX:
        raise InvalidRequestError("recent", f"{wanted.recent} is not between 0 and {RECENT_MAX}")
    if wanted.recent and wanted.since:
        raise InvalidRequestError("recent", "does not go with a cursor, which says where to begin")
    filter_ = services.queries.filter_of(wanted.filter, principal)
    binding = binding_of(filter_, principal)
    with services.tails.entered():
        if wanted.since:
            scope = (filter_.tenant_id, filter_.project_id)
            position = await resumed(wanted.since, services.tails.seal, binding, services.store, scope)
            # A look without an answer's worth of work: a cursor of another record is refused before the answer begins.
            await services.store.arrivals(filter_, position.after, 1, 1)
        else:
            end = await services.store.arrivals(filter_, None, 1, 1)
            position = TailPosition(end.after, end.point)
        yield Tail(services, filter_, binding, position, wanted.recent)


class Tail:
    """Yields items for ever, or until the server stops."""

    def __init__(self, services: Services, filter: EventFilter, binding: bytes, position: TailPosition, recent: int) -> None:
        self._services = services
        self._clients = services.tails
        self._store = services.store
        self._heartbeat_s = services.settings.tail_heartbeat_s
        self._filter = filter
        self._binding = binding
        self._position = position
        self._recent = recent

    async def items(self) -> AsyncGenerator[TailItem, None]:
        """The newest events if they were asked for, the position, then events in the order of their arrival.

        An item without an event comes first, and whenever nothing else came for `tail_heartbeat_s` seconds. Raises
        `StorageError`.
        """
        async for item in self._recent_items():
            yield item
        yield self._here()
        beat_at = time.monotonic() + self._heartbeat_s
        while not self._clients.stopping.is_set():
            began, version = time.monotonic(), self._clients.commits.version
            found = await self._store.arrivals(self._filter, self._position.after, _LOOK_EVENTS_MAX, _LOOK_BYTES_MAX)
            for event, rank in zip(found.events, found.ranks, strict=True):
                self._position.pass_event(event, rank)
                yield TailItem(self._cursor(), answer_event(event))
            self._position.pass_all(found)
            now = time.monotonic()
            if found.events:
                beat_at = now + self._heartbeat_s
            elif now >= beat_at:
                yield self._here()
                beat_at = time.monotonic() + self._heartbeat_s
            await self._rest(began, version, beat_at, more=found.more)

    async def _rest(self, began: float, version: int, beat_at: float, *, more: bool) -> None:
        """Wait for a reason to look again, and never look too often."""
        if not more:
            wait_s = max(0.0, min(_LOOK_AGAIN_S, beat_at - time.monotonic()))
            await self._clients.commits.wait(version, wait_s)
        # Behind by more than one look, a client catches up as fast as it reads; others get their turn in between.
        await asyncio.sleep(0 if more else max(0.0, began + self._clients.pause_s - time.monotonic()))

    async def _recent_items(self) -> AsyncIterator[TailItem]:
        """The newest events by their own time, oldest first, page by page; those behind the position come later anyway."""
        left, after = self._recent, await self._before_recent() if self._recent else None
        page_bytes_max = int(self._services.settings.page_bytes_max)
        while left and after is not None:
            request = PageRequest(self._filter, min(left, _LOOK_EVENTS_MAX), page_bytes_max, descending=False, after=after)
            page = await self._store.query(request)
            left -= len(page.events)
            for event in page.events:
                if event.position.index < self._position.after.get(event.position.log_id, 0):
                    yield TailItem("", answer_event(event))
            after = page.events[-1].position if page.more else None

    async def _before_recent(self) -> Position | None:
        """The place right in front of the newest events; None when there are none."""
        left = self._recent
        oldest: Position | None = None
        while left:
            request = PageRequest(self._filter, min(left, _LOOK_EVENTS_MAX), _LOOK_BYTES_MAX, descending=True, after=oldest)
            page = await self._store.query(request)
            left -= len(page.events)
            if page.events:
                oldest = page.events[-1].position
            if not page.more:
                break
        if oldest is None:
            return None
        return Position(oldest.timestamp_us, oldest.timestamp_sub_ns, oldest.log_id, oldest.index - 1)

    def _here(self) -> TailItem:
        return TailItem(self._cursor(), None)

    def _cursor(self) -> str:
        return self._position.cursor(self._clients.seal, self._binding)
