"""uvicorn's HTTP protocol with the two limits that it lacks: the size of a request's head, and the time to send it.

Without them one connection could make the server collect header lines until memory ends, or hold a socket for ever with
half a request line.

It also lets a request learn that its client has left when further requests stand behind it on the connection. uvicorn tells that
only to the last of them, and does not even look while it has more to answer than one request.
"""

from __future__ import annotations

import asyncio
import select
import socket

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from chaukas.server.wire.json_form import json_bytes

__all__ = ["abort_connection", "bounded_protocol", "has_left"]

#: Name of our extension in the ASGI scope.
_CONNECTION = "chaukas.connection"
#: That the other side sends no more, though what it sent before is not read yet. Only Linux tells that.
_POLL_LEFT = getattr(select, "POLLRDHUP", 0)

_LINGER_S = 1.0


class _HeadTooLargeError(Exception):
    """Ends the parsing of a connection from within a callback of the parser."""


class _BoundedProtocol(HttpToolsProtocol):
    """One connection. Between requests uvicorn's keep-alive timer runs; from the first byte of a head ours does."""

    head_bytes_max: int
    head_s: float

    _head_bytes = 0
    _unparsed_bytes = 0
    _too_large = False
    _refused = False
    _head_timer: asyncio.TimerHandle | None = None
    #: The request that is being answered; `cycle` is the one that came last.
    _running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # An answer is written in two parts; with Nagle's algorithm the second would wait 40 ms for the client's delayed
        # acknowledgement of the first. The event loop turns it off only for sockets whose protocol number is spelled out.
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._tell_running()
        super().connection_lost(exc)

    def has_left(self) -> bool:
        """Whether the other side has closed the connection, even where that is not read yet because reading is paused.

        Then the connection ends here too, and with it what waits behind the request that asks.
        """
        if self.transport.is_closing():
            return True
        connection = self.transport.get_extra_info("socket")
        if connection is None:
            return False
        poll = select.poll()
        poll.register(connection.fileno(), _POLL_LEFT)
        if not poll.poll(0):
            return False
        # The event loop tells of the end only later; by then uvicorn would have missed an answer.
        self._tell_running()
        self.transport.abort()
        return True

    def _tell_running(self) -> None:
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        # The parser calls back for every part it has understood; what it takes in silence, it collects.
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._is_refused():
            return
        if self._unparsed_bytes > self.head_bytes_max:
            self._too_large = True
            self.send_400_response("")
        elif self._head_timer is None and not self._is_answering():
            self._start_head_timer()

    def _is_refused(self) -> bool:
        return self._refused

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_CONNECTION: {"abort": self.transport.abort, "has_left": self.has_left}}
        self._head_bytes = self._unparsed_bytes = 0
        self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        waits = self._is_answering()
        super().on_headers_complete()
        if not waits:
            self._running = self.cycle

    def on_response_complete(self) -> None:
        following = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if following is not None:
            self._running = following

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser refused: as a problem, like every other answer.

        The connection ends, but not at once: closing it with unread bytes would make the system throw the answer away (a
        reset), so what is still on its way is read and dropped for a moment.
        """
        self._refused = True
        if self._too_large:
            status, title = 431, "Request Header Fields Too Large"
            detail = f"the head of the request is larger than {self.head_bytes_max} bytes (http_header_bytes_max)"
        else:
            status, title, detail = 400, "Bad Request", msg
        body = json_bytes({"type": "about:blank", "title": title, "status": status, "detail": detail})
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.write_eof()
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _count(self, size_bytes: int) -> None:
        self._unparsed_bytes = 0
        # Two bytes for the line's end, two for the colon and the blank.
        self._head_bytes += size_bytes + 4
        if self._head_bytes > self.head_bytes_max:
            self._too_large = True
            raise _HeadTooLargeError

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(self.head_s, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def abort_connection(scope: Scope) -> None:
    """Close a request's connection at once; what its client did not read yet is thrown away instead of being kept for it."""
    extension = scope.get("extensions", {}).get(_CONNECTION)
    if extension is not None:
        extension["abort"]()


def has_left(scope: Scope) -> bool:
    """Whether a request's client has closed the connection, as far as its server can tell."""
    extension = scope.get("extensions", {}).get(_CONNECTION)
    return extension is not None and bool(extension["has_left"]())


def bounded_protocol(head_bytes_max: int, head_s: float) -> type[HttpToolsProtocol]:
    """The protocol class with these limits, for `uvicorn.Config(http=…)`."""
    return type("BoundedHttpProtocol", (_BoundedProtocol,), {"head_bytes_max": head_bytes_max, "head_s": head_s})
