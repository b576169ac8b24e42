"""The published stubs, each release in a process of its own, against a started server; and bare HTTP beside them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from chaukas.server.framework.trailers import (
    ACCEPTED_COUNT_KEY,
    QUARANTINE_ID_KEY,
    REASON_KEY,
    REJECTED_COUNT_KEY,
    REJECTED_KEY,
    STATUS_KEY,
)
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchResponse
from tests.acceptance.foreign_clients import published_package
from tests.acceptance.questions import as_sent, event_of_public_json, events_over_grpc, events_over_json, quarantined
from tests.acceptance.started_server import StartedServer, running_server
from tests.compat.published import Published

STUB_PROGRAM = Path(__file__).with_name("stub_program.py")
PACKAGES = [(name, version) for name in ("chaukas-spec-client", "chaukas-spec-server") for version in ("1.0.1", "1.0.5")]
SERVICES = {"chaukas.spec.client.v1.ChaukasClientService", "chaukas.spec.server.v1.ChaukasServerService"}
PROTOBUF = {"content-type": "application/x-protobuf"}

Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedServer]:
    with running_server(tmp_path_factory.mktemp("published_stubs")) as started:
        yield started


@pytest.fixture(scope="module", params=PACKAGES, ids="-".join)
def published(request: pytest.FixtureRequest) -> Published:
    return published_package(*request.param)


@pytest.fixture(scope="module")
def newest_stubs() -> Published:
    return published_package("chaukas-spec-client", "1.0.5")


@pytest.fixture(scope="module")
def tenant(published: Published) -> str:
    """Each release writes into a tenant of its own."""
    return f"{published.name} {published.version}"


@pytest.fixture(scope="module")
def told(published: Published, tenant: str, server: StartedServer) -> Told:
    """What the release's own stub was told, by call."""
    rows = published.run(STUB_PROGRAM, server.grpc_target, "call", tenant)
    return {row["call"]: row for row in rows}


def is_server_package(published: Published) -> bool:
    return published.name == "chaukas-spec-server"


def test_every_rpc_of_the_release_is_called(published: Published, told: Told) -> None:
    """No RPC of a published service is left out of what follows."""
    services = [service for file in published.files for service in file.services_by_name.values()]
    declared = {method.name for service in services for method in service.methods}
    assert declared == {row["rpc"] for row in told.values() if "rpc" in row}


def test_health_and_capabilities(told: Told) -> None:
    """The published messages understand the answers; they tell of nothing that the server lacks."""
    assert (told["health"]["code"], told["health"]["answer"]) == ("OK", {})
    assert told["capabilities"]["code"] == "OK"
    # Of the published fields these are true of this server; what else is true has numbers of our own.
    true = {"audit_proofs", "policy_decisions", "data_access_events"}
    assert told["capabilities"]["answer"] == {"capabilities": dict.fromkeys(true, True)}
    assert told["capabilities"]["unknown_bytes"] > 0


def test_single_events(published: Published, told: Told, tenant: str, server: StartedServer) -> None:
    """Stored, known already, id taken, invalid: the answer or the trailing metadata tells, and only the invalid one fails."""
    statuses = {"good": "accepted", "again": "duplicate", "other content": "rejected"}
    for call, status in statuses.items():
        assert told[call]["code"] == "OK"
        assert told[call]["trailers"].get(STATUS_KEY, "accepted") == status
        answer = told[call]["answer"]
        if is_server_package(published):
            assert (answer["event_id"], answer["status"]) == ("1", status)
            assert int(answer["processed_at"]) > 1_700_000_000_000
        else:
            assert answer == {}
    invalid = told["invalid"]
    assert invalid["code"] == "INVALID_ARGUMENT"
    assert "tenant_id" in invalid["details"]
    assert invalid["trailers"][STATUS_KEY] == "quarantined"
    assert REASON_KEY not in invalid["trailers"]
    taken = told["other content"]["trailers"]
    assert "other content" in base64.b64decode(taken[REASON_KEY]).decode()
    kept = {item["quarantine_id"]: item for item in quarantined(server)}
    assert kept[invalid["trailers"][QUARANTINE_ID_KEY]]["event_id"] == "2"
    assert kept[told["other content"]["trailers"][QUARANTINE_ID_KEY]]["tenant_id"] == tenant


def test_batches(published: Published, told: Told, tenant: str, server: StartedServer) -> None:
    """A batch with an invalid event is OK; what was not stored is in the answer, or in trailing metadata where that is empty."""
    mixed, compressed = told["mixed"], told["compressed"]
    assert mixed["code"] == compressed["code"] == "OK"
    if is_server_package(published):
        expected = {"batch_id": "b 1", "accepted_count": 2, "rejected_count": 1, "rejected_event_ids": ["4"]}
        assert mixed["answer"] == expected
        # The results of each event are an addition that these stubs skip.
        assert mixed["unknown_bytes"] > 0
        assert compressed["answer"] == {"batch_id": "b 2", "accepted_count": 200}
    else:
        assert mixed["answer"] == compressed["answer"] == {}
        assert (mixed["trailers"][ACCEPTED_COUNT_KEY], mixed["trailers"][REJECTED_COUNT_KEY]) == ("2", "1")
        [result] = IngestEventBatchResponse.FromString(base64.b64decode(mixed["trailers"][REJECTED_KEY])).results
        assert (result.event_id, result.status) == ("4", "quarantined")
        assert "tenant_id" in result.reason
        assert REJECTED_KEY not in compressed["trailers"]
    assert told["invalid batch"]["code"] == "INVALID_ARGUMENT"
    stored = events_over_grpc(server, tenant_id=tenant)
    assert sorted(event.event_id for event in stored) == sorted(["1", "3", "5", *(f"many {number}" for number in range(200))])


def test_questions(published: Published, told: Told, tenant: str) -> None:
    """Pages follow one another by their tokens, with the server's integrity fields; a token that is made up is refused."""
    pages = [told[call]["answer"]["response"] for call in ("first page", "second page")]
    assert [len(page["events"]) for page in pages] == [2, 2]
    events = [event for page in pages for event in page["events"]]
    assert len({event["event_id"] for event in events}) == 4
    for event in events:
        assert event["session_id"] == f"{tenant} s"
        assert event["timestamp"] == "2026-01-31T12:00:00.123456789Z"
        assert event["tool_call"]["arguments"] == {"order": 17, "nested": {"list": [1, None, "x"]}}
        assert event["content_hash"]
        assert event["worm_proof_id"]
    assert told["wrong page"]["code"] == "INVALID_ARGUMENT"
    assert "page_token" in told["wrong page"]["details"]
    if is_server_package(published):
        counted = {"total_events": "203", "total_sessions": "1", "events_by_type": {"EVENT_TYPE_TOOL_CALL_START": "203"}}
        assert told["stats"]["answer"] == counted


def test_standard_services(told: Told) -> None:
    """Health checks and reflection answer their own published stubs, so that the usual tools work with this server."""
    row = told["surroundings"]
    assert row["health"] == ["SERVING", "SERVING"]
    assert set(row["services"]) >= {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    files = [FileDescriptorProto.FromString(base64.b64decode(file)) for file in row["files"]]
    declared = {f"{file.package}.{service.name}" for file in files for service in file.service}
    assert row["service"] in declared


@pytest.mark.parametrize("path", ["/v1/events", "/events"])
def test_both_json_forms_are_taken(path: str, newest_stubs: Published, server: StartedServer) -> None:
    """Protobuf's JSON, with either spelling of names, and the public form: each is stored as the event it stands for."""
    tenant = f"json of {path}"
    rows = newest_stubs.run(STUB_PROGRAM, server.grpc_target, "compose", tenant)
    sent = {row["json"].get("event_id") or row["json"]["eventId"]: base64.b64decode(row["sent"]) for row in rows}
    public = {
        "event_id": "public",
        "tenant_id": tenant,
        "project_id": "p",
        "session_id": f"{tenant} s",
        "type": "POLICY_DECISION",
        "status": "COMPLETED",
        "timestamp": "2026-01-31T12:00:00.5+02:00",
        "content": {"kind": "policy_decision", "policy_id": "p1", "outcome": "deny", "rule_ids": ["r1"]},
    }
    with httpx.Client(base_url=server.http_url, timeout=30, trust_env=False) as client:
        for written in (*(row["json"] for row in rows), public):
            answer = client.post(path, json=written)
            assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        together = client.post(f"{path}/batch", json={"batch_id": "b", "events": [*(row["json"] for row in rows), public]})
        assert [result["status"] for result in together.json()["results"]] == ["duplicate"] * 3
    stored = {event.event_id: event for event in events_over_grpc(server, tenant_id=tenant)}
    assert stored.keys() == {"camel", "snake", "public"}
    for event_id, serialised in sent.items():
        assert as_sent(stored[event_id]) == serialised
    expected = event_of_public_json({**public, "timestamp": "2026-01-31T10:00:00.5Z"})
    assert as_sent(stored["public"]) == expected.SerializeToString(deterministic=True)
    answered = {written["event_id"]: event_of_public_json(written) for written in events_over_json(server, tenant_id=tenant)}
    assert {event_id: as_sent(event) for event_id, event in answered.items()} == {
        event_id: as_sent(event) for event_id, event in stored.items()
    }


def test_compressed_bodies_are_taken(newest_stubs: Published, server: StartedServer, recorded_dir: Path) -> None:
    """A gzip body is what it is without gzip, in protobuf and in JSON, for events and for questions."""
    [row, _] = newest_stubs.run(STUB_PROGRAM, server.grpc_target, "compose", "zipped")
    recorded = (recorded_dir / "unicode_large" / "0001.bin").read_bytes()
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    with httpx.Client(base_url=server.http_url, timeout=30, trust_env=False, headers=headers) as client:
        statuses = []
        for _ in range(2):
            answer = client.post("/v1/events/batch", content=gzip.compress(recorded), headers=PROTOBUF).raise_for_status()
            statuses.append({result["status"] for result in answer.json()["results"]})
        assert statuses == [{"accepted"}, {"duplicate"}]
        client.post("/v1/events", content=gzip.compress(json.dumps(row["json"]).encode())).raise_for_status()
        question = gzip.compress(b'{"filter": {"tenant_id": "zipped"}}')
        [found] = client.post("/v1/query", content=question).raise_for_status().json()["events"]
    assert as_sent(event_of_public_json(found)) == base64.b64decode(row["sent"])
