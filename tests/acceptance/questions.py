"""Questions to a started server, and the forms in which tests compare what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
from google.protobuf.json_format import ParseDict
from prometheus_client.parser import text_string_to_metric_families

from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryRequest, SortOrder
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest, GetEventStatsResponse, QueryEventsRequest
from chaukas.spec.server.v1.server_pb2_grpc import ChaukasServerServiceStub
from tests.acceptance.started_server import StartedServer

__all__ = [
    "SERVER_FIELDS",
    "as_sent",
    "count_events",
    "event_of_public_json",
    "events_over_grpc",
    "events_over_json",
    "figures",
    "quarantined",
]

#: What only the server sets.
SERVER_FIELDS = ("content_hash", "hash_prev", "worm_proof_id", "server_timestamp")
_PAGES_MAX = 1000
_ENUM_PREFIXES = {"type": "EVENT_TYPE_", "severity": "SEVERITY_", "status": "EVENT_STATUS_", "author": "AUTHOR_"}
_FIELD_OF_KIND = {"policy_decision": "policy", "error_info": "error"}


def as_sent(event: Event) -> bytes:
    """The deterministic serialisation without the server's fields."""
    sent = Event()
    sent.CopyFrom(event)
    for name in SERVER_FIELDS:
        sent.ClearField(name)
    return sent.SerializeToString(deterministic=True)


def events_over_grpc(server: StartedServer, page_size: int = 1000, **filters: Any) -> list[Event]:
    """Every event that matches the fields of a QueryFilter, oldest first, as answered."""
    question = QueryRequest(page_size=page_size, order_by_time=SortOrder.SORT_ORDER_ASC)
    for name, value in filters.items():
        setattr(question.filter, name, value)
    events: list[Event] = []
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = ChaukasServerServiceStub(channel)
        for _ in range(_PAGES_MAX):
            page = stub.QueryEvents(QueryEventsRequest(query=question), timeout=30).response
            events += page.events
            question.page_token = page.next_page_token
            if not question.page_token:
                return events
    raise AssertionError("the pages do not end")


def events_over_json(server: StartedServer, **filters: Any) -> Iterator[dict[str, Any]]:
    """The same over HTTP, each event in the public JSON form."""
    question: dict[str, Any] = {"filter": filters, "page_size": 100, "order_by_time": "ASC"}
    with httpx.Client(base_url=server.http_url, timeout=30, trust_env=False) as client:
        for _ in range(_PAGES_MAX):
            page = client.post("/v1/query", json=question).raise_for_status().json()
            yield from page["events"]
            question["page_token"] = page["next_page_token"]
            if not question["page_token"]:
                return
    raise AssertionError("the pages do not end")


def event_of_public_json(written: dict[str, Any]) -> Event:
    """A second, naive reader of the public form: rename what differs from protobuf's own JSON, and let protobuf read it."""
    changed = {name: value for name, value in written.items() if name != "content"}
    for name, prefix in _ENUM_PREFIXES.items():
        if isinstance(changed.get(name), str):
            changed[name] = prefix + changed[name]
    if "content" in written:
        content = dict(written["content"])
        kind = content.pop("kind")
        # A state update is any object: beside `kind` its keys could be mistaken, so it stands below a key of its own.
        changed[_FIELD_OF_KIND.get(kind, kind)] = content["state_update"] if kind == "state_update" else content
    return ParseDict(changed, Event())


def count_events(server: StartedServer, request: GetEventStatsRequest) -> GetEventStatsResponse:
    """What GetEventStats answers."""
    with grpc.insecure_channel(server.grpc_target) as channel:
        return ChaukasServerServiceStub(channel).GetEventStats(request, timeout=30)


def quarantined(server: StartedServer) -> list[dict[str, Any]]:
    """What the server kept aside."""
    answer = httpx.get(f"{server.http_url}/v1/quarantine", params={"limit": "1000"}, timeout=30, trust_env=False)
    items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return items


def figures(server: StartedServer, name: str) -> list[tuple[dict[str, str], float]]:
    """The labels and the value of each sample of a metric."""
    text = httpx.get(f"{server.http_url}/metrics", timeout=30, trust_env=False).raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples if sample.name == name]
    assert samples, name
    return [(sample.labels, sample.value) for sample in samples]
