"""GET /v1/tail: server-sent events (WHATWG HTML §9.2), one stream per client.

A client that stops reading holds at most one chunk and the connection's own buffers (64 KiB here, the rest in the system); it is
dropped after `tail_send_s` and resumes with the last id that it has seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.operations.services import Services
from chaukas.server.operations.tail import TailItem, TailRequest, open_tail
from chaukas.server.transports.http_exchange import Exchange
from chaukas.server.transports.http_parameters import named_as_parameters, query_of, whole_number
from chaukas.server.transports.http_protocol import abort_connection
from chaukas.server.wire.json_form import event_to_openapi, json_bytes

__all__ = ["TAIL_PARAMETERS", "TailRoute"]

#: Beside the filter's.
TAIL_PARAMETERS: Final = ("since", "recent")
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # Asks proxies (nginx) to pass every event on at once.
    (b"x-accel-buffering", b"no"),
)
#: Milliseconds after which a browser connects again.
_FIRST: Final = b"retry: 2000\n"
_LAST_CHUNK_S: Final = 1.0


class _StalledError(Exception):
    """The client did not read for too long."""


class TailRoute:
    """The handler; it hangs on the application beside the ingest routes, because it holds the connection."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._send_s = services.settings.tail_send_s
        self._log = services.telemetry.logger("tail")

    async def get(self, exchange: Exchange) -> None:
        """Send events until the client leaves, stops reading, or the server stops."""
        wanted = _request_of(exchange)
        async with contextlib.AsyncExitStack() as stack:
            with named_as_parameters():
                tail = await stack.enter_async_context(open_tail(self._services, ANONYMOUS, wanted))
            await self._start(exchange)
            if exchange.method == "HEAD":
                await exchange.send({"type": "http.response.body", "body": b""})
                return
            items = await stack.enter_async_context(contextlib.aclosing(tail.items()))
            await self._stream(exchange, items)

    async def _start(self, exchange: Exchange) -> None:
        exchange.status, exchange.started = 200, True
        headers = [*_HEADERS, (b"x-request-id", exchange.request_id.encode("ascii"))]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _stream(self, exchange: Exchange, items: AsyncIterator[TailItem]) -> None:
        """Pump items until the watcher ends it."""
        stopping = self._services.tails.stopping
        watcher = asyncio.create_task(_until_over(exchange, stopping))
        try:
            async with asyncio.timeout(None) as ending:
                loop = asyncio.get_running_loop()

                def end(_: object) -> None:
                    ending.reschedule(loop.time())

                watcher.add_done_callback(end)
                try:
                    await self._pump(exchange, items)
                finally:
                    watcher.remove_done_callback(end)
        except TimeoutError:
            # Whoever is not sent home by the server has left.
            if not stopping.is_set():
                raise ClientDisconnect from None
        except _StalledError:
            self._services.telemetry.tail_drops.inc()
            self._log.info("client dropped", request_id=exchange.request_id, tail_send_s=self._send_s)
            abort_connection(exchange.scope)
            await watcher
            raise ClientDisconnect from None
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        await self._end(exchange)

    async def _pump(self, exchange: Exchange, items: AsyncIterator[TailItem]) -> None:
        sent = self._services.telemetry.tail_events
        await self._send(exchange, _FIRST)
        async for item in items:
            if item.event is not None:
                sent.inc()
            await self._send(exchange, _written(item))

    async def _send(self, exchange: Exchange, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(self._send_s):
                await exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            raise _StalledError from None

    @staticmethod
    async def _end(exchange: Exchange) -> None:
        """The last chunk, unless the client does not take it: the server does not wait for it."""
        try:
            async with asyncio.timeout(_LAST_CHUNK_S):
                await exchange.send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            abort_connection(exchange.scope)
            await _disconnected(exchange)


def _request_of(exchange: Exchange) -> TailRequest:
    """What the parameters ask for. `Last-Event-ID`, which a browser sends when it connects again, overrules where to begin."""
    request = Request(exchange.scope)
    query, given = query_of(request, *TAIL_PARAMETERS)
    last_seen = exchange.header(b"last-event-id")
    if last_seen:
        return TailRequest(query.filter, since=last_seen)
    recent = whole_number("recent", given["recent"]) if "recent" in given else 0
    return TailRequest(query.filter, since=given.get("since", ""), recent=recent)


def _written(item: TailItem) -> bytes:
    """One block of the stream. A block without data moves the client's last id and dispatches nothing."""
    if item.event is None:
        return b": waiting\nid: " + item.cursor.encode("ascii") + b"\n\n"
    cursor = b"id: " + item.cursor.encode("ascii") + b"\n" if item.cursor else b""
    # JSON on one line: line ends within strings are escaped.
    return b"event: event\n" + cursor + b"data: " + json_bytes(event_to_openapi(item.event)) + b"\n\n"


async def _until_over(exchange: Exchange, stopping: asyncio.Event) -> None:
    """Return when the client has left or the server stops."""
    left = asyncio.create_task(_disconnected(exchange))
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((left, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        left.cancel()
        stopped.cancel()


async def _disconnected(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
