"""`chaukas.audit.v1.AuditService` on a real server, called through what its reflection says, and by the generated stubs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from chaukas.audit.v1 import audit_pb2, audit_pb2_grpc
from chaukas.spec.client.v1 import client_pb2, client_pb2_grpc
from chaukas.spec.common.v1.query_pb2 import QueryFilter, QueryRequest
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from chaukas.verify.__main__ import main as verify
from tests.acceptance.log_events import ORIGIN, add_events, log_event
from tests.acceptance.started_server import StartedServer, running_server

_SERVICE = "chaukas.audit.v1.AuditService"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedServer]:
    with running_server(tmp_path_factory.mktemp("audit"), text_index="false") as started:
        with httpx.Client(base_url=started.http_url, trust_env=False) as http:
            add_events(http, 0, 300)
            add_events(http, 7, 8, "other")
        yield started


@pytest.fixture(scope="module")
def channel(server: StartedServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_target, options=(("grpc.enable_http_proxy", 0),)) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> audit_pb2_grpc.AuditServiceStub:
    return audit_pb2_grpc.AuditServiceStub(channel)


def _key(stub: audit_pb2_grpc.AuditServiceStub, origin: str = ORIGIN) -> str:
    return next(log.verifier_key for log in stub.ListLogs(audit_pb2.ListLogsRequest()).logs if log.origin == origin)


def test_the_service_explains_itself(server: StartedServer, channel: grpc.Channel) -> None:
    """Reflection lists the service with all its messages, so that a client without our code can call it; health knows it too."""
    reflected = ProtoReflectionDescriptorDatabase(channel)
    assert _SERVICE in reflected.get_services()
    pool = descriptor_pool.DescriptorPool(reflected)
    service = pool.FindServiceByName(_SERVICE)
    assert [method.name for method in service.methods] == [
        "ListLogs",
        "GetCheckpoint",
        "GetInclusionProof",
        "GetConsistencyProof",
        "GetEvidence",
    ]
    method = service.methods_by_name["ListLogs"]
    call = channel.unary_unary(
        f"/{_SERVICE}/ListLogs",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    answer = call(message_factory.GetMessageClass(method.input_type)(tenant_id="acme"), timeout=10)
    assert [(log.origin, log.size) for log in answer.logs] == [(ORIGIN, 300), ("chaukas.localhost/events/acme/other", 1)]
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(service=_SERVICE)).status == health_pb2.HealthCheckResponse.SERVING
    with httpx.Client(base_url=server.http_url, trust_env=False) as http:
        over_http = http.get("/v1/logs").json()["logs"]
    assert [(log["origin"], log["path"], log["verifier_key"]) for log in over_http] == [
        (log.origin, log.path, log.verifier_key) for log in answer.logs
    ]


def test_evidence_and_proof_convince_the_verifier(stub: audit_pb2_grpc.AuditServiceStub, tmp_path: Path) -> None:
    """What the service answers is what the offline verifier reads, and says the same over gRPC as over HTTP."""
    name = audit_pb2.EntryName(tenant_id="acme", project_id="help desk", event_id="event-7")
    evidence, call = stub.GetEvidence.with_call(audit_pb2.GetEvidenceRequest(entry=name))
    assert "x-chaukas-server-ms" in dict(call.trailing_metadata())
    (tmp_path / "evidence").write_text(evidence.json)
    assert verify(["evidence", str(tmp_path / "evidence"), "--key", _key(stub)]) == 0
    assert (evidence.origin, evidence.index, len(evidence.session_salt)) == (ORIGIN, 7, 16)
    stored = log_event(7)
    stored.timestamp.CopyFrom(type(stored).FromString(evidence.stored).timestamp)
    assert evidence.stored == stored.SerializeToString(deterministic=True)
    assert type(stored).FromString(evidence.stored[: evidence.envelope_bytes]).event_id == "event-7"
    proof = stub.GetInclusionProof(audit_pb2.GetInclusionProofRequest(entry=audit_pb2.EntryName(origin=ORIGIN, index=7)))
    (tmp_path / "proof").write_text(proof.proof)
    (tmp_path / "event").write_bytes(evidence.stored)
    assert verify(["proof", str(tmp_path / "proof"), "--event", str(tmp_path / "event"), "--key", _key(stub)]) == 0
    assert (list(proof.hashes), proof.checkpoint) == (list(evidence.hashes), evidence.checkpoint)
    first = stub.GetInclusionProof(audit_pb2.GetInclusionProofRequest(entry=audit_pb2.EntryName(origin=ORIGIN)))
    assert (first.index, len(first.leaf_hash)) == (0, 32)


def test_heads_of_sizes(stub: audit_pb2_grpc.AuditServiceStub) -> None:
    """A head that was signed can be asked for by its size, with the consistency proof to it."""
    newest = stub.GetCheckpoint(audit_pb2.GetCheckpointRequest(origin=ORIGIN)).checkpoint
    assert newest.split("\n")[:2] == [ORIGIN, "300"]
    assert stub.GetCheckpoint(audit_pb2.GetCheckpointRequest(origin=ORIGIN, size=300)).checkpoint == newest
    proof = stub.GetConsistencyProof(audit_pb2.GetConsistencyProofRequest(origin=ORIGIN, from_size=255))
    assert (proof.from_size, proof.to_size, proof.checkpoint, len(proof.hashes) > 0) == (255, 300, newest, True)
    older = stub.GetConsistencyProof(audit_pb2.GetConsistencyProofRequest(origin=ORIGIN, from_size=0, to_size=299))
    assert (older.to_size, older.checkpoint, list(older.hashes)) == (299, "", [])


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        (audit_pb2.EntryName(event_id="event-7"), "INVALID_ARGUMENT", "acme/other#0"),
        (audit_pb2.EntryName(event_id="nobody"), "NOT_FOUND", "nobody"),
        (audit_pb2.EntryName(origin=ORIGIN, index=300), "NOT_FOUND", "300 entries"),
        (audit_pb2.EntryName(origin="else.where/events/acme"), "NOT_FOUND", "no log"),
        (audit_pb2.EntryName(), "INVALID_ARGUMENT", "event_id"),
        (audit_pb2.EntryName(index=3), "INVALID_ARGUMENT", "index"),
        (audit_pb2.EntryName(origin=ORIGIN, event_id="event-7"), "INVALID_ARGUMENT", "origin"),
    ],
)
def test_refusals(stub: audit_pb2_grpc.AuditServiceStub, entry: audit_pb2.EntryName, code: str, words: str) -> None:
    """A name that means nothing, or several entries, is refused with words that help."""
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetEvidence(audit_pb2.GetEvidenceRequest(entry=entry), timeout=10)
    assert (refused.value.code().name, words in refused.value.details()) == (code, True)


def test_both_packages_name_the_place_of_an_event(channel: grpc.Channel, stub: audit_pb2_grpc.AuditServiceStub) -> None:
    """Ingest answers carry `worm_proof_id`, and it names the entry that is proven; so do answers to queries."""
    server = server_pb2_grpc.ChaukasServerServiceStub(channel)
    answer = server.IngestEvent(server_pb2.IngestEventRequest(event=log_event(0, "proofs")))
    assert answer.worm_proof_id == "chaukas.localhost/events/acme/proofs#0"
    batch = server_pb2.IngestEventBatchRequest()
    batch.event_batch.events.extend([log_event(0, "proofs"), log_event(1, "proofs")])
    results = server.IngestEventBatch(batch).results
    assert [result.worm_proof_id.rpartition("#")[2] for result in results] == ["0", "1"]
    client = client_pb2_grpc.ChaukasClientServiceStub(channel)
    client.IngestEvent(client_pb2.IngestEventRequest(event=log_event(2, "proofs")))
    wanted = QueryRequest(filter=QueryFilter(tenant_id="acme", project_id="proofs"))
    events = server.QueryEvents(server_pb2.QueryEventsRequest(query=wanted)).response.events
    assert sorted(event.worm_proof_id.rpartition("#")[2] for event in events) == ["0", "1", "2"]
    for event in events:
        origin, _, index = event.worm_proof_id.rpartition("#")
        name = audit_pb2.EntryName(origin=origin, index=int(index))
        proven = stub.GetEvidence(audit_pb2.GetEvidenceRequest(entry=name))
        assert type(event).FromString(proven.stored).event_id == event.event_id
