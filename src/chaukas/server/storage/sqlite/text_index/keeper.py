"""Keeps the text index close behind the record: starts the follower when there is enough to do, and slows ingest down for it.

A question searches what is not indexed yet by reading it, so the index may lag; how far is bounded, because that reading takes
the longer the more there is. Beyond the bound every commit waits a moment. An index that makes no progress at all (a full disk, a
process that is not allowed) holds nobody up: questions then read more, and the metrics say why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaukas.server.storage.sqlite.text_index.follower_process import FollowerProcess

__all__ = ["TextIndexKeeper", "TextIndexSettings"]

#: Below this many events reading them costs a question a few milliseconds, and a process would cost more than it saves.
_START_AT_EVENTS = 4_096
_LOOK_S = 0.02
#: A commit waits at most so long.
_HOLD_MAX_S = 1.0
#: A follower that said nothing for so long has a problem, and does not hold up ingest.
_PROGRESS_S = 10.0


@dataclass(frozen=True, slots=True)
class TextIndexSettings:
    """How a store keeps its text index."""

    #: Events that the index may be behind before commits are slowed down.
    lag_events_max: int = 100_000
    on_problem: Callable[[str], None] = lambda _: None


class TextIndexKeeper:
    """Lives from `SqliteStore.open` to `close`; counts what is stored and what is indexed."""

    def __init__(self, directory: Path, settings: TextIndexSettings, *, stored_events: int, indexed_events: int) -> None:
        self._settings = settings
        self._process = FollowerProcess(directory, settings.on_problem)
        self._process.indexed_events = indexed_events
        self._stored_events = stored_events
        self._start_when_it_pays()

    @property
    def lag_events(self) -> int:
        """Stored events that the index does not have yet."""
        return max(0, self._stored_events - self._process.indexed_events)

    @property
    def restarts(self) -> int:
        """How often the follower ended by itself and was started again."""
        return self._process.restarts

    def stored(self, events: int) -> None:
        """So many events were committed."""
        self._stored_events += events
        self._start_when_it_pays()

    def begin_anew(self) -> None:
        """A question found the index damaged."""
        self._process.begin_anew()

    async def room(self) -> None:
        """Wait while the index is too far behind and catching up, at most a second."""
        if self.lag_events <= self._settings.lag_events_max:
            return
        deadline_s = time.monotonic() + _HOLD_MAX_S
        while self.lag_events > self._settings.lag_events_max:
            now_s = time.monotonic()
            if now_s > deadline_s or now_s - self._process.progress_at_s > _PROGRESS_S:
                return
            await asyncio.sleep(_LOOK_S)

    def stop(self) -> None:
        """End the follower; it has saved its position."""
        self._process.stop()

    def _start_when_it_pays(self) -> None:
        if not self._process.started and self.lag_events >= _START_AT_EVENTS:
            self._process.start()
