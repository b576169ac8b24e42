from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from chaukas.server.errors import OverloadedError, StorageError
from chaukas.server.testing.records import make_event
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchResponse, IngestEventResponse
from tests.acceptance.serving import JSON, PROTOBUF, batch_body, nested_too_deep, serving, single_body

pytestmark = pytest.mark.anyio

_EVENT = {
    "event_id": "j1",
    "type": "SESSION_START",
    "status": "STARTED",
    "timestamp": "2026-01-31T12:00:00Z",
    "session_id": "s",
    "tenant_id": "acme",
    "project_id": "shop",
}


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("media_type", ["application/x-protobuf", "application/protobuf", "application/octet-stream"])
async def test_protobuf_is_taken_with_and_without_v1(tmp_path: Path, prefix: str, media_type: str) -> None:
    """The SDK's posts arrive whichever endpoint its user configured, in the message of the client package."""
    request = client_pb2.IngestEventRequest(event=make_event("a"))
    async with serving(tmp_path) as served:
        headers = {"content-type": media_type, "authorization": "Bearer some-key"}
        answer = await served.http.post(f"{prefix}/events", content=request.SerializeToString(), headers=headers)
        assert answer.status_code == 202
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert body.pop("processed_at") > 1_700_000_000_000
        assert body == {"event_id": "a", "status": "accepted", "worm_proof_id": "chaukas.localhost/events/acme/shop#0"}


async def test_every_event_of_a_batch_has_its_result(tmp_path: Path) -> None:
    """A protobuf batch is 202 whatever is in it, with one result per event, in JSON or in protobuf as the caller likes."""
    body = batch_body(make_event("a"), make_event("a"), make_event("a", text="other"), Event(event_id="bad"))
    async with serving(tmp_path) as served:
        answer = await served.http.post("/v1/events/batch", content=body, headers=PROTOBUF)
        assert answer.status_code == 202
        told = answer.json()
        assert (told["batch_id"], told["accepted_count"], told["rejected_count"]) == ("batch-1", 2, 2)
        assert told["rejected_event_ids"] == ["a", "bad"]
        assert [result["status"] for result in told["results"]] == ["accepted", "duplicate", "rejected", "quarantined"]
        assert "tenant_id" in told["results"][3]["reason"]
        accept = {**PROTOBUF, "accept": "application/x-protobuf"}
        answer = await served.http.post("/v1/events/batch", content=body, headers=accept)
        assert answer.headers["content-type"] == "application/x-protobuf"
        message = IngestEventBatchResponse.FromString(answer.content)
        assert [result.status for result in message.results] == ["duplicate", "duplicate", "rejected", "quarantined"]
        assert message.results[0].worm_proof_id == "chaukas.localhost/events/acme/shop#0"
        answer = await served.http.post("/v1/events", content=single_body(make_event("a")), headers=accept)
        single = IngestEventResponse.FromString(answer.content)
        assert (single.status, single.worm_proof_id) == ("duplicate", "chaukas.localhost/events/acme/shop#0")
        assert served.metric("chaukas_events_total", transport="http", outcome="accepted") == 1


async def test_protobuf_callers_never_get_4xx_for_an_event(tmp_path: Path) -> None:
    """An SDK that is told 4xx sends the same again for ever: a bad event is kept, and the caller hears 202."""
    async with serving(tmp_path) as served:
        for body in (single_body(Event(event_id="bad")), single_body(nested_too_deep(make_event("deep")))):
            answer = await served.http.post("/v1/events", content=body, headers=PROTOBUF)
            assert (answer.status_code, answer.json()["status"]) == (202, "quarantined")
            kept = await served.http.get("/v1/quarantine/item", params={"id": answer.json()["quarantine_id"]})
            assert kept.status_code == 200


async def test_an_event_nested_too_deeply_costs_only_itself(tmp_path: Path) -> None:
    """The request does not parse as a whole; the good events in it are stored all the same."""
    body = batch_body(make_event("a"), nested_too_deep(make_event("deep")), make_event("b"))
    async with serving(tmp_path) as served:
        told = (await served.http.post("/v1/events/batch", content=body, headers=PROTOBUF)).json()
        assert [result["status"] for result in told["results"]] == ["accepted", "quarantined", "accepted"]
        found = (await served.http.post("/v1/query", json={})).json()
        assert {event["event_id"] for event in found["events"]} == {"a", "b"}


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch"])
@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff\xff", b"not protobuf at all"])
async def test_400_only_where_no_event_can_be_found(tmp_path: Path, path: str, body: bytes) -> None:
    """There is nothing to keep: the caller is told, as a problem with a request id."""
    async with serving(tmp_path) as served:
        answer = await served.http.post(path, content=body, headers=PROTOBUF)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == 400
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert problem["detail"]
        assert problem["retryable"] is False


async def test_both_json_forms_are_taken(tmp_path: Path) -> None:
    """The public form and protobuf's own say the same."""
    protobuf_form = {**_EVENT, "event_id": "j2", "type": "EVENT_TYPE_SESSION_START", "status": "EVENT_STATUS_STARTED"}
    async with serving(tmp_path) as served:
        assert (await served.http.post("/v1/events", json=_EVENT)).status_code == 202
        assert (await served.http.post("/events", json={"event": protobuf_form})).status_code == 202
        batch = {"batch_id": "b", "events": [_EVENT, {**_EVENT, "event_id": "j3"}]}
        told = (await served.http.post("/v1/events/batch", json=batch)).json()
        assert [result["status"] for result in told["results"]] == ["duplicate", "accepted"]
        assert told["batch_id"] == "b"
        found = (await served.http.post("/v1/query", json={})).json()["events"]
        assert {event["event_id"] for event in found} == {"j1", "j2", "j3"}
        assert {event["type"] for event in found} == {"SESSION_START"}


async def test_a_json_caller_learns_that_its_event_is_invalid_and_where_it_is_kept(tmp_path: Path) -> None:
    """422 with the reasons, and the event is in the quarantine under the id of the answer, byte for byte."""
    broken = json.dumps({**_EVENT, "tenant_id": "", "tags": "no list"}).encode()
    async with serving(tmp_path) as served:
        for body, field in ((broken, "tags"), (json.dumps({**_EVENT, "tenant_id": ""}).encode(), "tenant_id")):
            answer = await served.http.post("/v1/events", content=body, headers=JSON)
            assert answer.status_code == 422
            problem = answer.json()
            assert field in problem["detail"]
            assert (problem["event_id"], problem["retryable"]) == ("j1", False)
            kept = await served.http.get("/v1/quarantine/item", params={"id": problem["quarantine_id"]})
            assert kept.json()["event_id"] == "j1"
        assert served.metric("chaukas_events_total", transport="http", outcome="quarantined") == 2


async def test_a_json_caller_learns_that_an_id_is_taken(tmp_path: Path) -> None:
    """409: the stored event stays as it is, the other one is kept aside."""
    async with serving(tmp_path) as served:
        await served.http.post("/v1/events", json=_EVENT)
        answer = await served.http.post("/v1/events", json={**_EVENT, "session_id": "other"})
        assert answer.status_code == 409
        assert answer.json()["quarantine_id"]
        assert (await served.http.post("/v1/query", json={})).json()["events"][0]["session_id"] == "s"


async def test_one_bad_event_of_a_json_batch_harms_no_other(tmp_path: Path) -> None:
    """A JSON batch is 202 with a result for each event, the unreadable ones included."""
    batch = {"events": [_EVENT, {"event_id": 5}, "no event", {**_EVENT, "event_id": "j4"}]}
    async with serving(tmp_path) as served:
        answer = await served.http.post("/v1/events/batch", json=batch)
        assert answer.status_code == 202
        statuses = [result["status"] for result in answer.json()["results"]]
        assert statuses == ["accepted", "quarantined", "quarantined", "accepted"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]x", b"\xff\xfe", b'{"events": 5}', b"null"])
async def test_text_that_is_no_json_batch_is_refused(tmp_path: Path, body: bytes) -> None:
    """What is wrong as a whole is 400; nothing is stored."""
    async with serving(tmp_path) as served:
        answer = await served.http.post("/v1/events/batch", content=body, headers=JSON)
        assert answer.status_code == 400, answer.text
        assert served.store.log("chaukas.localhost/events/acme/shop") == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {**PROTOBUF, "content-encoding": "br"},
    ],
)
async def test_other_media_types_are_refused_with_415(tmp_path: Path, headers: dict[str, str]) -> None:
    """A body that would be misread is not read."""
    async with serving(tmp_path) as served:
        answer = await served.http.post("/v1/events", content=b"{}", headers=headers)
        assert answer.status_code == 415
        assert answer.headers["content-type"] == "application/problem+json"


async def test_gzip_bodies_are_taken(tmp_path: Path) -> None:
    """Compressed posts mean the same; two gzip files in a row are one body."""
    body = batch_body(make_event("a"), make_event("b"))
    headers = {**PROTOBUF, "content-encoding": "gzip"}
    async with serving(tmp_path) as served:
        packed = gzip.compress(body[:50]) + gzip.compress(body[50:])
        told = (await served.http.post("/v1/events/batch", content=packed, headers=headers)).json()
        assert told["accepted_count"] == 2
        for damaged in (gzip.compress(body)[:-5], b"no gzip at all", gzip.compress(body) + b"rest"):
            answer = await served.http.post("/v1/events/batch", content=damaged, headers=headers)
            assert answer.status_code == 400
            assert "gzip" in answer.json()["detail"]


async def test_a_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    """A small body that expands without end is refused when it reaches the limit, and its memory is given back."""
    async with serving(tmp_path, request_bytes_max=4 << 20, event_bytes_max=1 << 20) as served:
        bomb = gzip.compress(bytes(200 << 20))
        headers = {**PROTOBUF, "content-encoding": "gzip"}
        answer = await served.http.post("/v1/events/batch", content=bomb, headers=headers)
        assert answer.status_code == 503
        assert "high memory usage" in answer.text
        metrics = (await served.http.get("/metrics")).text
        assert "chaukas_inflight_bytes 0.0" in metrics


@pytest.mark.parametrize("announced", [True, False])
async def test_what_is_too_large_is_refused_in_words_that_the_sdk_understands(tmp_path: Path, announced: bool) -> None:
    """503 with "high memory usage" makes the SDK send halves; JSON callers get 413. The next request is served."""

    async def streamed():
        for _ in range(40):
            yield bytes(64 * 1024)

    async with serving(tmp_path, request_bytes_max=1 << 20, event_bytes_max=1 << 19) as served:
        for headers, status in ((PROTOBUF, 503), (JSON, 413)):
            content = bytes(40 * 64 * 1024) if announced else streamed()
            answer = await served.http.post("/v1/events/batch", content=content, headers=headers)
            assert answer.status_code == status
            assert ("high memory usage" in answer.text) is (status == 503)
            assert answer.json()["retryable"] is True
        answer = await served.http.post("/v1/events", content=single_body(make_event("a")), headers=PROTOBUF)
        assert answer.status_code == 202


async def test_too_many_events_are_refused_in_the_same_words(tmp_path: Path) -> None:
    """The limit of a batch works like the limit of a body."""
    async with serving(tmp_path, batch_events_max=2) as served:
        body = batch_body(make_event("a"), make_event("b"), make_event("c"))
        answer = await served.http.post("/v1/events/batch", content=body, headers=PROTOBUF)
        assert answer.status_code == 503
        assert "high memory usage" in answer.text
        answer = await served.http.post("/v1/events/batch", json={"events": [_EVENT] * 3})
        assert answer.status_code == 413


async def test_a_backlog_of_twenty_thousand_events_is_taken_at_once(tmp_path: Path) -> None:
    """An SDK that was cut off for long posts its whole queue; every event has a result, in order."""
    events = [make_event(f"e{index}") for index in range(20_000)]
    async with serving(tmp_path) as served:
        answer = await served.http.post("/v1/events/batch", content=batch_body(*events), headers=PROTOBUF)
        told = answer.json()
        assert (answer.status_code, told["accepted_count"]) == (202, 20_000)
        assert [result["event_id"] for result in told["results"]] == [event.event_id for event in events]


@pytest.mark.parametrize(
    ("failure", "status"), [(OverloadedError("the queue is full"), 503), (StorageError(), 500), (RuntimeError("boom"), 500)]
)
async def test_a_failing_store_is_told_and_nothing_is_acknowledged(tmp_path: Path, failure: Exception, status: int) -> None:
    """Overload is a plain 503 that does not make the SDK split; an unknown failure tells nothing of the inside."""
    async with serving(tmp_path) as served:
        served.store.failure = failure
        for headers, content in ((PROTOBUF, single_body(make_event("a"))), (JSON, json.dumps(_EVENT).encode())):
            answer = await served.http.post("/v1/events", content=content, headers=headers)
            assert answer.status_code == status
            assert "high memory usage" not in answer.text
            assert "boom" not in answer.text
            assert ("retry-after" in answer.headers) is (status == 503)
        served.store.failure = None
        assert (await served.http.post("/v1/events", json=_EVENT)).status_code == 202


async def test_a_full_quarantine_is_a_plain_503_for_those_who_need_it(tmp_path: Path) -> None:
    """Nothing is dropped without a word, and good events are stored all the same."""
    async with serving(tmp_path, quarantine_items_max=1) as served:
        assert (await served.http.post("/v1/events", content=single_body(Event(event_id="x")), headers=PROTOBUF)).is_success
        answer = await served.http.post("/v1/events", content=single_body(Event(event_id="y")), headers=PROTOBUF)
        assert answer.status_code == 503
        assert "high memory usage" not in answer.text
        answer = await served.http.post("/v1/events", content=single_body(make_event("a")), headers=PROTOBUF)
        assert answer.status_code == 202
