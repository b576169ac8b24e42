from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from chaukas.server.storage.contract import QuarantineItem
from chaukas.server.telemetry import Telemetry
from chaukas.server.testing.records import make_event, make_record
from chaukas.server.transports.http import ROUTES
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import GetEventStatsResponse
from tests.acceptance.serving import JSON, PROTOBUF, serving

pytestmark = pytest.mark.anyio

_DOCUMENTATION = Path(__file__).parents[2] / "docs" / "http.md"
_ACCEPT = {"accept": "application/x-protobuf"}
_SECOND_NS = 1_000_000_000


async def test_every_route_answers_with_and_without_v1(tmp_path: Path) -> None:
    """No route exists under one of its two paths only, and HEAD is GET without a body."""
    async with serving(tmp_path) as served:
        for route in ROUTES:
            for path in {route.path, route.path.removeprefix("/v1")}:
                # A tail has no end, its head has.
                method = "HEAD" if route.path == "/v1/tail" else route.method
                answer = await served.http.request(method, path)
                assert answer.status_code not in (405, 500), (path, answer.text)
                # This store keeps no log, and nobody is a witness here: that is another 404.
                assert "there is no route" not in answer.text, path
                if route.method == "GET":
                    head = await served.http.head(path)
                    assert (head.status_code, head.content) == (answer.status_code, b"")


async def test_wrong_methods_and_paths_are_problems(tmp_path: Path) -> None:
    """405 names the method that is allowed, 404 the place to look; both are problems with a request id."""
    async with serving(tmp_path) as served:
        for method, path, status, allow in (
            ("GET", "/v1/query", 405, "POST"),
            ("DELETE", "/v1/events", 405, "GET, HEAD, POST"),
            ("DELETE", "/v1/events/batch", 405, "POST"),
            ("POST", "/v1/stats", 405, "GET, HEAD"),
            ("HEAD", "/v1/events/batch", 405, "POST"),
            ("GET", "/v2/events", 404, None),
            ("GET", "/v1/events/", 404, None),
            ("POST", "/%2e%2e/etc", 404, None),
        ):
            answer = await served.http.request(method, path)
            assert (answer.status_code, answer.headers.get("allow")) == (status, allow), (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            if method != "HEAD":
                assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert served.metric("chaukas_requests_total", transport="http", route="unknown", method="GET", status="404") == 2


async def test_a_request_id_goes_in_and_comes_out(tmp_path: Path) -> None:
    """The caller's id names the request everywhere; one that could do harm is replaced."""
    async with serving(tmp_path) as served:
        answer = await served.http.get("/healthz", headers={"x-request-id": "trace-42"})
        assert answer.headers["x-request-id"] == "trace-42"
        for odd in ("a b", "x" * 129, 'a"b'):
            answer = await served.http.get("/nothing", headers={"x-request-id": odd})
            assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
            assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_query_is_answered_page_by_page(tmp_path: Path) -> None:
    """JSON and protobuf callers walk the same pages, with token, has_more and total."""
    async with serving(tmp_path) as served:
        await served.store.append([make_record(f"e{index}", at_ns=index * _SECOND_NS) for index in range(5)])
        seen: list[str] = []
        token = ""
        for _ in range(3):
            asked = {"page_size": 2, "page_token": token, "include_total": True, "filter": {"tenant_id": "acme"}}
            answer = await served.http.post("/v1/query", json=asked)
            page = answer.json()
            assert page["total_count"] == 5
            seen += [event["event_id"] for event in page["events"]]
            token = page["next_page_token"]
            assert page["has_more"] is bool(token)
        assert seen == ["e4", "e3", "e2", "e1", "e0"]
        assert not token
        request = QueryRequest(page_size=3)
        answer = await served.http.post("/query", content=request.SerializeToString(), headers={**PROTOBUF, **_ACCEPT})
        response = QueryResponse.FromString(answer.content)
        assert [event.event_id for event in response.events] == ["e4", "e3", "e2"]
        assert response.has_more
        assert response.events[0].worm_proof_id == "chaukas.localhost/events/acme/shop#4"


async def test_a_page_of_a_thousand_is_answered(tmp_path: Path) -> None:
    """The largest page, which is written in a thread, is the same as any other."""
    async with serving(tmp_path) as served:
        await served.store.append([make_record(f"e{index}") for index in range(1001)])
        page = (await served.http.post("/v1/query", json={"page_size": 1000})).json()
        assert len({event["event_id"] for event in page["events"]}) == 1000
        assert page["has_more"] is True


@pytest.mark.parametrize(
    ("content", "headers", "field"),
    [
        (b'{"page_size": 1001}', JSON, "page_size"),
        (b'{"page_token": "forged"}', JSON, "page_token"),
        (b'{"filter": {"text_query": "?!"}}', JSON, "filter.text_query"),
        (b'{"filter": {"sesion_id": "s"}}', JSON, "filter.sesion_id"),
        (b'{"session_id": "a", "filter": {"session_id": "b"}}', JSON, "session_id"),
        (b"\xff\xff", PROTOBUF, "body"),
    ],
)
async def test_a_wrong_query_is_refused_with_the_field(tmp_path: Path, content: bytes, headers, field: str) -> None:
    """The problem names the field, so that a program can point at it."""
    async with serving(tmp_path) as served:
        answer = await served.http.post("/v1/query", content=content, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["violations"][0]["field"] == field


async def test_statistics_are_asked_for_by_query_parameters(tmp_path: Path) -> None:
    """Ids and times travel as parameters; one that is misspelt is refused instead of widening the question."""
    async with serving(tmp_path) as served:
        await served.store.append(
            [make_record("a", at_ns=0), make_record("b", at_ns=10 * _SECOND_NS), make_record("c", tenant_id="a/b ü")]
        )
        told = (await served.http.get("/v1/stats")).json()
        assert (told["total_events"], told["events_by_type"]) == (3, {"EVENT_TYPE_SESSION_START": 3})
        parameters = {"tenant_id": "acme", "start": "1970-01-01T02:00:05+02:00", "end": "1970-01-01T00:00:11Z"}
        told = (await served.http.get("/v1/stats", params=parameters)).json()
        assert (told["total_events"], told["avg_session_duration_ms"]) == (1, 10_000)
        unescaped = "/v1/stats?start=1970-01-01T02:00:05+02:00&tenant_id=acme"
        assert (await served.http.get(unescaped)).json()["total_events"] == 1
        other = await served.http.get("/v1/stats", params={"tenant_id": "a/b ü"}, headers=_ACCEPT)
        assert GetEventStatsResponse.FromString(other.content).total_events == 1
        for wrong in (
            "tenant=acme",
            "start=yesterday",
            "tenant_id=a&tenant_id=b",
            "start=2000-01-01T00:00:00Z&end=1999-01-01T00:00:00Z",
        ):
            answer = await served.http.get(f"/v1/stats?{wrong}")
            assert answer.status_code == 400, wrong
            assert answer.json()["violations"]


async def test_capabilities_health_and_openapi(tmp_path: Path) -> None:
    """What the server says about itself, in both forms; the OpenAPI document has every route under both paths."""
    async with serving(tmp_path, batch_events_max=500) as served:
        told = (await served.http.get("/v1/capabilities")).json()
        assert (told["supports_event_querying"], told["max_batch_size"], told["audit_proofs"]) == (True, 500, False)
        answer = await served.http.get("/capabilities", headers=_ACCEPT)
        assert Capabilities.FromString(answer.content).max_batch_size == 500
        assert (await served.http.get("/v1/healthz")).json() == {"status": "ok"}
        paths = (await served.http.get("/openapi.json")).json()["paths"]
        for route in ROUTES:
            for path in (route.path, route.path.removeprefix("/v1")):
                assert route.method.lower() in paths[path], path


async def test_metrics_tell_of_requests_and_of_the_store(tmp_path: Path) -> None:
    """The scrape has the request just answered, the stored events and nothing that is not documented."""
    async with serving(tmp_path) as served:
        await served.http.post("/v1/events", json={"event_id": "a", "type": "ERROR", "tenant_id": "acme"})
        answer = await served.http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        for line in (
            'chaukas_requests_total{method="POST",route="/v1/events",status="202",transport="http"} 1.0',
            "chaukas_store_events 1.0",
            "chaukas_commit_events_count 1.0",
            "chaukas_ready 1.0",
            'chaukas_requests_in_flight{transport="http"} 1.0',
        ):
            assert line in answer.text, line
        assert served.app.telemetry.metric_names() == Telemetry().metric_names()


async def test_the_quarantine_is_listed_shown_and_emptied(tmp_path: Path) -> None:
    """An operator finds what was kept aside, sees its bytes, mends what is missing, and it becomes an event."""
    event = make_event("e", tenant_id="", project_id="")
    async with serving(tmp_path) as served:
        await served.store.append([QuarantineItem("", "", "e", event.SerializeToString(), ("tenant_id: is required",))])
        listing = (await served.http.get("/v1/quarantine", params={"limit": "1"})).json()
        [item] = listing["items"]
        assert (item["event_id"], item["reasons"], item["count"]) == ("e", ["tenant_id: is required"], 1)
        assert listing["next_after"] == ""
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", item["first_received_at"])
        shown = (await served.http.get("/v1/quarantine/item", params={"id": item["quarantine_id"]})).json()
        assert base64.b64decode(shown["raw"]) == event.SerializeToString()
        parameters = {"id": item["quarantine_id"], "tenant_id": "acme"}
        done = (await served.http.post("/v1/quarantine/resubmit", params=parameters)).json()
        assert (done["removed"], done["result"]["status"]) == (True, "accepted")
        assert (await served.http.get("/v1/quarantine")).json()["items"] == []
        assert (await served.http.get("/v1/quarantine/item", params={"id": item["quarantine_id"]})).status_code == 404
        for wrong in ("/v1/quarantine?limit=x", "/v1/quarantine?limit=0", "/v1/quarantine/item", "/v1/quarantine?page=2"):
            assert (await served.http.get(wrong)).status_code == 400


def test_every_route_is_documented() -> None:
    """`docs/http.md` has a row for every route and for nothing else."""
    rows = set(re.findall(r"^\| (GET|POST) \| `(/[a-z0-9/._{}-]+)` \|", _DOCUMENTATION.read_text(), re.MULTILINE))
    assert rows == {(route.method, route.path) for route in ROUTES}


async def test_a_question_is_bounded_too(tmp_path: Path) -> None:
    """A filter of many megabytes is refused before it is parsed, with the usual status and not the SDK's words."""
    async with serving(tmp_path, query_bytes_max=2048) as served:
        for headers in (PROTOBUF, JSON):
            answer = await served.http.post("/v1/query", content=bytes(3000), headers=headers)
            assert answer.status_code == 413
            assert "query_bytes_max" in answer.json()["detail"]
            assert "high memory usage" not in answer.text
