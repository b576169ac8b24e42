"""A client of server-sent events on httpx, which knows nothing of the server: blocks as WHATWG HTML §9.2.6 reads them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class EventStream:
    """One connection; `last_id` moves with every block, as a browser's does."""

    response: httpx.Response
    last_id: str = ""
    comments: int = 0
    #: Blocks without data.
    bare: int = 0
    _lines: AsyncIterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = self.response.aiter_lines()

    async def block(self) -> dict[str, str] | None:
        """The next block with or without data; None at the end of the stream."""
        block: dict[str, str] = {}
        async for line in self._lines:
            if not line:
                self.last_id = block.get("id", self.last_id)
                return block
            name, _, value = line.partition(":")
            if not name:
                self.comments += 1
                continue
            block[name] = value.removeprefix(" ")
        return None

    async def event(self) -> dict[str, Any] | None:
        """The next event; None at the end of the stream."""
        while (block := await self.block()) is not None:
            if "data" in block:
                assert block["event"] == "event"
                event: dict[str, Any] = json.loads(block["data"])
                return event
            self.bare += 1
        return None

    async def ids(self, count: int) -> list[str]:
        """The ids of the next events."""
        return [event["event_id"] for event in [await self.event() for _ in range(count)] if event is not None]


@contextlib.asynccontextmanager
async def following(
    client: httpx.AsyncClient, query: str = "", *, last_id: str = "", at_start: bool = True
) -> AsyncIterator[EventStream]:
    """A tail; with `at_start` it has passed the block that says where it begins."""
    headers = {"last-event-id": last_id} if last_id else {}
    async with client.stream("GET", f"/v1/tail{query}", headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        stream = EventStream(response)
        if at_start:
            await stream.block()
        yield stream
