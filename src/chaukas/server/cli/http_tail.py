"""`GET /v1/tail` of a running server, from where the last answer ended, across lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final
from urllib.parse import urlencode

from chaukas.server.cli.event_stream import EventStreamParser, StreamMessage
from chaukas.server.cli.server_url import ServerUrl, reason_of
from chaukas.server.errors import ChaukasError, OverloadedError, StorageError

__all__ = ["HttpTail"]

#: Until a connection is open and the server has begun to answer.
_CONNECT_S: Final = 15.0
#: A server sends a comment now and then when it has no event; several of them missing means that nobody is there any more.
_SILENCE_S: Final = 75.0
_PIECE_BYTES: Final = 256 * 1024
_ANSWER_BYTES_MAX: Final = 64 * 1024
_MEDIA_TYPE: Final = "text/event-stream"
#: Waits before the next try, the last one again and again.
_BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


class HttpTail:
    """Messages of one question, as long as somebody asks for them. `close` lets go of the server."""

    def __init__(
        self,
        server_url: str,
        parameters: Sequence[tuple[str, str]],
        remark: Callable[[str], None],
        *,
        backoff_s: Sequence[float] = _BACKOFF_S,
        silence_s: float = _SILENCE_S,
    ) -> None:
        """`remark` is told in one line when the connection is lost and when it is back."""
        self._server = ServerUrl(server_url)
        self._target = f"{self._server.prefix}/v1/tail" + (f"?{urlencode(parameters)}" if parameters else "")
        self._remark = remark
        self._backoff_s = backoff_s
        self._silence_s = silence_s
        self._parser = EventStreamParser()
        self._connection: HTTPConnection | None = None
        self._response: HTTPResponse | None = None

    def open(self) -> None:
        """Ask for the first time; what is stored from now on will come. Raises `ChaukasError` when that is not possible."""
        try:
            self._open()
        except (OSError, HTTPException) as error:
            self.close()
            raise self._server.unreachable(error, _CONNECT_S) from error

    def messages(self) -> Iterator[list[StreamMessage]]:
        """What has come, a list for each arrival, without an end.

        A connection that is lost is opened again, and the server goes on behind the last message. Raises `ChaukasError` when the
        server refuses that for good.
        """
        while True:
            try:
                piece = self._read()
            except (OSError, HTTPException) as error:
                self._reopen(reason_of(error))
                continue
            if not piece:
                self._reopen("the server has ended it")
            elif messages := self._parser.feed(piece):
                yield messages

    def close(self) -> None:
        """Idempotent."""
        response, self._response = self._response, None
        connection, self._connection = self._connection, None
        if response is not None:
            response.close()
        if connection is not None:
            connection.close()

    def _open(self) -> None:
        self.close()
        self._connection = self._server.connection(_CONNECT_S)
        headers = {"Accept": _MEDIA_TYPE, "Cache-Control": "no-cache", "User-Agent": "chaukas-cli"}
        if self._parser.last_id:
            headers["Last-Event-ID"] = self._parser.last_id
        self._connection.request("GET", self._target, headers=headers)
        response = self._response = self._connection.getresponse()
        if response.status != 200:
            problem = self._server.problem(response.status, response.read(_ANSWER_BYTES_MAX))
            self.close()
            raise problem
        if response.headers.get_content_type() != _MEDIA_TYPE:
            self.close()
            raise self._server.foreign()
        # A message that the lost connection cut in half is sent again as a whole.
        self._parser = EventStreamParser(self._parser.last_id)
        # An answer that ends with its connection takes the socket over.
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._silence_s)

    def _read(self) -> bytes:
        return self._response.read1(_PIECE_BYTES) if self._response is not None else b""

    def _reopen(self, reason: str) -> None:
        """Try until it works, with growing waits."""
        self._remark(f"the connection to {self._server} is lost ({reason}); trying again")
        tries = 0
        while True:
            asked_s = (self._parser.retry_ms or 0) / 1000
            time.sleep(max(self._backoff_s[min(tries, len(self._backoff_s) - 1)], min(asked_s, self._backoff_s[-1])))
            tries += 1
            try:
                self._open()
            except (OSError, HTTPException, OverloadedError, StorageError):
                # Still starting, draining or away.
                self.close()
            except ChaukasError:
                self.close()
                raise
            else:
                self._remark(f"connected to {self._server} again")
                return
