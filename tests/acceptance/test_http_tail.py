"""GET /v1/tail over real sockets: everything once and in order, over kills, stops, slow clients and crowds."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from chaukas.server.storage.contract import EventFilter
from chaukas.server.testing.records import make_event, make_record
from tests.acceptance.event_stream import following
from tests.acceptance.serving import PROTOBUF, Served, batch_body, serving
from tests.acceptance.started_server import running_server

pytestmark = pytest.mark.anyio


async def _post(served: Served, *ids: str, **fields: object) -> None:
    answer = await served.http.post(
        "/v1/events/batch", content=batch_body(*(make_event(each, **fields) for each in ids)), headers=PROTOBUF
    )
    assert answer.status_code == 202


async def test_events_come_as_they_are_committed(tmp_path: Path) -> None:
    """A tail begins now, brings each event once with the server's values, in the order of arrival, and tells where it is."""
    async with serving(tmp_path) as served:
        await _post(served, "before")
        async with following(served.http) as stream:
            assert stream.last_id
            assert stream.response.headers["content-type"] == "text/event-stream"
            assert stream.response.headers["cache-control"] == "no-store"
            # Later in the client's time, earlier in the server's: arrival decides.
            await _post(served, "a", at_ns=2_000_000_000)
            await _post(served, "b", "c", at_ns=1_000_000_000)
            events = [await stream.event() for _ in range(3)]
            assert [event["event_id"] for event in events if event] == ["a", "b", "c"]
            listed = (await served.http.get("/v1/events", params={"end": "2000-01-01T00:00:00Z"})).json()["events"]
            assert sorted(map(json.dumps, events)) == sorted(map(json.dumps, listed))
            (await served.http.get("/metrics")).raise_for_status()
            assert served.metric("chaukas_tail_clients") == 1
        assert served.metric("chaukas_tail_events_total") == 3
        await _until(
            lambda: served.metric("chaukas_requests_total", transport="http", route="/v1/tail", method="GET", status="499")
        )


async def test_a_tail_filters(tmp_path: Path) -> None:
    """Every parameter of the filter narrows a tail; unknown, repeated and unfitting ones are refused by name."""
    async with serving(tmp_path) as served:
        query = "?tenant_id=acme&type=2,EVENT_TYPE_SYSTEM&tag=red&tag=blue&severity=WARN&text_query=hello"
        async with following(served.http, query) as stream:
            fields = {"type": 63, "tags": ["red", "blue", "x"], "severity": 3}
            await _post(served, "no-1", **{**fields, "tenant_id": "other"})
            await _post(served, "no-2", **{**fields, "type": 3})
            await _post(served, "no-3", **{**fields, "tags": ["red"]})
            await _post(served, "no-4", **{**fields, "severity": 2})
            await _post(served, "no-5", **{**fields, "text": "goodbye"})
            await _post(served, "yes-1", **fields)
            await _post(served, "yes-2", **{**fields, "type": 2})
            assert await stream.ids(2) == ["yes-1", "yes-2"]
        for wrong, field in (
            ("typ=1", "typ"),
            ("type=NONE", "type"),
            ("status=1,", "status"),
            ("tenant_id=a&tenant_id=b", "tenant_id"),
            ("start=2026-01-31T12:00:00Z", "start"),
            ("page_size=3", "page_size"),
            ("recent=1001", "recent"),
            ("recent=x", "recent"),
            ("since=forged", "since"),
            ("text_query=%22", "text_query"),
        ):
            answer = await served.http.get(f"/v1/tail?{wrong}")
            assert (answer.status_code, answer.json()["violations"][0]["field"]) == (400, field)


async def test_a_cursor_goes_on_exactly(tmp_path: Path) -> None:
    """From any id on, by parameter or header, come exactly the later events; another filter's id is refused."""
    async with serving(tmp_path) as served:
        ids: dict[str, str] = {}
        async with following(served.http) as stream:
            for number in range(6):
                await _post(served, f"e{number}", project_id=f"p{number % 3}")
            for number in range(6):
                assert await stream.ids(1) == [f"e{number}"]
                ids[f"e{number}"] = stream.last_id
        await _post(served, "late", project_id="new")
        for number in range(6):
            expected = [*(f"e{later}" for later in range(number + 1, 6)), "late"]
            async with following(served.http, f"?since={ids[f'e{number}']}") as stream:
                assert await stream.ids(len(expected)) == expected
            # What a browser sends overrules where its address began.
            async with following(served.http, f"?since={ids['e0']}&recent=0", last_id=ids[f"e{number}"]) as stream:
                assert await stream.ids(len(expected)) == expected
        answer = await served.http.get("/v1/tail", params={"since": ids["e0"], "tenant_id": "acme"})
        assert (answer.status_code, answer.json()["violations"][0]["field"]) == (400, "since")


async def test_the_newest_events_come_first(tmp_path: Path) -> None:
    """`recent` brings the newest events by their own time, oldest first, then what arrives; together nothing twice."""
    async with serving(tmp_path, page_bytes_max=1024) as served:
        for number in range(20):
            await _post(served, f"e{number}", at_ns=(number * 7 % 20) * 1_000, text="x" * 300)
        newest = [f"e{number}" for number in sorted(range(20), key=lambda number: number * 7 % 20)]
        async with following(served.http, "?recent=7", at_start=False) as stream:
            assert await stream.ids(7) == newest[-7:]
            assert stream.last_id == ""
            await _post(served, "now", at_ns=0)
            assert await stream.ids(1) == ["now"]
            assert stream.last_id
        async with following(served.http, "?recent=1000", at_start=False) as stream:
            assert sorted(await stream.ids(21)) == sorted([*newest, "now"])


async def test_a_quiet_tail_is_alive(tmp_path: Path) -> None:
    """A comment with the position comes when nothing else does; positions move past what does not match."""
    async with serving(tmp_path, tail_heartbeat_s=0.1) as served:
        async with following(served.http, "?session_id=none") as stream:
            first, comments = stream.last_id, stream.comments
            await _post(served, "e")
            while stream.last_id == first:
                assert await stream.block() == {"id": stream.last_id}
            assert stream.comments > comments
        assert await served.store.count(EventFilter()) == 1


async def test_fifty_clients_see_the_same(tmp_path: Path) -> None:
    """Fifty tails bring everything once each; the next one above the limit is refused, and taken when one has left."""
    async with serving(tmp_path, tail_clients_max=50) as served:
        limits = httpx.Limits(max_connections=60)
        begun, go = asyncio.Semaphore(0), asyncio.Event()

        async def follow(client: httpx.AsyncClient) -> list[str]:
            async with following(client) as stream:
                begun.release()
                ids = await stream.ids(30)
                await go.wait()
                return ids

        async with httpx.AsyncClient(base_url=served.http.base_url, timeout=30, limits=limits, trust_env=False) as client:
            tasks = [asyncio.create_task(follow(client)) for _ in range(50)]
            for _ in range(50):
                await begun.acquire()
            refused = await served.http.get("/v1/tail")
            assert (refused.status_code, refused.json()["retryable"]) == (503, True)
            assert "tail_clients_max" in refused.json()["detail"]
            for number in range(10):
                await _post(served, *(f"e{number}-{n}" for n in range(3)))
            go.set()
            expected = [f"e{number}-{n}" for number in range(10) for n in range(3)]
            assert all(ids == expected for ids in await asyncio.gather(*tasks))
        await _until(
            lambda: served.app.telemetry.registry.get_sample_value("chaukas_requests_in_flight", {"transport": "http"}) == 0
        )
        async with following(served.http):
            pass


async def test_a_client_that_stops_reading_is_dropped(tmp_path: Path) -> None:
    """It is dropped after tail_send_s, holds a bounded part of the record, disturbs nobody, and goes on by its id."""
    async with serving(tmp_path, tail_send_s=0.5) as served:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            slow.connect(("127.0.0.1", served.http_port))
            slow.sendall(b"GET /v1/tail HTTP/1.1\r\nhost: localhost\r\n\r\n")
            head = await asyncio.to_thread(slow.recv, 4096)
            assert head.startswith(b"HTTP/1.1 200")
            async with following(served.http) as stream:
                records = [make_record(f"e{number}", text="x" * 500_000) for number in range(40)]
                for record in records:
                    await served.store.append([record])
                # Appended behind the pipeline's back, so that the net of slow polls is what finds them.
                assert await stream.ids(40) == [record.event_id for record in records]
                await _until(lambda: served.metric("chaukas_tail_drops_total") == 1)
        async with following(served.http, f"?since={stream.last_id}") as again:
            await _post(served, "after")
            assert await again.ids(1) == ["after"]


async def test_a_client_that_leaves_with_a_request_behind_it_is_let_go(tmp_path: Path) -> None:
    """A further request on the connection of a tail does not hide that its client has gone."""
    async with serving(tmp_path, tail_heartbeat_s=0.1) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.http_port)
        writer.write(b"GET /v1/tail HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /v1/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        # The answer to the heartbeats goes on: the second request has been read by the next ones.
        await reader.readuntil(b": waiting")
        await reader.readuntil(b": waiting")
        writer.close()
        await _until(lambda: served.metric("chaukas_requests_in_flight", transport="http") == 0)


async def test_a_stop_sends_clients_home(tmp_path: Path) -> None:
    """A server that stops ends quiet tails cleanly, does not wait for one that hangs, and the last id goes on afterwards."""
    async with serving(tmp_path, drain_s=20.0) as served:
        await served.store.append([make_record(f"big-{number}", text="x" * 500_000) for number in range(40)])
        with socket.socket() as hanging:
            hanging.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            hanging.connect(("127.0.0.1", served.http_port))
            hanging.sendall(b"GET /v1/tail?recent=40 HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await asyncio.to_thread(hanging.recv, 4096)
            async with following(served.http) as stream:
                await _post(served, "e")
                assert await stream.ids(1) == ["e"]
                began = time.monotonic()
                await served.app.stop()
                # The last chunk came: httpx raises on a stream that is cut off.
                assert await stream.event() is None
                assert time.monotonic() - began < 15


async def test_a_tail_survives_a_kill(tmp_path: Path) -> None:
    """After kill -9 and a new start the last id goes on: together the connections saw every acknowledged event exactly once."""
    seen: list[str] = []
    acknowledged: list[str] = []
    with running_server(tmp_path) as server:
        last_id = ""
        for life in range(3):
            async with (
                httpx.AsyncClient(base_url=server.http_url, timeout=30, trust_env=False) as client,
                following(client, last_id=last_id) as stream,
            ):
                for number in range(10):
                    event = make_event(f"{life}-{number}", project_id=f"p{number % 4}")
                    answer = await client.post("/v1/events/batch", content=batch_body(event), headers=PROTOBUF)
                    assert answer.status_code == 202
                    acknowledged.append(event.event_id)
                # Some of this life's events are left for the next one.
                seen += await stream.ids(len(acknowledged) - len(seen) - 4)
                last_id = stream.last_id
                server.kill()
            server.start()
        async with (
            httpx.AsyncClient(base_url=server.http_url, timeout=30, trust_env=False) as client,
            following(client, last_id=last_id) as stream,
        ):
            seen += await stream.ids(4)
    assert seen == acknowledged


async def test_curl_follows(tmp_path: Path) -> None:
    """The documented command works: curl prints blocks as they come."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl")
    async with serving(tmp_path) as served:
        await _post(served, "stored")
        process = await asyncio.create_subprocess_exec(
            curl, "-sN", f"http://127.0.0.1:{served.http_port}/v1/tail?tenant_id=acme&recent=10", stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            read = b""
            while b'"stored"' not in read or read.count(b"\n\n") < 2:
                read += await asyncio.wait_for(process.stdout.read(4096), 20)
            await _post(served, "new")
            while b'"new"' not in read or not read.endswith(b"\n\n"):
                read += await asyncio.wait_for(process.stdout.read(4096), 20)
        finally:
            process.kill()
            await process.wait()
        assert read.startswith(b"retry: 2000\nevent: event\ndata: {")


async def _until(condition, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
