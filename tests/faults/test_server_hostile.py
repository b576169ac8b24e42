"""A real server among clients that send what nobody should: it answers clearly, stays small, and serves the others well."""

from __future__ import annotations

import gzip
import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import psutil
import pytest

from chaukas.server.testing import make_event
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import QueryFilter, QueryRequest
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from tests.acceptance.started_server import StartedServer, running_server
from tests.strategies import batch_body, length_delimited

from .load import all_events, as_sent
from .odd_text import events_with_odd_text
from .record_check import check_record

_MIB = 1024 * 1024
#: What the server may occupy at most, whatever is sent to it: its own 128 MiB for bodies, as much for what is made of them, and
#: the program itself.
_RESIDENT_BYTES_MAX = 400 * _MIB
_PROTOBUF = {"content-type": "application/x-protobuf"}
_JSON = {"content-type": "application/json"}
_SERVER = "/chaukas.spec.server.v1.ChaukasServerService/"
_CLIENT = "/chaukas.spec.client.v1.ChaukasClientService/"
_RPCS = [
    _SERVER + name for name in ("IngestEvent", "IngestEventBatch", "QueryEvents", "GetEventStats", "Healthz", "GetCapabilities")
]
_RPCS += [_CLIENT + name for name in ("IngestEvent", "IngestEventBatch", "QueryEvents")]
_CLEAR_CODES = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
_CLEAR_STATUSES = {200, 202, 400, 405, 409, 413, 415, 422, 503}


@dataclass
class _Neighbour:
    """A client that behaves well all the time, and a look at the server's memory."""

    server: StartedServer
    accepted: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    resident_bytes_max: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send), threading.Thread(target=self._watch)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _send(self) -> None:
        with httpx.Client(base_url=self.server.http_url, timeout=60) as client:
            number = 0
            while not self._stop.wait(0.02):
                event = make_event(f"good-{number}", tenant_id="neighbour")
                answer = client.post(
                    "/v1/events", content=client_pb2.IngestEventRequest(event=event).SerializeToString(), headers=_PROTOBUF
                )
                if answer.status_code != 202 or answer.json()["status"] != "accepted":
                    self.problems.append(answer.text)
                self.accepted.append(event.event_id)
                number += 1

    def _watch(self) -> None:
        assert self.server.process is not None
        process = psutil.Process(self.server.process.pid)
        while not self._stop.wait(0.01):
            self.resident_bytes_max = max(self.resident_bytes_max, process.memory_info().rss)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedServer]:
    """One server for all that follows, with a neighbour; afterwards neither has suffered."""
    directory = tmp_path_factory.mktemp("hostile")
    with running_server(directory) as started:
        neighbour = _Neighbour(started)
        neighbour.start()
        try:
            yield started
        finally:
            neighbour.stop()
        print(f"resident memory reached {neighbour.resident_bytes_max / _MIB:.0f} MiB")
        assert neighbour.problems == []
        assert neighbour.resident_bytes_max < _RESIDENT_BYTES_MAX
        kept = {event.event_id for event in all_events(started, tenant_id="neighbour")}
        assert kept == set(neighbour.accepted)
        assert len(kept) > 20
        with httpx.Client(base_url=started.http_url) as client:
            assert "chaukas_inflight_bytes 0.0" in client.get("/metrics").text
    check_record(directory / "data")


@pytest.fixture
def http(server: StartedServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http_url, timeout=60) as client:
        yield client


@pytest.fixture
def call(server: StartedServer) -> Iterator[Callable[[str, bytes], tuple[grpc.StatusCode, str, bytes]]]:
    """Calls an RPC with bytes; gives the status, its words and the bytes of the answer."""
    with grpc.insecure_channel(server.grpc_target, options=[("grpc.max_send_message_length", -1)]) as channel:

        def call(method: str, request: bytes) -> tuple[grpc.StatusCode, str, bytes]:
            try:
                answer: bytes = channel.unary_unary(method)(request, timeout=60)
            except grpc.RpcError as error:
                return error.code(), error.details() or "", b""
            return grpc.StatusCode.OK, "", answer

        yield call


_Call = Callable[[str, bytes], tuple[grpc.StatusCode, str, bytes]]


def _assert_clear(answer: httpx.Response) -> None:
    """An answer that a person understands: a status of the contract; errors as problems with a title and a request id."""
    assert answer.status_code in _CLEAR_STATUSES, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith("application/problem+json")
        problem = answer.json()
        assert problem["title"]
        assert problem["status"] == answer.status_code


def _malformed(chance: random.Random, count: int) -> Iterator[bytes]:
    """Bytes from nowhere, and requests with a few bytes changed, missing or added."""
    batch = EventBatch(batch_id="b", events=[make_event(f"m-{number}", tags=["a"], text="x" * 50) for number in range(3)])
    whole = [
        server_pb2.IngestEventBatchRequest(event_batch=batch).SerializeToString(),
        server_pb2.IngestEventRequest(event=batch.events[0]).SerializeToString(),
        server_pb2.QueryEventsRequest(query=QueryRequest(filter=QueryFilter(session_id="s"), page_size=7)).SerializeToString(),
    ]
    for number in range(count):
        if number % 3 == 0:
            yield chance.randbytes(chance.randrange(300))
            continue
        changed = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(changed)) if changed else 0
            match chance.randrange(4):
                case 0:
                    changed[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    del changed[at:]
                case 2:
                    changed[at:at] = chance.randbytes(chance.randrange(1, 12))
                case _:
                    # A length or number of ten bytes, as large as they get.
                    changed[at:at] = b"\xff" * 9 + b"\x01"
        yield bytes(changed)


def test_malformed_protobuf(http: httpx.Client, call: _Call) -> None:
    """Bytes that are no request, or almost one, are refused or quarantined in clear words by every route and RPC."""
    chance = random.Random(11)
    for body in _malformed(chance, 150):
        for path in ("/v1/events", "/v1/events/batch", "/v1/query", "/events"):
            _assert_clear(http.post(path, content=body, headers=_PROTOBUF))
    for body in _malformed(chance, 150):
        for method in _RPCS:
            code, words, _ = call(method, body)
            assert code in _CLEAR_CODES, (method, body, code, words)
            assert words or code is grpc.StatusCode.OK


_ODD_VALUES: list[Any] = [None, True, 0, -1, 1.5, 10**400, "x", "", [], {}, [[]], {"a": 1}, [None], "\ud800", "NaN", ["x", 1]]
_FIELDS = [each.name for each in Event.DESCRIPTOR.fields] + ["content", "tool_call", "extensions", "nobody_knows_this"]


def test_wrong_types_in_json(http: httpx.Client) -> None:
    """Whatever stands in whatever field of a JSON event, the answer names what is wrong, or the event is stored."""
    good = {"event_id": "j", "tenant_id": "acme", "type": "SYSTEM", "status": "COMPLETED", "timestamp": "2026-01-01T00:00:00Z"}
    for name in _FIELDS:
        events = [{**good, "event_id": f"j-{name}-{number}", name: value} for number, value in enumerate(_ODD_VALUES)]
        for event in events[::5]:
            _assert_clear(http.post("/v1/events", content=json.dumps(event).encode(), headers=_JSON))
        answer = http.post("/v1/events/batch", content=json.dumps({"events": events}).encode(), headers=_JSON)
        _assert_clear(answer)
        assert answer.status_code == 202, "one bad event fails no batch"
        assert len(answer.json()["results"]) == len(events)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"nonsense",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"event_id": "\xff"}',
        b'{"event_id": "a", "event_id": "b"}',
        b'{"events": {}}',
        b'{"events": [1, null, [], "x"]}',
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"[" * 200_000,
        b'{"x": ' + b"9" * 100_000 + b"}",
        b'{"x": 1e999999999}',
        b'{"x": NaN}',
        b'{"x": "\\ud800\\ud800"}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_malformed_json(http: httpx.Client, body: bytes) -> None:
    """Text that is no JSON, or no JSON that we read, is refused in clear words by every route, however deep it is nested."""
    for path in ("/v1/events", "/v1/events/batch", "/v1/query"):
        _assert_clear(http.post(path, content=body, headers=_JSON))


@pytest.mark.parametrize("depth", [33, 99, 3_000, 10_000])
def test_deep_nesting_costs_only_itself(http: httpx.Client, call: _Call, depth: int) -> None:
    """An event that is nested too deeply is quarantined; the others of its batch are stored."""
    for send, prefix in ((_by_http, "h"), (_by_grpc, "g")):
        names = [f"{prefix}-{depth}-before", f"{prefix}-{depth}-after"]
        before, after = (make_event(name, tenant_id="deep").SerializeToString() for name in names)
        assert send(http, call, [before, _nested(depth), after]) == [True, False, True]


def _nested(depth: int) -> bytes:
    """A serialised event with a Struct that many levels deep, without protobuf's help, which would refuse to write it."""
    value = b""
    for _ in range(depth):
        # Value.struct_value of a Struct with one field whose value is the one before.
        value = length_delimited(5, length_delimited(1, length_delimited(1, b"k") + length_delimited(2, value)))
    metadata = length_delimited(90, length_delimited(1, length_delimited(2, value)))
    return make_event(f"deep-{depth}", tenant_id="deep").SerializeToString() + metadata


def _by_http(http: httpx.Client, _: _Call, events: list[bytes]) -> list[bool]:
    answer = http.post("/v1/events/batch", content=batch_body(events), headers=_PROTOBUF)
    assert answer.status_code == 202, answer.text
    return [result["status"] == "accepted" for result in answer.json()["results"]]


def _by_grpc(_: httpx.Client, call: _Call, events: list[bytes]) -> list[bool]:
    code, words, answer = call(_SERVER + "IngestEventBatch", batch_body(events))
    assert code is grpc.StatusCode.OK, words
    counted = server_pb2.IngestEventBatchResponse.FromString(answer)
    assert (counted.accepted_count, counted.rejected_count) == (2, 1)
    return [True, False, True]


@pytest.mark.parametrize("how", ["announced", "in chunks", "gzip", "JSON", "gRPC"])
def test_a_hundred_megabytes(http: httpx.Client, call: _Call, how: str) -> None:
    """A body of 100 MB is refused without being held in memory, in the words on which the SDK sends halves."""
    part = bytes(_MIB)
    if how == "gRPC":
        code, words, _ = call(_SERVER + "IngestEventBatch", bytes(100 * _MIB))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert words
        return
    headers = dict(_JSON if how == "JSON" else _PROTOBUF)
    content: Any = (part for _ in range(100))
    if how in ("announced", "JSON"):
        headers["content-length"] = str(100 * _MIB)
    elif how == "gzip":
        headers["content-encoding"] = "gzip"
        content = gzip.compress(bytes(100 * _MIB), 1)
    try:
        answer = http.post("/v1/events/batch", content=content, headers=headers)
    except (httpx.WriteError, httpx.ReadError):
        # The server hung up on us while we were still sending: that is an answer too, and the only one some systems deliver.
        assert how in ("announced", "in chunks", "JSON")
        return
    assert answer.status_code == (413 if how == "JSON" else 503)
    assert how == "JSON" or "high memory usage" in answer.text


def test_large_requests_at_once(server: StartedServer) -> None:
    """Many clients that send tens of megabytes at the same time are served one after another or told to come again."""
    events = [make_event(f"large-{number}", tenant_id="large", text="x" * 900_000) for number in range(40)]
    body = client_pb2.IngestEventBatchRequest(event_batch=EventBatch(events=events)).SerializeToString()
    statuses: list[int] = []

    def send() -> None:
        with httpx.Client(base_url=server.http_url, timeout=120) as client:
            statuses.append(client.post("/v1/events/batch", content=body, headers=_PROTOBUF).status_code)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(statuses) <= {202, 503}
    assert 202 in statuses
    assert len(all_events(server, tenant_id="large")) == 40


def test_invalid_utf8_is_quarantined(http: httpx.Client, call: _Call) -> None:
    """A text that is no UTF-8 costs only its own event, wherever in the event it stands."""
    for number, name in enumerate(("tenant_id", "session_id", "agent_name", "tags")):
        event = make_event(f"utf8-{number}", tenant_id="utf8", tags=["MARKER"] if name == "tags" else [])
        if name != "tags":
            setattr(event, name, "MARKER")
        for transport, send in (("h", _by_http), ("g", _by_grpc)):
            bad = event.SerializeToString().replace(b"MARKER", b"MA\xff\xc0" + transport.encode() + b"R")
            names = [f"utf8-{number}-{transport}-{place}" for place in "ab"]
            good = [make_event(each, tenant_id="utf8").SerializeToString() for each in names]
            assert send(http, call, [good[0], bad, good[1]]) == [True, False, True]


def test_every_odd_code_point_in_every_text_field(server: StartedServer, http: httpx.Client, call: _Call) -> None:
    """Any text that protobuf can carry is stored, found by filters, and answered to the byte by gRPC and as valid JSON."""
    events = list(events_with_odd_text())
    for at in range(0, len(events), 100):
        request = server_pb2.IngestEventBatchRequest(event_batch=EventBatch(events=events[at : at + 100]))
        if at % 200:
            code, words, answer = call(_SERVER + "IngestEventBatch", request.SerializeToString())
            assert code is grpc.StatusCode.OK, words
            assert server_pb2.IngestEventBatchResponse.FromString(answer).rejected_count == 0
        else:
            response = http.post("/v1/events/batch", content=request.SerializeToString(), headers=_PROTOBUF)
            assert {result["status"] for result in response.json()["results"]} == {"accepted"}
    sent = {(event.tenant_id, event.project_id, event.event_id): as_sent(event) for event in events}
    found = {(event.tenant_id, event.project_id, event.event_id): as_sent(event) for event in all_events(server)}
    assert {key: found.get(key) for key in sent} == sent
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
        for event in events[::17]:
            wanted = QueryFilter(
                tenant_id=event.tenant_id, project_id=event.project_id, session_id=event.session_id,
                agent_id=event.agent_id, trace_id=event.trace_id, span_id=event.span_id, tags=event.tags,
            )  # fmt: skip
            answer = stub.QueryEvents(server_pb2.QueryEventsRequest(query=QueryRequest(filter=wanted))).response
            assert event.event_id in {each.event_id for each in answer.events}
            asked = {"filter": {"tenant_id": event.tenant_id, "session_id": event.session_id}}
            in_json = http.post("/v1/query", content=json.dumps(asked).encode(), headers=_JSON)
            assert in_json.status_code == 200, in_json.text
            assert event.event_id in {each["event_id"] for each in json.loads(in_json.content)["events"]}


_ENDS = [(-62_135_596_800, 0), (-62_135_596_800, 1), (-1, 999_999_999), (0, 0), (253_402_300_799, 999_999_999)]
_BEYOND = [(-62_135_596_801, 999_999_999), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (-(1 << 63), 0), ((1 << 63) - 1, 0)]


def _at(seconds: int, nanos: int, name: str) -> Event:
    event = Event(event_id=name, tenant_id="times", session_id=f"session-{name[0]}", type=1)
    event.timestamp.seconds, event.timestamp.nanos = seconds, nanos
    return event


def test_timestamps_at_the_ends_of_their_range(server: StartedServer, http: httpx.Client, call: _Call) -> None:
    """The first and the last moment are stored, ordered and counted; the moments beyond them are refused with their field."""
    for number, (seconds, nanos) in enumerate(_ENDS):
        code, words, _ = call(
            _SERVER + "IngestEvent", server_pb2.IngestEventRequest(event=_at(seconds, nanos, f"g{number}")).SerializeToString()
        )
        assert code is grpc.StatusCode.OK, words
        body = client_pb2.IngestEventRequest(event=_at(seconds, nanos, f"h{number}")).SerializeToString()
        assert http.post("/v1/events", content=body, headers=_PROTOBUF).json()["status"] == "accepted"
    for number, (seconds, nanos) in enumerate(_BEYOND):
        request = server_pb2.IngestEventRequest(event=_at(seconds, nanos, f"x{number}")).SerializeToString()
        code, words, _ = call(_SERVER + "IngestEvent", request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "timestamp" in words
        answer = http.post("/v1/events", content=request, headers=_PROTOBUF)
        assert (answer.status_code, answer.json()["status"]) == (202, "quarantined")
    for number, text in enumerate(("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z")):
        event = {"event_id": f"j{number}", "tenant_id": "times", "type": "SYSTEM", "session_id": "session-j", "timestamp": text}
        assert http.post("/v1/events", json={**event, "status": "COMPLETED"}).status_code == 202
    for text in ("10000-01-01T00:00:00Z", "0000-12-31T23:59:59Z", "yesterday", "2026-13-01T00:00:00Z", 5, []):
        answer = http.post("/v1/events", json={"event_id": "x", "tenant_id": "times", "type": "SYSTEM", "timestamp": text})
        assert answer.status_code == 422
        assert "timestamp" in answer.text
    stored = all_events(server, tenant_id="times")
    moments = [(event.timestamp.seconds, event.timestamp.nanos) for event in stored]
    assert moments == sorted(moments)
    assert len(stored) == 2 * len(_ENDS) + 2
    with grpc.insecure_channel(server.grpc_target) as channel:
        stats = server_pb2_grpc.ChaukasServerServiceStub(channel).GetEventStats(
            server_pb2.GetEventStatsRequest(tenant_id="times")
        )
    assert (stats.total_events, stats.total_sessions) == (12, 3)
    assert stats.avg_session_duration_ms == pytest.approx(315_537_897_599_999.999, rel=1e-9)
