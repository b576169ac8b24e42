"""Our distribution and the published SDK in one environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from chaukas.spec.client.v1.client_pb2 import IngestEventBatchRequest
from chaukas.spec.common.v1.query_pb2 import QueryRequest
from chaukas.spec.server.v1.server_pb2 import QueryEventsRequest
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceStub
from tests.acceptance.started_server import StartedServer, running_server

ORDERS = ("ours-first", "published-first")
PROTOBUF = {"content-type": "application/x-protobuf"}

# What the SDK insists on. Nothing listens there, and nothing is sent.
SDK_SETTINGS = {
    "CHAUKAS_TENANT_ID": "acme",
    "CHAUKAS_PROJECT_ID": "support",
    "CHAUKAS_ENDPOINT": "http://127.0.0.1:9/v1",
    "CHAUKAS_API_KEY": "unused",
}
# What our modules of the common package declare beyond the published ones.
ADDITIONS = {
    "Capabilities.max_batch_size",
    "Capabilities.supports_batch_ingestion",
    "Capabilities.supports_event_querying",
    "Capabilities.supports_statistics",
    "Event.server_timestamp",
    "QueryRequest.include_total",
    "QueryRequest.session_id",
    "QueryResponse.has_more",
    "QueryResponse.total_count",
}


def additions(order: str) -> list[str]:
    """Whoever comes last provides the common modules, so only one of the two orders has our additions in them."""
    return sorted(ADDITIONS) if order == "published-first" else []


def run_probe(python: Path, *arguments: str, **settings: str) -> dict[str, Any]:
    """What the probe saw inside the environment."""
    probe = Path(__file__).with_name("together_probe.py")
    done = subprocess.run(
        [str(python), "-I", str(probe), *arguments],
        env={**SDK_SETTINGS, **settings, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def run_command(python: Path, server: StartedServer, *arguments: str | Path) -> Any:
    """What a command of the environment's own `chaukas` prints as JSON."""
    command = [python.with_name("chaukas"), *arguments, "--server", server.http_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("order", ORDERS)
def test_sdk_and_server_stubs_work_in_one_environment(order: str, make_environment: Callable[[str], Path]) -> None:
    """Whichever is installed last: the SDK builds its events, and a servicer of ours takes them and gives its results."""
    seen = run_probe(make_environment(order), "servicer")
    assert (seen["sdk"], seen["server"], seen["namespace"]) == ("chaukas.sdk", "chaukas.server", True)
    assert seen["tenant_id"] == "acme"
    assert seen["results"] == [[seen["event_id"], "accepted"]]
    assert seen["additions"] == additions(order)


@pytest.mark.parametrize("order", ORDERS)
def test_requirements_agree(order: str, make_environment: Callable[[str], Path]) -> None:
    """What we require leaves room for what the published packages require: pip sees no conflict in either order."""
    command = [sys.executable, "-m", "pip", "--python", str(make_environment(order)), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("order", ORDERS)
def test_ready_server_works_in_one_environment(
    order: str, make_environment: Callable[[str], Path], tmp_path: Path, recorded_dir: Path
) -> None:
    """Whichever is installed last: the environment's server takes what its SDK sends, and answers, also after a restart."""
    python = make_environment(order)
    with running_server(tmp_path, python=python) as server:
        seen = run_probe(python, "server", server.grpc_target, CHAUKAS_ENDPOINT=f"{server.http_url}/v1")
        assert seen["additions"] == additions(order)
        assert (seen["queued"], seen["found_as_sent"]) == (0, True)
        assert seen["sent"] == seen["found_by_client_service"] == seen["total_events"] == 26
        assert seen["results"] == [[True, "duplicate"], [False, "quarantined"]]
        # What this server can do it says only where the message has a field for it.
        published = {"audit_proofs", "policy_decisions", "data_access_events"}
        added = {name.partition(".")[2] for name in additions(order) if name.startswith("Cap")}
        assert seen["capabilities"].keys() == published | added
        imported = recorded_dir / "explicit_api" / "file_mode.jsonl"
        assert run_command(python, server, "import", "--json", imported)["accepted"] == 7
        server.stop()
        server.start()
        assert run_command(python, server, "stats", "--format", "json", "--tenant", "acme")["total_events"] == 33
        ask_with_additions(order, server, seen["session_id"])
        deliver_deep_nesting(server)


def ask_with_additions(order: str, server: StartedServer, session_id: str) -> None:
    """A client of ours may use every addition: the server honours what narrows a question even where it has no such field."""
    query = QueryRequest(session_id=session_id, include_total=True)
    with grpc.insecure_channel(server.grpc_target) as channel:
        found = ChaukasServerServiceStub(channel).QueryEvents(QueryEventsRequest(query=query), timeout=30).response
    assert {event.session_id for event in found.events} == {session_id}
    assert {event.HasField("server_timestamp") for event in found.events} == {order == "published-first"}
    assert found.total_count == (len(found.events) if order == "published-first" else 0)
    asked = {"session_id": session_id, "include_total": True}
    answer = httpx.post(f"{server.http_url}/v1/query", json=asked, timeout=30, trust_env=False).raise_for_status().json()
    assert [event["session_id"] for event in answer["events"]] == [session_id] * len(found.events)
    assert answer["total_count"] == len(found.events)


def deliver_deep_nesting(server: StartedServer) -> None:
    """Cutting a request that does not parse as a whole works with either module too."""
    request = IngestEventBatchRequest()
    for number in range(3):
        request.event_batch.events.add(event_id=f"deep {number}", tenant_id="acme", project_id="deep", session_id="s", type=63)
        request.event_batch.events[number].timestamp.FromJsonString("2026-01-31T12:00:00Z")
    struct = request.event_batch.events[1].metadata
    for _ in range(33):
        struct = struct.get_or_create_struct("a")
    body = request.SerializeToString()
    answer = httpx.post(f"{server.http_url}/v1/events/batch", content=body, headers=PROTOBUF, timeout=30, trust_env=False)
    assert [result["status"] for result in answer.raise_for_status().json()["results"]] == ["accepted", "quarantined", "accepted"]
