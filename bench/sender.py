"""A sender: a process of its own that sends a share of the workload and reports what was acknowledged.

It reads its order as one line of JSON (`SenderOrder`), prepares the payloads, connects, prints `ready`, waits for a line,
sends, and prints one line of JSON (`SenderReport`). In the mode "ahead" everything is serialised before `ready`, so that
only sending is timed; in the mode "stream" requests are made on the way, which is for filling a store.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc

from bench.process import SERVICE, connect, raw_call
from bench.workload import Request, Workload, WorkloadSpec
from chaukas.spec.server.v1 import server_pb2

__all__ = ["SenderOrder", "SenderReport", "main"]

_TIMEOUT_S = 120.0
_BUSY_PAUSE_S = 0.05


@dataclass
class SenderOrder:
    """What one sender shall do."""

    #: "grpc-batch", "grpc-single" or "http-batch".
    kind: str
    port: int
    workload: dict[str, Any]
    #: Number of the first session of the whole run, and the sessions in one request.
    first_session: int
    sessions_per_request: int
    #: Requests of the whole run, this sender's place among the senders, and their number: it takes every n-th request.
    #: For "grpc-single" a request number means a session, of which every event is sent by itself.
    requests: int
    sender: int = 0
    senders: int = 1
    in_flight: int = 1
    #: How often the payloads are sent; more than once only to a server that stores nothing.
    repeat: int = 1
    #: Requests of this sender that are sent before it is ready; they are stored, but not timed.
    warm_up: int = 0
    mode: str = "ahead"
    #: Stop at the first error instead of raising it: for servers that are killed on purpose.
    expect_end: bool = False


@dataclass
class SenderReport:
    """What was acknowledged, and when; times are seconds of the machine's monotonic clock."""

    began: float = 0.0
    ended: float = 0.0
    events: int = 0
    payload_bytes: int = 0
    warm_up_events: int = 0
    warm_up_bytes: int = 0
    busy: int = 0
    cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)


def _requests(order: SenderOrder) -> Iterator[Request]:
    workload = Workload(WorkloadSpec(**order.workload))
    for number in range(order.sender, order.requests, order.senders):
        first = order.first_session + number * order.sessions_per_request
        if order.kind == "grpc-single":
            yield from workload.singles(first)
        else:
            yield workload.batch(first, order.sessions_per_request)


def _is_busy(error: grpc.RpcError) -> bool:
    return bool(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED)


class _Tally:
    """Counts what was acknowledged. Answers are looked into when the clock has stopped, or at once where nothing is timed."""

    def __init__(self, kind: str, mode: str) -> None:
        self.report = SenderReport()
        self._check = {"grpc-batch": _accepted_of_batch, "grpc-single": _accepted_of_single}.get(kind)
        self._at_once = mode == "stream"
        self._answers: list[tuple[int, bytes]] = []

    def note(self, request: Request, answer: bytes, took_s: float) -> None:
        self.report.latencies_s.append(took_s)
        self.report.events += request.events
        self.report.payload_bytes += request.payload_bytes
        self._answers.append((request.events, answer))
        if self._at_once:
            self.settle()

    def settle(self) -> None:
        """Raises `RuntimeError` when an event was not accepted."""
        for events, answer in self._answers:
            if self._check is not None and self._check(answer) != events:
                raise RuntimeError(f"not everything was accepted: {answer[:300]!r}")
        self._answers.clear()

    def end_warm_up(self) -> None:
        """What was sent so far was not timed."""
        self.settle()
        report = self.report
        report.warm_up_events, report.warm_up_bytes = report.events, report.payload_bytes
        report.events = report.payload_bytes = report.busy = 0
        report.latencies_s.clear()


def _accepted_of_batch(answer: bytes) -> int:
    parsed = server_pb2.IngestEventBatchResponse.FromString(answer)
    return 0 if parsed.rejected_count else parsed.accepted_count


def _accepted_of_single(answer: bytes) -> int:
    return int(server_pb2.IngestEventResponse.FromString(answer).status == "accepted")


def _wait_for_go() -> None:
    print("ready", flush=True)
    if not sys.stdin.readline():
        raise SystemExit("nobody is there to send for")


def _run_one_at_a_time(order: SenderOrder, send: Callable[[bytes], bytes | None], tally: _Tally) -> None:
    """The next request goes out when the last one was answered. `send` returns None when the server was busy."""
    source = _requests(order)
    payloads = list(source) if order.mode == "ahead" else []

    def call(request: Request) -> None:
        began = time.perf_counter()
        while (answer := send(request.body)) is None:
            tally.report.busy += 1
            time.sleep(_BUSY_PAUSE_S)
        tally.note(request, answer, time.perf_counter() - began)

    for _ in range(order.warm_up):
        call(payloads.pop(0) if payloads else next(source))
    tally.end_warm_up()
    _wait_for_go()
    cpu_s, tally.report.began = time.process_time(), time.monotonic()
    try:
        for _ in range(order.repeat):
            for request in payloads or source:
                call(request)
    except (grpc.RpcError, OSError, http.client.HTTPException):
        if not order.expect_end:
            raise
    tally.report.ended, tally.report.cpu_s = time.monotonic(), time.process_time() - cpu_s


def _send_grpc(order: SenderOrder) -> Callable[[bytes], bytes | None]:
    method = "IngestEvent" if order.kind == "grpc-single" else "IngestEventBatch"
    rpc = raw_call(connect(order.port), method)

    def send(body: bytes) -> bytes | None:
        try:
            answer: bytes = rpc(body, timeout=_TIMEOUT_S, wait_for_ready=not order.expect_end)
        except grpc.RpcError as error:
            if _is_busy(error):
                return None
            raise
        return answer

    return send


def _send_http(order: SenderOrder) -> Callable[[bytes], bytes | None]:
    """As `chaukas-sdk` posts: one connection that is kept, binary protobuf, a key in the header, no compression."""
    connection = http.client.HTTPConnection("127.0.0.1", order.port, timeout=_TIMEOUT_S)
    headers = {"Content-Type": "application/x-protobuf", "Authorization": "Bearer bench", "User-Agent": "chaukas-bench"}

    def send(body: bytes) -> bytes | None:
        connection.request("POST", "/v1/events/batch", body, headers)
        if connection.sock is not None:
            # Head and body leave in two pieces; without this the answer of a server that writes in two pieces comes 40 ms late.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status == 503:
            return None
        if answer.status != 202:
            raise RuntimeError(f"HTTP {answer.status}: {content[:300]!r}")
        return content

    return send


async def _run_many_at_once(order: SenderOrder, tally: _Tally) -> None:
    """`in_flight` requests of one connection are under way at any time."""
    method = "IngestEvent" if order.kind == "grpc-single" else "IngestEventBatch"
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 * 1024 * 1024)]
    source = _requests(order)
    payloads = list(source) if order.mode == "ahead" else []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{order.port}", options=options) as channel:
        rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SERVICE + method)

        async def work(todo: Iterator[Request]) -> None:
            for request in todo:
                began = time.perf_counter()
                while True:
                    try:
                        answer = await rpc(request.body, timeout=_TIMEOUT_S, wait_for_ready=not order.expect_end)
                        break
                    except grpc.RpcError as error:
                        if order.expect_end and not _is_busy(error):
                            return
                        if not _is_busy(error):
                            raise
                        tally.report.busy += 1
                        await asyncio.sleep(_BUSY_PAUSE_S)
                tally.note(request, answer, time.perf_counter() - began)

        async def run(todo: Iterator[Request]) -> None:
            await asyncio.gather(*(work(todo) for _ in range(order.in_flight)))

        if order.warm_up:
            first = payloads[: order.warm_up] if payloads else [next(source) for _ in range(order.warm_up)]
            payloads = payloads[order.warm_up :]
            await run(iter(first))
        tally.end_warm_up()
        await asyncio.to_thread(_wait_for_go)
        cpu_s, tally.report.began = time.process_time(), time.monotonic()
        for _ in range(order.repeat):
            await run(iter(payloads) if payloads else source)
        tally.report.ended, tally.report.cpu_s = time.monotonic(), time.process_time() - cpu_s


def main() -> None:
    """Carry out the order on standard input."""
    order = SenderOrder(**json.loads(sys.stdin.readline()))
    tally = _Tally(order.kind, order.mode)
    if order.in_flight > 1:
        asyncio.run(_run_many_at_once(order, tally))
    else:
        _run_one_at_a_time(order, _send_http(order) if order.kind == "http-batch" else _send_grpc(order), tally)
    tally.settle()
    print(json.dumps(asdict(tally.report)), flush=True)


if __name__ == "__main__":
    main()
