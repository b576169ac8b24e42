"""Changed requests against a real server: bodies, query parameters, raw bytes of HTTP. No 5xx, no hang, alive in the end."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import random
import socket
import time
from urllib.parse import quote_from_bytes

from campaign.mutation import corpus, mutated
from campaign.outcome import Stage
from tests.acceptance.started_server import StartedServer, running_server

__all__ = ["fuzz_over_http"]

_TIMEOUT_S = 20.0
_BODIES = {
    "batch": ("/v1/events/batch", "application/x-protobuf"),
    "single": ("/v1/events", "application/x-protobuf"),
    "json_event": ("/v1/events", "application/json"),
    "json_batch": ("/v1/events/batch", "application/json"),
    "query_json": ("/v1/query", "application/json"),
    "query_protobuf": ("/v1/query", "application/x-protobuf"),
}
_GETS = ("/v1/stats", "/v1/events", "/v1/quarantine", "/v1/quarantine/item", "/v1/capabilities", "/metrics", "/v1/healthz")
_NAMES = (
    "tenant_id", "project_id", "session_id", "agent_id", "span_id", "trace_id", "types", "type", "statuses",
    "severities", "tags", "tag",
    "text_query", "recent", "start", "end", "limit", "after", "id", "page_size", "page_token", "order_by_time",
    "include_total", "nobody_knows",
)  # fmt: skip
_VALUES = (
    b"",
    b"1",
    b"-1",
    b"99999999999999999999",
    b"acme",
    b"ERROR",
    b"2026-01-01T00:00:00Z",
    b"9999-12-31T23:59:60Z",
    b"\xff\xfe",
    b"%",
    b"NaN",
    b"\x00",
    "東京".encode(),
)
_ACCEPTS = ("", "application/json", "application/x-protobuf", "*/*;q=0", "application/*;q=abc", ",,;", "text/html")


def fuzz_over_http(stage: Stage) -> None:
    """The plan's number of requests: two thirds bodies, the rest parameters and raw bytes."""
    with running_server(stage.directory / "http") as server:
        walk = _Walk(stage, server)
        for number in range(stage.plan.fuzz_http_inputs):
            (walk.body, walk.body, walk.parameters, walk.body, walk.body, walk.raw)[number % 6]()
        walk.close()
        answers = ", ".join(f"{status} {count:,} times" for status, count in sorted(walk.statuses.items()))
        stage.bounded("requests over HTTP", f"{stage.plan.fuzz_http_inputs:,}", "none with 5xx", met=walk.wrong == 0)
        stage.bounded("… slowest", f"{walk.slowest_s * 1_000:.0f} ms", f"≤ {_TIMEOUT_S:.0f} s", met=walk.slowest_s <= _TIMEOUT_S)
        stage.figure("… answers by status", answers)


class _Walk:
    """One client, one request after the other."""

    def __init__(self, stage: Stage, server: StartedServer) -> None:
        self._stage, self._server = stage, server
        self._chance = random.Random(f"{stage.seed}-http")
        self._connection = self._connect()
        self.statuses: dict[int, int] = {}
        self.wrong = 0
        self.slowest_s = 0.0

    def close(self) -> None:
        self._connection.close()

    def body(self) -> None:
        """A changed body with the media type that belongs to it; sometimes another one, sometimes compressed."""
        chance = self._chance
        name = chance.choice(list(_BODIES))
        path, media_type = _BODIES[name]
        content = mutated(name, chance) if chance.random() < 0.95 else chance.choice(corpus(name))
        headers = {
            "Content-Type": media_type if chance.random() < 0.95 else chance.choice((*_ACCEPTS, "application/json; charset=x"))
        }
        if chance.random() < 0.2:
            headers["Accept"] = chance.choice(_ACCEPTS)
        if chance.random() < 0.1:
            content, headers["Content-Encoding"] = gzip.compress(content, 1), "gzip"
            if chance.random() < 0.5:
                content = content[: chance.randrange(len(content))] + chance.randbytes(3)
        self._send("POST", path, content, headers)

    def parameters(self) -> None:
        """Any names with any values."""
        chance = self._chance
        names = [chance.choice(_NAMES) for _ in range(chance.randrange(4))]
        given = "&".join(f"{name}={quote_from_bytes(chance.choice((*_VALUES, chance.randbytes(5))))}" for name in names)
        method = chance.choice(("GET", "GET", "GET", "HEAD", "POST", "DELETE"))
        path = chance.choice(_GETS) if method != "POST" else "/v1/quarantine/resubmit"
        self._send(method, f"{path}?{given}", b"", {"Accept": chance.choice(_ACCEPTS)})

    def raw(self) -> None:
        """Changed bytes of a whole request on a connection of its own. It may be closed without an answer."""
        chance = self._chance
        whole = (
            b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            b"POST /v1/query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        changed = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(changed))
            changed[at : at + chance.randrange(3)] = chance.choice(
                (b"\r\n", b"\x00", b":", b" ", b"-1", b"\xff", b"chunked", chance.randbytes(2))
            )
        began = time.perf_counter()
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", self._server.http_port), _TIMEOUT_S) as connection,
        ):
            connection.sendall(changed)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65_536):
                answer += part
            for line in answer.split(b"\r\n"):
                if line.startswith(b"HTTP/1.1 "):
                    self._count(int(line[9:12]), answer, bytes(changed))
        self.slowest_s = max(self.slowest_s, time.perf_counter() - began)

    def _send(self, method: str, path: str, content: bytes, headers: dict[str, str]) -> None:
        began = time.perf_counter()
        try:
            self._connection.request(method, path, content, headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.wrong += 1
            self._stage.problem(f"{method} {path}: {error!r} on {content.hex()[:4_000]}")
            self._connection.close()
            self._connection = self._connect()
            return
        self.slowest_s = max(self.slowest_s, time.perf_counter() - began)
        self._count(answer.status, text, f"{method} {path} {headers} ".encode() + content.hex().encode())

    def _count(self, status: int, answer: bytes, request: bytes) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status >= 500:
            self.wrong += 1
            if self.wrong <= 10:
                self._stage.problem(f"HTTP {status}: {answer[:300]!r} to {request[:4_000]!r}")

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._server.http_port, timeout=_TIMEOUT_S)
