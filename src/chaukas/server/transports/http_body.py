"""Request bodies: read in bounded memory, whether their length is announced or not, compressed or not."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from starlette.requests import ClientDisconnect

from chaukas.server.errors import InvalidRequestError, RequestTooLargeError
from chaukas.server.operations.admission import Admission
from chaukas.server.transports.http_exchange import Exchange, HttpError

__all__ = ["BodyReader"]

#: How much a compressed part may grow before it is counted and others get their turn.
_EXPANSION_STEP_BYTES: Final = 1024 * 1024
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class BodyReader:
    """Reads bodies of at most `bytes_max` bytes, measured after gzip; `setting` is the name of that limit."""

    def __init__(self, setting: str, bytes_max: int, timeout_s: float, admission: Admission) -> None:
        self._setting = setting
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s
        self._admission = admission

    async def read(self, exchange: Exchange) -> bytes:
        """The whole body.

        What it holds is taken from the admission budget and noted in the exchange, whose owner gives it back. Raises
        `RequestTooLargeError` without reading on when the body is, or says it is, larger than allowed; `HttpError` 415 for an
        encoding other than gzip and 408 when the client stops sending; `InvalidRequestError` for damaged gzip;
        `OverloadedError` when there is no memory for it; `ClientDisconnect` when there is nobody left to answer.
        """
        encoding = (exchange.header(b"content-encoding") or "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise HttpError(
                415,
                "Unsupported media type",
                f"Content-Encoding {encoding[:100]!r} is not gzip",
                ((b"accept-encoding", b"gzip"),),
            )
        announced = exchange.header(b"content-length")
        if announced is not None and announced.isdecimal() and int(announced) > self._bytes_max:
            raise self._too_large()
        if encoding != "identity":
            return await self._read_gzip(exchange)
        first, more = await self._next(exchange)
        await self._take(exchange, len(first))
        if not more:
            return first
        parts = [first]
        while more:
            part, more = await self._next(exchange)
            await self._take(exchange, len(part))
            parts.append(part)
        return b"".join(parts)

    async def _read_gzip(self, exchange: Exchange) -> bytes:
        """Expand while reading, one bounded step at a time: a bomb ends at the limit, not in memory."""
        expander = zlib.decompressobj(_GZIP_WINDOW)
        parts: list[bytes] = []
        received_bytes, more = 0, True
        try:
            while more:
                part, more = await self._next(exchange)
                received_bytes += len(part)
                if received_bytes > self._bytes_max:
                    raise self._too_large()
                pending = bool(part)
                while pending:
                    # One gzip file may follow another (RFC 1952 §2.2).
                    if expander.eof:
                        expander = zlib.decompressobj(_GZIP_WINDOW)
                    expanded = expander.decompress(part, _EXPANSION_STEP_BYTES)
                    await self._take(exchange, len(expanded))
                    parts.append(expanded)
                    part = expander.unused_data if expander.eof else expander.unconsumed_tail
                    # A step that came out full may have left more inside, even when all input is used up.
                    full = len(expanded) == _EXPANSION_STEP_BYTES
                    pending = bool(part) or (full and not expander.eof)
                    if full:
                        await asyncio.sleep(0)
        except zlib.error as error:
            raise InvalidRequestError("body", "is not gzip, as Content-Encoding says") from error
        if received_bytes and not expander.eof:
            raise InvalidRequestError("body", "is gzip that ends too early")
        return b"".join(parts)

    async def _next(self, exchange: Exchange) -> tuple[bytes, bool]:
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await exchange.receive()
        except TimeoutError:
            raise HttpError(
                408,
                "Request timeout",
                f"no part of the body came for {self._timeout_s:g} s (http_body_s)",
                ((b"connection", b"close"),),
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), message.get("more_body", False)

    async def _take(self, exchange: Exchange, size_bytes: int) -> None:
        if exchange.held_bytes + size_bytes > self._bytes_max:
            raise self._too_large()
        await self._admission.take(size_bytes, holder=exchange if exchange.held_bytes else None)
        exchange.held_bytes += size_bytes

    def _too_large(self) -> RequestTooLargeError:
        return RequestTooLargeError(
            f"the body is larger than {self._bytes_max} bytes ({self._setting}); send it in smaller parts"
        )
