"""Group commit in front of a store: concurrent requests share transactions, queues are bounded, nobody is blocked for ever.

`submit` waits until its items are durable. One task feeds the store: while a transaction is on its way to the disk the next
one gathers, up to `commit_events_max` items or `commit_bytes_max` bytes. A transaction costs as much as some twenty events, so
the next one waits for those who were here a moment ago, until enough of them are back or `gather_s` seconds are over; a client
that is alone never waits. The queue is bounded in items and in bytes; a request that finds it full is held
for at most `hold_s` seconds and then refused with `OverloadedError`, so that the memory of the server does not depend on how
fast clients send.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaukas.server.errors import ChaukasError, OverloadedError, ShuttingDownError, StorageError
from chaukas.server.storage.contract import EventAppender, EventRecord, Outcome, QuarantineItem

__all__ = ["CommitFigures", "IngestPipeline"]

_Items = Sequence[EventRecord | QuarantineItem]
#: What an item costs in memory beside its bytes; keeps a flood of tiny events within the byte bound too.
_ITEM_OVERHEAD_BYTES = 1024
#: After so many failures of the store in a row, requests that share a failed transaction are not tried one by one any more.
_STORE_FAILURES_MAX = 3
#: So many events are worth a transaction: it costs as much as some twenty of them.
_WORTHWHILE_EVENTS = 40


@dataclass(frozen=True, slots=True)
class CommitFigures:
    """What one transaction did, for metrics."""

    items: int
    size_bytes: int
    duration_s: float
    failed: bool


@dataclass(slots=True)
class _Submission:
    items: _Items
    size_bytes: int
    done: asyncio.Future[list[Outcome]]


def _size_of(items: _Items) -> int:
    size = len(items) * _ITEM_OVERHEAD_BYTES
    for item in items:
        size += len(item.stored) if isinstance(item, EventRecord) else len(item.raw)
    return size


class IngestPipeline:
    """The bounded queue and the one committer behind it."""

    def __init__(
        self,
        store: EventAppender,
        *,
        queue_events_max: int = 50_000,
        queue_bytes_max: int = 128 * 1024 * 1024,
        hold_s: float = 10.0,
        commit_events_max: int = 2_048,
        commit_bytes_max: int = 8 * 1024 * 1024,
        gather_events: int = 256,
        gather_s: float = 0.003,
        on_commit: Callable[[CommitFigures], None] | None = None,
    ) -> None:
        self._store = store
        self._queue_events_max = queue_events_max
        self._queue_bytes_max = queue_bytes_max
        self._hold_s = hold_s
        self._commit_events_max = commit_events_max
        self._commit_bytes_max = commit_bytes_max
        self._gather_events = gather_events
        self._gather_s = gather_s
        self._gathered = asyncio.Event()
        #: Requests that were in the last transaction or waited for the next one.
        self._company = 1
        self._on_commit = on_commit
        self._queue: deque[_Submission] = deque()
        self._queued_events = 0
        self._queued_bytes = 0
        self._room: deque[asyncio.Future[None]] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._draining = False

    @property
    def queued_events(self) -> int:
        """Items that wait or are being committed."""
        return self._queued_events

    @property
    def queued_bytes(self) -> int:
        """Their size in bytes, overhead included."""
        return self._queued_bytes

    async def start(self) -> None:
        """Start the committer on the running event loop."""
        self._draining = False
        self._task = asyncio.create_task(self._commit_for_ever(), name="chaukas-committer")

    async def drain(self) -> None:
        """Refuse new work, commit what was taken, stop. Idempotent."""
        self._draining = True
        self._wake.set()
        self._gathered.set()
        for turn in self._room:
            if not turn.done():
                turn.set_result(None)
        if self._task is not None:
            await self._task
            self._task = None

    async def submit(self, items: _Items) -> list[Outcome]:
        """Hand over items of one request; returns their outcomes, in order, once they are durable.

        Raises `OverloadedError` when there was no room for `hold_s` seconds, `ShuttingDownError` while draining, and what
        `EventAppender.append` raises. The outcome of a cancelled call is unknown to its caller; the items are stored.
        """
        if not items:
            return []
        size = _size_of(items)
        if not self._has_room(len(items), size) or self._room:
            await self._wait_for_room(len(items), size)
        if self._draining or self._task is None:
            raise ShuttingDownError
        submission = _Submission(items, size, asyncio.get_running_loop().create_future())
        self._queued_events += len(items)
        self._queued_bytes += size
        self._queue.append(submission)
        self._wake.set()
        if self._is_gathered():
            self._gathered.set()
        return await asyncio.shield(submission.done)

    def _is_gathered(self) -> bool:
        """Whether it would not pay to wait: a transaction is filled well, or enough of those who were here a moment ago are back.

        Half of them are enough if they bring something: while their transaction runs, the other half is received. Whoever waited
        for all would receive and write by turns, never both.
        """
        requests, events = len(self._queue), self._queued_events
        if requests >= self._company or events >= self._gather_events:
            return True
        return 2 * requests >= self._company and events >= _WORTHWHILE_EVENTS

    def _has_room(self, events: int, size: int) -> bool:
        """A request larger than the whole queue is taken when the queue is empty: it must not wait for ever."""
        if self._queued_events == 0:
            return True
        return self._queued_events + events <= self._queue_events_max and self._queued_bytes + size <= self._queue_bytes_max

    async def _wait_for_room(self, events: int, size: int) -> None:
        """Wait in line, first come first served, until the queue has room."""
        deadline = time.monotonic() + self._hold_s
        stand = self._room.append
        while not self._draining:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            stand(turn)
            try:
                await asyncio.wait((turn,), timeout=max(0.0, deadline - time.monotonic()))
            finally:
                self._room.remove(turn)
                # Whoever leaves passes the turn on: after a wait in vain, and with room for more than this request.
                if not turn.done() or self._has_room(events, size):
                    self._give_room()
            if self._has_room(events, size):
                return
            if not turn.done():
                raise OverloadedError(
                    f"the ingest queue is full ({self._queued_events} events, {self._queued_bytes} bytes); send again later"
                )
            stand = self._room.appendleft

    def _give_room(self) -> None:
        """Wake the first in line that is not awake yet."""
        for turn in self._room:
            if not turn.done():
                turn.set_result(None)
                return

    async def _commit_for_ever(self) -> None:
        while True:
            if not self._queue:
                if self._draining:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            if not self._is_gathered() and not self._draining:
                self._gathered.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._gathered.wait(), self._gather_s)
            group = self._take_group()
            await self._commit(group)
            # Whoever was answered now and whoever waits already: so many may be in the next transaction.
            self._company = len(group) + len(self._queue)
            for submission in group:
                self._queued_events -= len(submission.items)
                self._queued_bytes -= submission.size_bytes
            self._give_room()

    def _take_group(self) -> list[_Submission]:
        group = [self._queue.popleft()]
        events, size = len(group[0].items), group[0].size_bytes
        while self._queue:
            following = self._queue[0]
            events += len(following.items)
            size += following.size_bytes
            if events > self._commit_events_max or size > self._commit_bytes_max:
                break
            group.append(self._queue.popleft())
        return group

    async def _commit(self, group: list[_Submission]) -> ChaukasError | None:
        """One transaction for the group. When it fails with several requests in it, each is tried alone.

        Returns what failed a single request. Trying again is safe: storing is idempotent, and a transaction that failed but
        was stored answers `duplicate`.
        """
        items = group[0].items if len(group) == 1 else [item for submission in group for item in submission.items]
        began = time.perf_counter()
        try:
            outcomes = await self._store.append(items)
        except Exception as error:  # noqa: BLE001  every failure must reach the requests that wait for this commit
            self._record(items, group, began, failed=True)
            if len(group) > 1:
                await self._commit_each(group)
                return None
            return _fail(group[0], _public(error))
        self._record(items, group, began, failed=False)
        start = 0
        for submission in group:
            end = start + len(submission.items)
            if not submission.done.done():
                submission.done.set_result(outcomes[start:end])
            start = end
        return None

    async def _commit_each(self, group: list[_Submission]) -> None:
        """One request's fault (a full quarantine, say) must not fail its neighbours.

        When the store fails one after the other it is the store's fault: the rest is told so at once. They would wait for as
        many attempts of a full disk as there are requests, and everybody behind them too.
        """
        failures = 0
        for place, submission in enumerate(group):
            error = await self._commit([submission])
            failures = failures + 1 if isinstance(error, StorageError) else 0
            if error is not None and failures == _STORE_FAILURES_MAX:
                for waiting in group[place + 1 :]:
                    _fail(waiting, error)
                return

    def _record(self, items: _Items, group: list[_Submission], began: float, *, failed: bool) -> None:
        if self._on_commit is not None:
            size = sum(submission.size_bytes for submission in group)
            self._on_commit(CommitFigures(len(items), size, time.perf_counter() - began, failed))


def _fail(submission: _Submission, error: ChaukasError) -> ChaukasError:
    if not submission.done.done():
        submission.done.set_exception(error)
    return error


def _public(error: Exception) -> ChaukasError:
    if isinstance(error, ChaukasError):
        return error
    wrapped = StorageError()
    wrapped.__cause__ = error
    return wrapped
