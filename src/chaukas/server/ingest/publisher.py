"""The last stage of ingest: those who follow the record are told that a transaction was committed."""

from __future__ import annotations

import asyncio

__all__ = ["CommitSignal"]


class CommitSignal:
    """Wakes followers after a commit. Telling nobody costs an addition; all calls belong to one event loop."""

    def __init__(self) -> None:
        #: Rises with every commit; read it before looking at the store, and wait behind what was read.
        self.version = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """A transaction was committed."""
        self.version += 1
        if self._waiting:
            waiting, self._waiting = self._waiting, set()
            for follower in waiting:
                if not follower.done():
                    follower.set_result(None)

    async def wait(self, version: int, timeout_s: float) -> bool:
        """Return True as soon as something was committed behind `version`, False after `timeout_s` seconds without."""
        if self.version != version:
            return True
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(committed)
        try:
            async with asyncio.timeout(timeout_s):
                await committed
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(committed)
        return True
