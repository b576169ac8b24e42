"""The bound on what all requests hold in memory at once, whatever transport they came by."""

from __future__ import annotations

import asyncio
from collections import deque

from chaukas.server.errors import OverloadedError

__all__ = ["Admission"]


class Admission:
    """A budget of bytes, given out first come, first served.

    A request takes the bytes of its body as they arrive and gives them back when it is answered. When the budget is used
    up it waits for at most `hold_s` seconds and is then refused, so memory does not depend on how much clients send.
    """

    def __init__(self, bytes_max: int, hold_s: float) -> None:
        self._bytes_max = bytes_max
        self._hold_s = hold_s
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used_bytes(self) -> int:
        """What is given out at the moment."""
        return self._used

    async def take(self, size_bytes: int) -> None:
        """Take a part of the budget. Raises `OverloadedError` when there was no room for `hold_s` seconds."""
        if not self._waiting and self._fits(size_bytes):
            self._used += size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (size_bytes, turn)
        self._waiting.append(place)
        try:
            await asyncio.wait((turn,), timeout=self._hold_s)
        except asyncio.CancelledError:
            if turn.done():
                self.give_back(size_bytes)
            raise
        finally:
            if not turn.done():
                self._waiting.remove(place)
                # Whoever stood behind a large request may fit now.
                self._wake()
        if not turn.done():
            raise OverloadedError(f"the requests at work hold {self._used} of {self._bytes_max} bytes; send again later")

    def give_back(self, size_bytes: int) -> None:
        """Return what was taken."""
        self._used -= size_bytes
        self._wake()

    def _fits(self, size_bytes: int) -> bool:
        # Alone everything fits: a body larger than the whole budget must not wait for ever.
        return self._used == 0 or self._used + size_bytes <= self._bytes_max

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size_bytes, turn = self._waiting.popleft()
            self._used += size_bytes
            turn.set_result(None)
