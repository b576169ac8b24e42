"""The examples and the pages for backend builders, run as they are: real processes, real clients, a real PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google.protobuf
import grpc
import pytest

from chaukas.spec.client.v1 import client_pb2 as client
from chaukas.spec.client.v1.client_pb2_grpc import ChaukasClientServiceStub
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch, EventStatus, EventType, Severity
from chaukas.spec.common.v1.query_pb2 import SORT_ORDER_ASC, Capabilities, QueryFilter, QueryRequest, TimeRange
from chaukas.spec.server.v1 import server_pb2 as messages
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceStub

from .postgres import running_postgres

_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 30

# The scripts are no package: they run before anything is installed.
sys.path.insert(0, str(_ROOT / "scripts"))

from fetch_published import fetch_published  # noqa: E402


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own, stopped at the end."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=_TIMEOUT_S)


@contextmanager
def example(name: str, *arguments: str) -> Iterator[str]:
    """The address of a running example, as it prints it."""
    with running(_ROOT / "examples" / name, *arguments, "127.0.0.1:0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), line + process.stdout.read()
        yield line.removeprefix("listening on ").strip()


def make_event(event_id: str, **fields: Any) -> Event:
    """A valid event."""
    return Event(**{"event_id": event_id, "tenant_id": "acme", "type": EventType.EVENT_TYPE_TOOL_CALL_START, **fields})


def at(second: int, **fields: Any) -> Event:
    """A valid event of this second, called after it."""
    event = make_event(f"e{second:03}", **fields)
    event.timestamp.FromSeconds(second)
    return event


class Server:
    """Both services at an address."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = ChaukasServerServiceStub(channel)
        self.client_stub = ChaukasClientServiceStub(channel)

    def send(self, *events: Event) -> list[str]:
        """Send a batch; the statuses of its events."""
        request = messages.IngestEventBatchRequest(event_batch=EventBatch(batch_id="b", events=events))
        return [result.status for result in self.stub.IngestEventBatch(request, timeout=_TIMEOUT_S).results]

    def ids(self, **query: Any) -> list[str]:
        """The ids of all events of a query, over all its pages."""
        found: list[str] = []
        while True:
            page = self.stub.QueryEvents(messages.QueryEventsRequest(query=QueryRequest(**query)), timeout=_TIMEOUT_S).response
            found += [event.event_id for event in page.events]
            assert page.has_more is bool(page.next_page_token)
            if not page.has_more:
                return found
            query["page_token"] = page.next_page_token


def ask_by_published_stub(address: str) -> dict[str, Any]:
    """The answers to the published server package's own stub, in a process that knows nothing of us."""
    packages, dependencies = fetch_published("chaukas-spec-server", "1.0.5"), Path(google.protobuf.__file__).parents[2]
    script = _ROOT / "tests" / "compat" / "published_caller.py"
    command = [sys.executable, "-I", "-S", script, packages, dependencies, address]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return {line["rpc"]: line["answer"] for line in map(json.loads, done.stdout.splitlines())}


def test_quickstart_serves_published_and_own_clients() -> None:
    """The example of the documented way answers all six RPCs, with the fields that the published messages lack."""
    with example("quickstart.py") as address:
        answers = ask_by_published_stub(address)
        assert answers["IngestEvent"]["status"] == "accepted"
        assert answers["IngestEventBatch"] == {"batch_id": "b", "accepted_count": 3}
        assert answers["GetEventStats"] == {"total_events": "4", "events_by_type": {"EVENT_TYPE_ERROR": "4"}}
        with grpc.insecure_channel(address) as channel:
            stub = ChaukasServerServiceStub(channel)
            capabilities = stub.GetCapabilities(messages.GetCapabilitiesRequest()).capabilities
            page = stub.QueryEvents(messages.QueryEventsRequest(query=QueryRequest(session_id="s1"))).response
    assert (capabilities.supports_batch_ingestion, capabilities.max_batch_size) == (True, 1000)
    assert (page.total_count, page.events[0].session_id, page.events[0].HasField("server_timestamp")) == (1, "s1", True)


def documented_quick_start(port: int) -> str:
    """The Quick Start of the published server package, as its documentation has it, with the import that it forgets."""
    (metadata,) = fetch_published("chaukas-spec-server", "1.0.1").glob("*.dist-info/METADATA")
    documentation = metadata.read_text(encoding="utf-8").partition("### Basic Server Implementation")[2]
    block = re.search(r"```python\n(.*?)```", documentation, re.DOTALL)
    assert block is not None
    assert block[1].count("[::]:50051") == 1
    forgotten = "from chaukas.spec.server.v1.server_pb2 import QueryEventsResponse\n"
    return forgotten + block[1].replace("[::]:50051", f"127.0.0.1:{port}")


def test_documented_quick_start_to_the_letter(tmp_path: Path) -> None:
    """The published documentation's own server runs on our package, word for word, but for one import that it forgets."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    script = tmp_path / "documented.py"
    script.write_text(documented_quick_start(port), encoding="utf-8")
    with running(script), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = ChaukasServerServiceStub(channel)
        stub.Healthz(messages.HealthzRequest(), wait_for_ready=True, timeout=_TIMEOUT_S)
        single = stub.IngestEvent(messages.IngestEventRequest(event=make_event("e1")))
        batch = stub.IngestEventBatch(
            messages.IngestEventBatchRequest(event_batch={"events": [make_event("e1"), make_event("e2")]})
        )
        page = stub.QueryEvents(messages.QueryEventsRequest(query=QueryRequest(session_id="s1"))).response
        capabilities = stub.GetCapabilities(messages.GetCapabilitiesRequest()).capabilities
        statistics = stub.GetEventStats(messages.GetEventStatsRequest())
    assert (single.event_id, single.status, single.processed_at > 0) == ("e1", "accepted", True)
    assert (batch.accepted_count, batch.rejected_count) == (2, 0)
    assert (page.events[0].session_id, page.total_count, page.has_more) == ("s1", 1, False)
    assert capabilities == Capabilities(
        supports_batch_ingestion=True, supports_event_querying=True, supports_statistics=True, max_batch_size=1000
    )
    assert (statistics.total_events, statistics.total_sessions) == (1000, 50)


def test_in_memory_example() -> None:
    """The backend of thirty lines keeps events once, answers queries over pages, and serves the client service too."""
    with example("in_memory.py") as address, grpc.insecure_channel(address) as channel:
        server = Server(channel)
        events = [at(second, session_id=f"s{second % 2}", tags=["odd"] * (second % 2)) for second in range(7)]
        assert server.send(*events) == ["accepted"] * 7
        assert server.send(events[0], at(0, session_id="other")) == ["duplicate", "rejected"]
        assert server.ids(page_size=2) == [f"e{second:03}" for second in reversed(range(7))]
        assert server.ids(page_size=3, order_by_time=SORT_ORDER_ASC, session_id="s1") == ["e001", "e003", "e005"]
        assert server.ids(filter=QueryFilter(tags=["odd"], types=[EventType.EVENT_TYPE_TOOL_CALL_START])) == [
            "e005",
            "e003",
            "e001",
        ]
        assert server.ids(filter=QueryFilter(tenant_id="other")) == []
        with pytest.raises(grpc.RpcError) as caught:
            server.ids(filter=QueryFilter(text_query="words"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert server.client_stub.IngestEvent(client.IngestEventRequest(event=at(8))) == client.IngestEventResponse()
        assert server.ids(page_size=100)[0] == "e008"
        capabilities = server.stub.GetCapabilities(messages.GetCapabilitiesRequest()).capabilities
    assert capabilities == Capabilities(supports_batch_ingestion=True, supports_event_querying=True)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A real PostgreSQL."""
    with running_postgres() as server:
        yield server.address


@pytest.fixture
def postgres(database: str) -> Iterator[Server]:
    """The PostgreSQL example, on the database that all of these tests share."""
    with example("postgres_asyncio.py", database) as address, grpc.insecure_channel(address) as channel:
        yield Server(channel)


def test_postgres_example_keeps_events_once(postgres: Server, database: str) -> None:
    """An event is stored once by its id, within a batch too, and is there for the next process."""
    events = [at(second, tenant_id="once") for second in range(5)]
    again = at(0, tenant_id="once", agent_id="another")
    assert postgres.send(*events, events[0], again) == ["accepted"] * 5 + ["duplicate", "rejected"]
    assert postgres.send(*events) == ["duplicate"] * 5
    with example("postgres_asyncio.py", database) as address, grpc.insecure_channel(address) as channel:
        other = Server(channel)
        assert other.send(*events) == ["duplicate"] * 5
        assert other.ids(filter=QueryFilter(tenant_id="once")) == [f"e{second:03}" for second in (4, 3, 2, 1, 0)]


def test_postgres_example_is_idempotent_under_concurrency(postgres: Server) -> None:
    """The same events sent by eight clients at once, in different orders, are each accepted exactly once."""
    events = [at(second, tenant_id="racing") for second in range(40)]
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(postgres.send, *(events if index % 2 else events[::-1])) for index in range(8)]
        statuses = [status for each in sent for status in each.result(_TIMEOUT_S)]
    assert sorted(statuses) == ["accepted"] * 40 + ["duplicate"] * 280
    assert len(postgres.ids(filter=QueryFilter(tenant_id="racing"), page_size=7)) == 40


def test_postgres_example_answers_queries(postgres: Server) -> None:
    """Every filter but text, both orders, stable pages, the count, and the event as it was sent."""
    events = [
        at(
            second,
            tenant_id="asking",
            project_id=f"p{second % 2}",
            session_id=f"s{second // 3}",
            agent_id="a",
            tags=["x", f"t{second}"],
        )
        for second in range(9)
    ]
    events[4].status, events[4].severity = EventStatus.EVENT_STATUS_FAILED, Severity.SEVERITY_ERROR
    events[5].metadata.update({"nested": {"values": [1, None, "部\0"]}})
    events[6].timestamp.nanos = 999
    assert postgres.send(*events) == ["accepted"] * 9
    scope = {"tenant_id": "asking"}

    def ids(**wanted: Any) -> list[int]:
        return [int(event_id[1:]) for event_id in postgres.ids(filter=QueryFilter(**scope, **wanted), page_size=2)]

    assert ids() == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert postgres.ids(filter=QueryFilter(**scope), session_id="s1", order_by_time=SORT_ORDER_ASC) == ["e003", "e004", "e005"]
    assert ids(project_id="p1") == [7, 5, 3, 1]
    assert ids(statuses=[EventStatus.EVENT_STATUS_FAILED]) == [4] == ids(severities=[Severity.SEVERITY_ERROR])
    assert ids(tags=["x", "t3"]) == [3]
    assert ids(types=[EventType.EVENT_TYPE_ERROR]) == []
    assert ids(time=TimeRange(start=events[2].timestamp, end=events[6].timestamp)) == [5, 4, 3, 2]
    assert ids(time=TimeRange(start=events[6].timestamp)) == [8, 7, 6]
    query = QueryRequest(filter=QueryFilter(**scope, session_id="s1"), page_size=1, include_total=True)
    page = postgres.stub.QueryEvents(messages.QueryEventsRequest(query=query)).response
    assert (page.total_count, page.has_more) == (3, True)
    (answered,) = page.events
    assert abs(answered.server_timestamp.seconds - time.time()) < 60
    answered.ClearField("server_timestamp")
    assert answered == events[5]
    for wrong in (QueryRequest(page_token="x"), QueryRequest(filter=QueryFilter(text_query="x"))):  # noqa: S106
        with pytest.raises(grpc.RpcError) as caught:
            postgres.stub.QueryEvents(messages.QueryEventsRequest(query=wrong))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_postgres_example_counts(postgres: Server) -> None:
    """Statistics are exact: a session counts with one event in the range, and its duration is that of the whole session."""
    times = {"s1": (10, 20, 40), "s2": (30, 31), "": (35,)}
    for session_id, seconds in times.items():
        postgres.send(*(at(second, tenant_id="counting", session_id=session_id) for second in seconds))
    whole = postgres.stub.GetEventStats(messages.GetEventStatsRequest(tenant_id="counting"))
    assert (whole.total_events, whole.total_sessions, whole.avg_session_duration_ms) == (6, 2, 15_500)
    assert dict(whole.events_by_type) == {"EVENT_TYPE_TOOL_CALL_START": 6}
    some = TimeRange()
    some.start.FromSeconds(10)
    some.end.FromSeconds(30)
    part = postgres.stub.GetEventStats(messages.GetEventStatsRequest(tenant_id="counting", time_range=some))
    assert (part.total_events, part.total_sessions, part.avg_session_duration_ms) == (2, 1, 30_000)
    nothing = postgres.stub.GetEventStats(messages.GetEventStatsRequest(tenant_id="nobody"))
    assert nothing == messages.GetEventStatsResponse()


def test_postgres_example_refuses_what_it_cannot_store(postgres: Server) -> None:
    """A NUL in an id, which PostgreSQL cannot store, rejects that event alone."""
    assert postgres.send(at(1, tenant_id="odd", agent_id="a\0b"), at(2, tenant_id="odd")) == ["rejected", "accepted"]


def test_postgres_example_serves_published_client(database: str) -> None:
    """The published stub calls every RPC of the example."""
    with example("postgres_asyncio.py", database) as address:
        answers = ask_by_published_stub(address)
    assert answers["IngestEvent"]["status"] == "accepted"
    assert answers["IngestEventBatch"] == {"batch_id": "b", "accepted_count": 3}
    assert answers["GetCapabilities"] == {"capabilities": {}}


def test_postgres_example_acknowledges_nothing_without_its_database() -> None:
    """While the database is gone every call fails with INTERNAL; when it is back the same request works."""
    with (
        running_postgres() as database,
        example("postgres_asyncio.py", database.address) as address,
        grpc.insecure_channel(address) as channel,
    ):
        server = Server(channel)
        assert server.send(at(1)) == ["accepted"]
        database.stop()
        single = messages.IngestEventRequest(event=at(2))
        for call in (
            lambda: server.send(at(1), at(2)),
            lambda: server.stub.IngestEvent(single, timeout=_TIMEOUT_S),
            server.ids,
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, "the database failed")
        database.start()
        assert server.send(at(1), at(2)) == ["duplicate", "accepted"]


def test_page_for_backend_builders_runs(tmp_path: Path) -> None:
    """The code of docs/framework.md runs as it stands, block after block, and what it asserts is true."""
    page = (_ROOT / "docs" / "framework.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == page.count("```") // 2 > 3
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    # What the C core of gRPC logs by itself (a peer that says goodbye) is not of the page.
    quiet = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, env=quiet
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_page_for_backend_builders_is_complete() -> None:
    """Every verb, setting, status and trailer key of the framework stands on its page."""
    from chaukas.server import ChaukasServicer
    from chaukas.server import __all__ as public_names
    from chaukas.server.framework import trailers

    page = (_ROOT / "docs" / "framework.md").read_text(encoding="utf-8")
    rpcs = {"Healthz", "GetCapabilities", "IngestEvent", "IngestEventBatch", "QueryEvents", "GetEventStats"}
    verbs = {name for name in vars(ChaukasServicer) if not name.startswith(("_", "take_", "tell_", "followups"))} - rpcs
    keys = {value for name, value in vars(trailers).items() if name.endswith("_KEY")}
    assert {"store_event", "batch_events_max", "close", "run"} <= verbs
    assert [name for name in sorted({*verbs, *keys, *public_names}) if f"{name}" not in page] == []
