"""Where explanations are computed: in threads, so that ingest and questions go on, and only a few at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from chaukas.server.errors import OverloadedError
from chaukas.server.explain.findings import RULES
from chaukas.server.explain.model import Finder

__all__ = ["Explainer"]

_T = TypeVar("_T")


class Explainer:
    """The finders of this server, and room for `at_once_max` explanations."""

    def __init__(self, finders: Sequence[Finder] = (), *, at_once_max: int = 2, hold_s: float = 10.0) -> None:
        self.finders: tuple[Finder, ...] = (*RULES, *finders)
        self._room = asyncio.Semaphore(at_once_max)
        self._hold_s = hold_s

    @asynccontextmanager
    async def room(self) -> AsyncIterator[None]:
        """A place, to be held while events are loaded and explained. Raises `OverloadedError` after `hold_s` of waiting."""
        try:
            async with asyncio.timeout(self._hold_s):
                await self._room.acquire()
        except TimeoutError:
            raise OverloadedError(
                "as many explanations as the server computes at once (explain_at_once_max) are under way; ask again later"
            ) from None
        try:
            yield
        finally:
            self._room.release()

    @staticmethod
    async def compute(work: Callable[[], _T]) -> _T:
        """Run a computation in a thread.

        A thread cannot be stopped: when the caller leaves, this returns only once the thread has ended, so that its place stays
        taken until then.
        """
        running = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            raise
