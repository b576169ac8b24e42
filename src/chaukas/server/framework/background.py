"""Work after the acknowledgement: bounded, never in the way of an answer.

It lives in memory: what a crash interrupts is not repeated. Work that must survive one follows the backend's own record.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from chaukas.server.framework.execution import VerbRunner
from chaukas.server.framework.results import EventResult
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["Background", "Followups"]

_LOG = logging.getLogger("chaukas.server.framework")

#: A worker that has had nothing to do for this long ends, so that a forgotten servicer holds no threads.
_IDLE_S = 10.0


class Background:
    """Runs one verb on events, in at most `workers_max` daemon threads, with at most `events_max` events waiting.

    An event that finds the queue full is dropped, and the drops are logged: holding it would let a slow verb hold back
    acknowledgements, or fill the memory. A failure of the verb is logged, and the next event follows.
    """

    def __init__(
        self, verb: Callable[[Event], object], runner: VerbRunner, *, events_max: int, workers_max: int, name: str
    ) -> None:
        self._verb = verb
        self._runner = runner
        self._events_max = events_max
        self._workers_max = workers_max
        self._name = name
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._workers = 0
        self._idle = 0
        self._dropped = 0

    def submit(self, event: Event) -> None:
        """Queue an event. Never waits and never raises."""
        with self._changed:
            if len(self._waiting) >= self._events_max:
                self._dropped += 1
                # The first drop and every power of two after it: a flood of drops must not become a flood of log lines.
                if self._dropped & (self._dropped - 1) == 0:
                    _LOG.error("process_event_async is too slow: %d events were not given to it", self._dropped)
                return
            self._waiting.append(event)
            if self._idle < len(self._waiting) and self._workers < self._workers_max:
                self._workers += 1
                threading.Thread(target=self._work, name=f"{self._name}-background", daemon=True).start()
            self._changed.notify()

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is waiting or running; False when that takes longer."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while self._waiting or self._workers > self._idle:
                left_s = end - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(left_s)
        return True

    def _work(self) -> None:
        while (event := self._next()) is not None:
            try:
                result = self._verb(event)
                if inspect.isawaitable(result):
                    self._runner.wait(result)
            except Exception:  # noqa: BLE001 - the event is acknowledged, so there is nobody left to tell but the log
                _LOG.exception("process_event_async failed for event %r", event.event_id)

    def _next(self) -> Event | None:
        """The next event; None when this worker should end."""
        with self._changed:
            self._idle += 1
            self._changed.notify_all()
            if not self._waiting:
                self._changed.wait_for(lambda: bool(self._waiting), _IDLE_S)
            self._idle -= 1
            if self._waiting:
                return self._waiting.popleft()
            self._workers -= 1
            return None


class Followups:
    """The stored events of one call, held until the call is over and its answer is on the way."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._lock = threading.Lock()
        self._held: list[Event] = []
        self._seen: set[str | int] = set()
        self._released = False

    def add(self, result: EventResult, event: Event) -> None:
        """Take an event if it was accepted, once per call; at once if the call is over already (cancelled by the client)."""
        if result.status != "accepted":
            return
        key = result.event_id or id(result)
        with self._lock:
            if key in self._seen:
                return
            self._seen.add(key)
            if not self._released:
                self._held.append(event)
                return
        self._background.submit(event)

    def release(self) -> None:
        """The call is over."""
        with self._lock:
            self._released = True
            held, self._held = self._held, []
        for event in held:
            self._background.submit(event)
