"""Clients that nobody wants, many at a time, over raw connections. Each kind counts what became of its connections.

They run in a process of their own, so that what they cost is not taken from the ordinary clients beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

import grpc

from chaukas.server.testing import make_event
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import EventBatch

__all__ = ["KINDS", "Abuse", "perform"]

_BATCH = client_pb2.IngestEventBatchRequest(
    event_batch=EventBatch(events=[make_event(f"vanished-{number}", tenant_id="abuse", text="x" * 500) for number in range(200)])
).SerializeToString()
#: What a client of HTTP/2 begins with: the preface and an empty SETTINGS frame (RFC 9113 §3.4).
_HTTP2_BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_CONNECT_S = 20.0
#: How long they may take to go away.
_LONGER_S_MAX = 120.0


@dataclass(slots=True)
class Abuse:
    """What the abusers share."""

    http_port: int
    grpc_port: int
    connections: int
    seconds: float
    seed: int
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    @property
    def until_s(self) -> float:
        """When they end, on the steady clock."""
        return time.monotonic() + self.seconds

    async def open(self, port: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the HTTP port, or another one."""
        return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port or self.http_port), _CONNECT_S)


_Result = Counter[str]


def _post(length: int, path: str = "/v1/events/batch") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()


def _break_off(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a machine that lost its power and came back would."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _all(count: int, one: Callable[[int], Awaitable[str]]) -> _Result:
    """The outcomes of `count` connections at the same time; a connection that the server ended is an outcome too."""

    async def guarded(number: int) -> str:
        try:
            return await one(number)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return "ended by the server"

    return Counter(await asyncio.gather(*(guarded(number) for number in range(count))))


async def slow(abuse: Abuse) -> _Result:
    """One byte a second: half of them in the head, half in the body."""
    until_s = abuse.until_s

    async def one(number: int) -> str:
        _, writer = await abuse.open()
        try:
            whole = _post(len(_BATCH)) + _BATCH
            begun = 0 if number % 2 else len(_post(len(_BATCH)))
            writer.write(whole[:begun])
            for at in range(begun, len(whole)):
                writer.write(whole[at : at + 1])
                await writer.drain()
                if time.monotonic() >= until_s:
                    break
                await asyncio.sleep(1)
            return "was held until it went away"
        finally:
            writer.transport.abort()

    return await _all(min(400, abuse.connections), one)


async def silent(abuse: Abuse) -> _Result:
    """Connected, and then nothing: not a byte, half a line, or half of what HTTP/2 begins with; on both ports."""
    until_s = abuse.until_s

    async def one(number: int) -> str:
        _, writer = await abuse.open(abuse.grpc_port if number % 2 else 0)
        try:
            begins = (b"", _HTTP2_BEGIN[:13], _HTTP2_BEGIN) if number % 2 else (b"", b"POST /v1/ev", _post(500) + b"\x0a")
            writer.write(begins[number // 2 % 3])
            await writer.drain()
            await asyncio.sleep(max(0.0, until_s - time.monotonic()))
            return "was held until it went away"
        finally:
            writer.transport.abort()

    return await _all(min(600, abuse.connections), one)


async def many(abuse: Abuse) -> _Result:
    """All the connections of the plan at once, each with a request now and then."""
    until_s = abuse.until_s

    async def one(_: int) -> str:
        reader, writer = await abuse.open()
        try:
            while time.monotonic() < until_s:
                writer.write(b"GET /v1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                await writer.drain()
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await asyncio.wait_for(reader.readexactly(int(length.split(b":")[1])), 60)
                if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")):
                    return head[:20].decode(errors="replace")
                await asyncio.sleep(min(abuse.chance.uniform(5, 10), max(0.0, until_s - time.monotonic())))
            return "was answered every time"
        finally:
            writer.transport.abort()

    return await _all(abuse.connections, one)


async def deaf(abuse: Abuse) -> _Result:
    """Ask for large pages again and again, and read none of them."""
    until_s = abuse.until_s
    body = b'{"page_size": 1000}'
    request = (
        b"POST /v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body

    async def one(_: int) -> str:
        loop = asyncio.get_running_loop()
        with socket.socket() as raw:
            # A small window, so that little of an answer is in the system's hands.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setblocking(False)
            await asyncio.wait_for(loop.sock_connect(raw, ("127.0.0.1", abuse.http_port)), _CONNECT_S)
            while time.monotonic() < until_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(loop.sock_sendall(raw, request), 1)
                await asyncio.sleep(1)
        return "was held until it went away"

    return await _all(min(400, abuse.connections), one)


async def large_heads(abuse: Abuse) -> _Result:
    """A long line, a long header, very many headers, headers without end; again and again."""
    until_s = abuse.until_s
    heads = (
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /v1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-Many: 1\r\n" * 100_000 + b"\r\n",
        b"GET /v1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-No-End: " + b"a" * 2_000_000,
    )
    statuses: Counter[str] = Counter()

    async def one(number: int) -> str:
        while time.monotonic() < until_s:
            reader, writer = await abuse.open()
            try:
                writer.write(heads[number % len(heads)])
                answer = await asyncio.wait_for(reader.readline(), 30)
                statuses[answer.decode(errors="replace").strip() or "closed without an answer"] += 1
            except OSError:
                statuses["reset while it was still sent"] += 1
            finally:
                writer.transport.abort()
            await asyncio.sleep(0.2)
        return "done"

    await _all(20, one)
    return statuses


async def vanishing(abuse: Abuse) -> _Result:
    """Half a request and gone, or a whole one and gone before the answer; calls of gRPC that are cancelled at once."""
    until_s = abuse.until_s
    outcomes: Counter[str] = Counter()

    async def one(number: int) -> str:
        while time.monotonic() < until_s:
            _, writer = await abuse.open()
            whole = _post(len(_BATCH)) + _BATCH
            writer.write(whole[: abuse.chance.choice((20, len(whole) // 2, len(whole)))])
            await asyncio.sleep(abuse.chance.uniform(0, 0.05))
            if number % 2:
                _break_off(writer)
            else:
                writer.close()
            outcomes["broken off over HTTP"] += 1
            await asyncio.sleep(0.2)
        return "done"

    async def cancel(_: int) -> str:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{abuse.grpc_port}") as channel:
            rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/chaukas.spec.server.v1.ChaukasServerService/IngestEventBatch"
            )
            while time.monotonic() < until_s:
                call = rpc(_BATCH)
                await asyncio.sleep(abuse.chance.uniform(0, 0.02))
                call.cancel()
                outcomes["cancelled over gRPC"] += 1
                await asyncio.sleep(0.2)
        return "done"

    await asyncio.gather(_all(40, one), _all(4, cancel))
    return outcomes


#: What does it, by the name for the report.
KINDS: dict[str, Callable[[Abuse], Coroutine[None, None, _Result]]] = {
    "one byte a second": slow,
    "silent connections": silent,
    "connections at once": many,
    "answers not read": deaf,
    "heads of megabytes": large_heads,
    "gone in the middle": vanishing,
}


def perform(kind: str, abuse: Abuse) -> _Result:
    """Do it, from beginning to end. Raises `TimeoutError` when that does not come."""
    return asyncio.run(_within(abuse.seconds + _LONGER_S_MAX, KINDS[kind](abuse)))


async def _within(seconds: float, abuse: Coroutine[None, None, _Result]) -> _Result:
    async with asyncio.timeout(seconds):
        return await abuse
