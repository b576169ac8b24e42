"""Sending the answers of questions: in pieces, to callers who read them."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from chaukas.server.operations.large_answers import LargeAnswers
from chaukas.server.transports.http_exchange import Exchange
from chaukas.server.transports.http_protocol import abort_connection

__all__ = ["send_response", "take_answer_bytes"]

#: A connection buffers at most so much of an answer; the next piece waits until the caller has read.
_PIECE_BYTES: Final = 64 * 1024


async def take_answer_bytes(answers: LargeAnswers, exchange: Exchange, response: Response) -> None:
    """Take the answer's bytes from the budget until it is sent. Raises `OverloadedError` when there is no room for long."""
    size = len(response.body)
    if size > _PIECE_BYTES and not exchange.answer_bytes:
        await answers.budget.take(size)
        exchange.answer_bytes = size


async def send_response(answers: LargeAnswers, exchange: Exchange, response: Response) -> None:
    """Send a whole response; a caller who takes none of it for `send_s` seconds loses the connection.

    Raises `ClientDisconnect` for such a caller.
    """
    await take_answer_bytes(answers, exchange, response)
    exchange.status, exchange.started = response.status_code, True
    try:
        if len(response.body) <= _PIECE_BYTES:
            await response(exchange.scope, exchange.receive, exchange.send)
            return
        await exchange.send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        body = memoryview(bytes(response.body))
        for start in range(0, len(body), _PIECE_BYTES):
            piece, more = bytes(body[start : start + _PIECE_BYTES]), start + _PIECE_BYTES < len(body)
            async with asyncio.timeout(answers.send_s):
                await exchange.send({"type": "http.response.body", "body": piece, "more_body": more})
    except TimeoutError:
        abort_connection(exchange.scope)
        raise ClientDisconnect from None
    finally:
        if exchange.answer_bytes:
            answers.budget.give_back(exchange.answer_bytes)
            exchange.answer_bytes = 0
