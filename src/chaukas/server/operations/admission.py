"""The bound on what all requests hold in memory at once, whatever transport they came by."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from chaukas.server.errors import OverloadedError

__all__ = ["Admission"]


class Admission:
    """A budget of bytes, given out first come, first served.

    A request takes the bytes of its body as they arrive and gives them back when it is answered. When the budget is used
    up it waits for at most `hold_s` seconds and is then refused, so memory does not depend on how much clients send.

    Bodies that grow together would wait for each other. So one of those that hold a part already may overdraw the budget until
    it is answered: memory stays within the budget and the largest body.
    """

    def __init__(self, bytes_max: int, hold_s: float) -> None:
        self._bytes_max = bytes_max
        self._hold_s = hold_s
        self._used = 0
        self._waiting: deque[_Place] = deque()
        self._overdrawer: object | None = None

    @property
    def used_bytes(self) -> int:
        """What is given out at the moment."""
        return self._used

    async def take(self, size_bytes: int, holder: object | None = None) -> None:
        """Take a part of the budget; `holder` stands for who holds a part already, and is given back with it.

        Raises `OverloadedError` when there was no room for `hold_s` seconds.
        """
        place = _Place(size_bytes, holder, asyncio.get_running_loop().create_future())
        if (not self._waiting and self._fits(size_bytes)) or self._may_overdraw(place):
            self._used += size_bytes
            return
        self._waiting.append(place)
        try:
            await asyncio.wait((place.turn,), timeout=self._hold_s)
        except asyncio.CancelledError:
            if place.turn.done():
                self.give_back(size_bytes)
            raise
        finally:
            if not place.turn.done():
                self._waiting.remove(place)
                # Whoever stood behind a large request may fit now.
                self._wake()
        if not place.turn.done():
            raise OverloadedError(f"the requests at work hold {self._used} of {self._bytes_max} bytes; send again later")

    def give_back(self, size_bytes: int, holder: object | None = None) -> None:
        """Return all that was taken."""
        self._used -= size_bytes
        if holder is not None and holder is self._overdrawer:
            self._overdrawer = None
        self._wake()

    def _fits(self, size_bytes: int) -> bool:
        # Alone everything fits: a body larger than the whole budget must not wait for ever.
        return self._used == 0 or self._used + size_bytes <= self._bytes_max

    def _may_overdraw(self, place: _Place) -> bool:
        if place.holder is None:
            return False
        if self._overdrawer is None:
            self._overdrawer = place.holder
        return self._overdrawer is place.holder

    def _wake(self) -> None:
        for place in tuple(self._waiting):
            if not ((self._waiting[0] is place and self._fits(place.size_bytes)) or self._may_overdraw(place)):
                continue
            self._waiting.remove(place)
            self._used += place.size_bytes
            place.turn.set_result(None)


@dataclass(slots=True, eq=False)
class _Place:
    """A request in line."""

    size_bytes: int
    holder: object | None
    turn: asyncio.Future[None]
