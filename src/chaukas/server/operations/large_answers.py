"""Large answers: made one at a time, and bounded in memory until their callers have taken them.

A page of a thousand events costs tens of milliseconds of one processor and megabytes until it is sent. Many of them at once would
take the interpreter from ingest, and callers who do not read would fill the memory.
"""

from __future__ import annotations

import asyncio

from chaukas.server.operations.admission import Admission

__all__ = ["LargeAnswers"]

#: Pages of more events wait for their turn.
_EVENTS_WITHOUT_TURN_MAX = 100


class LargeAnswers:
    """One turn for making, one budget of bytes for what is made and not sent yet."""

    def __init__(self, bytes_max: int, hold_s: float, send_s: float) -> None:
        self.budget = Admission(bytes_max, hold_s)
        #: How long a caller may take none of an answer.
        self.send_s = send_s
        self._turn = asyncio.Semaphore(1)

    def turn(self) -> asyncio.Semaphore:
        """A context manager: first come, first served."""
        return self._turn

    @staticmethod
    def needs_turn(page_events: int) -> bool:
        """Whether a page that may hold so many events is made in turn."""
        return page_events > _EVENTS_WITHOUT_TURN_MAX
