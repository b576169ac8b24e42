"""GET /v1/events: the filter of the contract as query parameters, page by page by links."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaukas.server.testing.records import make_record
from chaukas.spec.common.v1.query_pb2 import QueryResponse
from tests.acceptance.serving import serving

pytestmark = pytest.mark.anyio

_SECOND_NS = 1_000_000_000


async def test_each_parameter_narrows_as_the_filter_does(tmp_path: Path) -> None:
    """Every parameter answers exactly what POST /v1/query answers for its field, with either spelling and numbers."""
    records = [
        make_record(
            f"e{n}",
            tenant_id=f"t{n % 2}",
            project_id=f"p{n % 3}",
            session_id=f"s,{n % 2}",
            agent_id=f"a{n % 3}",
            span_id=f"x{n}",
            trace_id=f"y{n % 4}",
            type=(22, 23, 63)[n % 3],
            status=(3, 4)[n % 2],
            severity=(2, 4)[n % 2],
            tags=["a,b", f"n{n % 2}"] if n % 3 else [],
            at_ns=n * _SECOND_NS,
            text=f"word{n % 5}",
        )
        for n in range(24)
    ]
    async with serving(tmp_path) as served:
        await served.store.append(records)
        for parameters, wanted in (
            ("tenant_id=t1&project_id=p2", {"tenant_id": "t1", "project_id": "p2"}),
            ("session_id=s%2C1&agent_id=a0", {"session_id": "s,1", "agent_id": "a0"}),
            ("span_id=x7", {"span_id": "x7"}),
            ("trace_id=y2", {"trace_id": "y2"}),
            ("type=TOOL_CALL_START,EVENT_TYPE_SYSTEM", {"types": [22, 63]}),
            ("type=23&type=63", {"types": ["TOOL_CALL_END", "SYSTEM"]}),
            ("status=FAILED&severity=4", {"statuses": [4], "severities": ["ERROR"]}),
            ("tag=a,b&tag=n1", {"tags": ["a,b", "n1"]}),
            ("text_query=word3", {"text_query": "word3"}),
            (
                "start=1970-01-01T02:00:05+02:00&end=1970-01-01T00:00:11Z",
                {"time": {"start": "1970-01-01T00:00:05Z", "end": "1970-01-01T00:00:11Z"}},
            ),
            ("tenant_id=", {}),
        ):
            answer = await served.http.get(f"/v1/events?{parameters}&include_total=true")
            assert answer.status_code == 200, answer.text
            assert answer.json() == (await served.http.post("/v1/query", json={"filter": wanted, "include_total": True})).json()
            assert 0 < answer.json()["total_count"] <= 24, parameters
            assert "link" not in answer.headers


async def test_links_lead_through_the_pages(tmp_path: Path) -> None:
    """`Link` leads to the next page under either path, until there is none; protobuf is answered on demand."""
    async with serving(tmp_path) as served:
        await served.store.append([make_record(f"e{n}", at_ns=n * _SECOND_NS, tags=["ü&=,<>"]) for n in range(5)])
        for path in ("/v1/events", "/events"):
            seen: list[str] = []
            answer = await served.http.get(path, params={"page_size": 2, "order": "asc", "tag": "ü&=,<>"})
            while True:
                seen += [event["event_id"] for event in answer.json()["events"]]
                if "next" not in answer.links:
                    break
                assert answer.links["next"]["url"].startswith(f"{path}?")
                answer = await served.http.get(answer.links["next"]["url"])
            assert seen == ["e0", "e1", "e2", "e3", "e4"]
        binary = await served.http.get("/v1/events?page_size=2", headers={"accept": "application/x-protobuf"})
        assert [event.event_id for event in QueryResponse.FromString(binary.content).events] == ["e4", "e3"]
        assert "next" in binary.links


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ("sesion_id=s", "sesion_id"),
        ("tenant_id=a&tenant_id=b", "tenant_id"),
        ("type=NOTHING", "type"),
        ("type=1,,2", "type"),
        ("type=99999999999", "type"),
        ("severity=2147483648", "severity"),
        ("status=EVENT_TYPE_SYSTEM", "status"),
        ("start=yesterday", "start"),
        ("start=2000-01-01T00:00:00Z&end=1999-01-01T00:00:00Z", "start"),
        ("page_size=1001", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=ten", "page_size"),
        ("page_size=9999999999", "page_size"),
        ("page_token=forged", "page_token"),
        ("order=newest", "order"),
        ("include_total=maybe", "include_total"),
        ("text_query=%22%22", "text_query"),
        ("since=x", "since"),
        ("tag=%FF", "tag"),
    ],
)
async def test_a_wrong_parameter_is_named(tmp_path: Path, parameters: str, field: str) -> None:
    """400 names the parameter as the caller wrote it, not the field of a message that the caller never saw."""
    async with serving(tmp_path) as served:
        answer = await served.http.get(f"/v1/events?{parameters}")
        if field == "tag":
            # Bytes that are no UTF-8 become replacement characters, as Starlette reads them: an odd tag, and no failure.
            assert answer.status_code == 200
            return
        assert (answer.status_code, answer.json()["violations"][0]["field"]) == (400, field), answer.text
        assert not answer.json()["detail"].startswith("filter.")
