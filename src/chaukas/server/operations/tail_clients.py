"""Those who follow the record: how many there may be, how often they look, and how they are sent home."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from chaukas.server.cursor import CursorSeal
from chaukas.server.errors import OverloadedError, ShuttingDownError
from chaukas.server.ingest.publisher import CommitSignal

__all__ = ["TailClients"]

#: A client looks at the store at most every so many seconds, and all clients together at most two hundred times a second: what
#: a busy record costs does not grow with those who watch it, they only see it a little later.
_PAUSE_S: Final = 0.02
_PAUSE_PER_CLIENT_S: Final = 0.005


class TailClients:
    """The clients of one server. All calls belong to its event loop."""

    def __init__(self, cursor_secret: bytes, clients_max: int, commits: CommitSignal | None = None) -> None:
        self.commits = commits or CommitSignal()
        self.seal = CursorSeal(cursor_secret, "tail")
        #: Set when the server stops: every client ends then.
        self.stopping = asyncio.Event()
        self._clients_max = clients_max
        self._count = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def pause_s(self) -> float:
        """Shortest time between two looks of one client, in seconds."""
        return max(_PAUSE_S, _PAUSE_PER_CLIENT_S * self._count)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """One more client while the block runs. Raises `OverloadedError` or `ShuttingDownError`."""
        if self.stopping.is_set():
            raise ShuttingDownError
        if self._count >= self._clients_max:
            raise OverloadedError(f"{self._clients_max} clients follow the record already (tail_clients_max); try again later")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def stop(self) -> None:
        """End every client, and take no more. Idempotent."""
        self.stopping.set()
