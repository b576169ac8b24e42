from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from chaukas.server.testing.records import make_event
from tests.acceptance.serving import PROTOBUF, Served, batch_body, serving, single_body

pytestmark = pytest.mark.anyio


async def raw(served: Served, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What the server sends on a connection until it closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.http_port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "endless",
    [b"GET /" + b"x" * 200_000, b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 40_000],
)
async def test_an_endless_head_is_refused(tmp_path: Path, endless: bytes) -> None:
    """No connection makes the server collect header lines without end, whatever they consist of."""
    async with serving(tmp_path, http_header_bytes_max=16_384) as served:
        answer = await raw(served, endless[:100_000], endless[100_000:])
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"http_header_bytes_max" in answer
        assert (await served.http.get("/healthz")).is_success


async def test_what_is_no_http_is_refused_as_a_problem(tmp_path: Path) -> None:
    """A client that speaks another protocol gets an answer that it may log."""
    async with serving(tmp_path) as served:
        answer = await raw(served, b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"application/problem+json" in answer


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n", b"\r\n"])
async def test_a_head_that_never_ends_is_given_up(tmp_path: Path, begun: bytes) -> None:
    """An idle connection, or one that stops in the middle of a head, does not hold a socket for ever."""
    async with serving(tmp_path, http_keep_alive_s=1) as served:
        assert await raw(served, begun) == b""


async def test_a_kept_connection_is_given_up_when_it_is_idle(tmp_path: Path) -> None:
    """After an answer the connection stays for the next request, but not for ever."""
    async with serving(tmp_path, http_keep_alive_s=1) as served:
        request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        answers = await raw(served, request, request, b"\r\n", pause_s=0.05)
        assert answers.count(b"HTTP/1.1 200 OK") == 2


async def test_a_body_that_never_comes_is_given_up(tmp_path: Path) -> None:
    """408, and what was taken of the memory budget is given back."""
    async with serving(tmp_path, http_body_s=0.2) as served:
        head = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000\r\n\r\n"
        answer = await raw(served, head + bytes(100))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"http_body_s" in answer
        assert "chaukas_inflight_bytes 0.0" in (await served.http.get("/metrics")).text


async def test_a_client_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    """Half a body and a closed connection cost no memory, and are counted as what they are."""
    async with serving(tmp_path) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.http_port)
        writer.write(
            b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000\r\n\r\n12345"
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        for _ in range(200):
            if served.metric("chaukas_requests_total", transport="http", route="/v1/events", method="POST", status="499"):
                break
            await asyncio.sleep(0.01)
        assert "chaukas_inflight_bytes 0.0" in (await served.http.get("/metrics")).text


async def test_events_of_a_client_that_did_not_wait_are_stored(tmp_path: Path) -> None:
    """Whoever goes away after sending everything loses the answer, not the event."""
    async with serving(tmp_path) as served:
        served.store.may_append.clear()
        body = single_body(make_event("a"))
        _, writer = await asyncio.open_connection("127.0.0.1", served.http_port)
        writer.write(
            b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n"
            % len(body)
            + body
        )
        await asyncio.wait_for(served.store.appending.wait(), 10)
        writer.close()
        served.store.may_append.set()
        for _ in range(200):
            if served.store.log("chaukas.localhost/events/acme/shop"):
                break
            await asyncio.sleep(0.01)
        assert [kept.record.event_id for kept in served.store.log("chaukas.localhost/events/acme/shop")] == ["a"]


async def test_more_requests_than_configured_are_refused(tmp_path: Path) -> None:
    """The number of requests at work is bounded; those at work end well."""
    async with serving(tmp_path, requests_max=2) as served:
        served.store.may_append.clear()
        posts = [
            asyncio.create_task(served.http.post("/v1/events", content=single_body(make_event(f"e{index}")), headers=PROTOBUF))
            for index in range(2)
        ]
        await asyncio.wait_for(served.store.appending.wait(), 10)
        refused = await served.http.get("/healthz")
        for _ in range(200):
            if refused.status_code == 503:
                break
            refused = await served.http.get("/healthz")
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        served.store.may_append.set()
        assert [(await post).status_code for post in posts] == [202, 202]


async def test_bodies_beyond_the_memory_budget_are_held_and_then_refused(tmp_path: Path) -> None:
    """Memory does not grow with the number of senders: one body may overdraw the budget, who comes then waits and is refused."""
    limits = {"inflight_bytes_max": 2 << 20, "request_bytes_max": 2 << 20, "event_bytes_max": 1 << 20}
    async with serving(tmp_path, hold_s=0.1, **limits) as served:
        served.store.may_append.clear()
        body = batch_body(make_event("large", text="x" * 1_000_000), make_event("also", text="x" * 900_000))
        taken = []
        for held_bytes in (len(body), 2 * len(body)):
            taken.append(asyncio.create_task(served.http.post("/v1/events/batch", content=body, headers=PROTOBUF)))
            async with asyncio.timeout(10):
                while await _inflight_bytes(served) < held_bytes:  # noqa: ASYNC110  nothing inside tells
                    await asyncio.sleep(0.01)
        refused = await served.http.post("/v1/events/batch", content=body, headers=PROTOBUF)
        assert refused.status_code == 503
        assert "high memory usage" not in refused.text
        served.store.may_append.set()
        assert [(await post).status_code for post in taken] == [202, 202]
        assert (await served.http.post("/v1/events/batch", content=body, headers=PROTOBUF)).status_code == 202


async def _inflight_bytes(served: Served) -> float:
    page = (await served.http.get("/metrics")).text
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith("chaukas_inflight_bytes "))


async def test_a_full_queue_holds_requests_and_then_refuses_them(tmp_path: Path) -> None:
    """Overload is answered with a plain 503 after the hold, never by growing without bound."""
    async with serving(tmp_path, queue_events_max=1, hold_s=0.1) as served:
        served.store.may_append.clear()
        first = asyncio.create_task(served.http.post("/v1/events", content=single_body(make_event("a")), headers=PROTOBUF))
        await asyncio.wait_for(served.store.appending.wait(), 10)
        refused = await served.http.post("/v1/events", content=single_body(make_event("b")), headers=PROTOBUF)
        assert refused.status_code == 503
        assert refused.json()["retryable"] is True
        assert "high memory usage" not in refused.text
        assert "retry-after" in refused.headers
        served.store.may_append.set()
        assert (await first).status_code == 202


async def test_requests_on_one_connection_may_come_in_one_packet(tmp_path: Path) -> None:
    """Pipelined requests are answered in their order, with the limits of the head counted for each."""
    async with serving(tmp_path, http_header_bytes_max=1024) as served:
        one = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-padding: " + b"p" * 500 + b"\r\n\r\n"
        last = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        assert (await raw(served, one * 5 + last)).count(b"HTTP/1.1 200 OK") == 6


async def test_a_web_page_cannot_pass_for_the_server(tmp_path: Path) -> None:
    """A domain from outside that points at this machine is refused; every name of this machine is served."""
    async with serving(tmp_path, server_name="events.example.org") as served:
        for host, status in (
            ("evil.example.com", 421),
            ("evil.example.com:8080", 421),
            ("127.0.0.1.nip.io:80", 421),
            ("192.168.1.7:8080", 421),
            ("127.0.0.1:8080", 200),
            ("127.9.9.9", 200),
            ("[::1]:8080", 200),
            ("localhost:8080", 200),
            ("chaukas.localhost", 200),
            ("events.example.org:8080", 200),
            ("server", 200),
        ):
            assert (await served.http.get("/v1/capabilities", headers={"host": host})).status_code == status, host
    async with serving(tmp_path, insecure_no_auth=True) as served:
        assert (await served.http.get("/healthz", headers={"host": "chaukas.example.com"})).is_success


async def _deaf(served: Served, query: bytes) -> asyncio.StreamWriter:
    """A connection that asks for a page and reads nothing, with the least buffers that the system grants."""
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await loop.sock_connect(connection, ("127.0.0.1", served.http_port))
    # Without a limit the reader of the stream would read ahead on its own.
    _, writer = await asyncio.open_connection(sock=connection, limit=1)
    writer.write(b"GET /v1/events?" + query + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    await writer.drain()
    return writer


async def _waiting_bytes(served: Served) -> float:
    figures = (await served.http.get("/metrics")).text
    return float(next(line.split()[1] for line in figures.splitlines() if line.startswith("chaukas_answer_bytes ")))


async def test_callers_who_do_not_read_cost_themselves(tmp_path: Path) -> None:
    """Pages that nobody reads are bounded in sum, their connections end, and others are answered meanwhile and afterwards."""
    # Larger than what the system itself buffers for a connection.
    limits = {"answer_bytes_max": 30_000_000, "page_bytes_max": 30_000_000}
    page = b"page_size=200"
    async with serving(tmp_path, answer_send_s=0.5, hold_s=20, **limits) as served:
        events = [make_event(f"e{number}", text="x" * 200_000) for number in range(120)]
        for start in range(0, 120, 20):
            answer = await served.http.post("/v1/events/batch", content=batch_body(*events[start : start + 20]), headers=PROTOBUF)
            assert answer.is_success, answer.text
        deaf = [await _deaf(served, page) for _ in range(3)]
        try:
            async with asyncio.timeout(20):
                while not await _waiting_bytes(served):  # noqa: ASYNC110  another process would ask so too
                    await asyncio.sleep(0.05)
            assert (await served.http.get("/healthz")).is_success
            assert (await served.http.get("/v1/events?page_size=1")).is_success
            assert await _waiting_bytes(served) <= 30_000_000
            answer = await served.http.get("/v1/events?" + page.decode())
            assert answer.is_success, answer.text
            assert len(answer.json()["events"]) == 120
            async with asyncio.timeout(20):
                while await _waiting_bytes(served):  # noqa: ASYNC110  another process would ask so too
                    await asyncio.sleep(0.05)
            assert served.metric("chaukas_requests_total", transport="http", route="/v1/events", method="GET", status="499") == 3
        finally:
            for writer in deaf:
                writer.close()


async def test_pages_of_callers_who_have_left_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leaves costs no more, not even with further requests on its connection that the server has not read yet."""
    async with serving(tmp_path) as served:
        asked = 0
        may_answer, query = asyncio.Event(), served.store.query

        async def counted(*given: Any, **named: Any) -> Any:
            nonlocal asked
            asked += 1
            await may_answer.wait()
            return await query(*given, **named)

        monkeypatch.setattr(served.store, "query", counted)
        stays = asyncio.create_task(served.http.get("/v1/events?page_size=1000"))
        request = b"GET /v1/events?page_size=1000 HTTP/1.1\r\nhost: x\r\n\r\n"
        leaving = [(await asyncio.open_connection("127.0.0.1", served.http_port))[1] for _ in range(3)]
        async with asyncio.timeout(10):
            for at_work, writer in enumerate(leaving, 2):
                writer.write(2 * request)
                while served.metric("chaukas_requests_in_flight", transport="http") < at_work:  # noqa: ASYNC110  nothing tells
                    await asyncio.sleep(0.01)
                writer.close()
                await writer.wait_closed()
        may_answer.set()
        assert (await stays).is_success
        async with asyncio.timeout(10):
            while served.metric("chaukas_requests_in_flight", transport="http"):  # noqa: ASYNC110  nothing tells
                await asyncio.sleep(0.01)
        assert asked == 1
        assert served.metric("chaukas_requests_total", transport="http", route="/v1/events", method="GET", status="499") == 3
