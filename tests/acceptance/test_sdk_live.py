"""The published SDK, in an environment of its own, sends live events to a started server over HTTP."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chaukas.spec.common.v1.events_pb2 import Event, EventType
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest
from tests.acceptance.command_line import CommandLine
from tests.acceptance.foreign_clients import published_sdk
from tests.acceptance.questions import as_sent, count_events, events_over_grpc, figures, quarantined
from tests.acceptance.started_server import StartedServer, running_server


def assert_stored_once(server: StartedServer, sent: Sequence[Event]) -> None:
    """The server holds these events, each once and as it was sent, and no others."""
    found = events_over_grpc(server, tenant_id="acme", project_id="support")
    assert len(found) == len(sent)
    assert sorted(map(as_sent, found)) == sorted(map(as_sent, sent))
    assert count_events(server, GetEventStatsRequest()).total_events == len(sent)


def ingest_requests(server: StartedServer) -> dict[tuple[str, str], float]:
    """How many requests of each ingest route had each status."""
    return {
        (labels["route"], labels["status"]): value
        for labels, value in figures(server, "chaukas_requests_total")
        if labels["route"].startswith("/v1/events")
    }


def refused_requests(server: StartedServer) -> dict[tuple[str, str], float]:
    """The same without what was answered 202."""
    return {key: number for key, number in ingest_requests(server).items() if key[1] != "202"}


@pytest.mark.parametrize("path", ["/v1", ""])
def test_every_kind_of_event_is_stored(path: str, tmp_path: Path) -> None:
    """Whatever an EventBuilder makes is stored with every field, with and without /v1 in the endpoint."""
    with running_server(tmp_path) as server:
        with published_sdk(server, tmp_path, path, branch="main", tags="blue,green") as sdk:
            assert sdk.do("every_kind", 2)["queued"] == 0
            sent = sdk.sent()
        assert {event.type for event in sent} == set(EventType.values()) - {EventType.EVENT_TYPE_UNSPECIFIED}
        assert all(event.branch == "main" and list(event.tags) == ["blue", "green"] for event in sent)
        assert_stored_once(server, sent)
        counts = Counter(EventType.Name(event.type) for event in sent)
        assert count_events(server, GetEventStatsRequest()).events_by_type == counts
        assert quarantined(server) == []
        assert refused_requests(server) == {}


def test_every_kind_of_event_is_imported(tmp_path: Path) -> None:
    """What the SDK writes in file mode instead is imported with every field; only the time is the one of writing."""
    written = tmp_path / "events.jsonl"
    with running_server(tmp_path) as server:
        with published_sdk(server, tmp_path, output_mode="file", output_file=written) as sdk:
            assert sdk.do("every_kind")["queued"] == 0
            sent = sdk.sent()
        summary = json.loads(CommandLine(tmp_path, server.http_url).output("import", "--json", written))
        assert summary["accepted"] == summary["lines"] == len(sent)
        found = events_over_grpc(server)
    for event in (*sent, *found):
        assert event.timestamp.seconds > 0
        event.ClearField("timestamp")
    assert sorted(map(as_sent, found)) == sorted(map(as_sent, sent))


@pytest.mark.parametrize("batch_size", [20, 1])
def test_one_event_nested_too_deep_blocks_no_other(batch_size: int, tmp_path: Path) -> None:
    """A Struct 33 levels deep is kept aside alone; the events around it and after it are stored, and the SDK's queue is empty."""
    with running_server(tmp_path) as server:
        with published_sdk(server, tmp_path, batch_size=batch_size) as sdk:
            assert sdk.do("deep", 33)["queued"] == 0
            assert sdk.do("every_kind")["queued"] == 0
            told = sdk.do("deep", 32)
            assert told["queued"] == 0
            sent_file = sdk.sent_file.read_bytes()
        [kept] = quarantined(server)
        assert kept["event_id"].encode() in sent_file
        assert (kept["tenant_id"], kept["project_id"], kept["count"]) == ("acme", "support", 1)
        assert any("nest" in reason or "deep" in reason for reason in kept["reasons"])
        stored = events_over_grpc(server)
        assert len({event.event_id for event in stored} - {kept["event_id"]}) == len(stored) == told["given"] - 1
        assert count_events(server, GetEventStatsRequest()).total_events == len(stored)
        assert refused_requests(server) == {}


def test_a_backlog_of_20000_events_arrives_at_once(tmp_path: Path) -> None:
    """What piled up without a server is one post of 20,000 events: it is taken whole, within the SDK's own time limit."""
    with running_server(tmp_path) as server:
        # The SDK would flush by itself from a size on; here nothing leaves it before everything is queued.
        with published_sdk(server, tmp_path, batch_size=10**9, enable_adaptive_batching=False, timeout=30) as sdk:
            assert sdk.do("backlog", 20_000) == {"given": 20_000, "queued": 0}
            assert_stored_once(server, sdk.sent())
        assert ingest_requests(server) == {("/v1/events/batch", "202"): 1}


def test_a_post_that_is_too_large_is_halved(tmp_path: Path) -> None:
    """Above the largest request the SDK is told so in the words on which it sends halves, and every event arrives."""
    with running_server(tmp_path) as server:
        with published_sdk(server, tmp_path, batch_size=10**9, enable_adaptive_batching=False) as sdk:
            assert sdk.do("large", 39) == {"given": 39, "queued": 0}
            sent = sdk.sent()
        assert sum(event.ByteSize() for event in sent) > 64 * 1024 * 1024
        assert_stored_once(server, sent)
        # 39 events are halved into 19, 19 and one that is alone.
        assert ingest_requests(server) == {
            ("/v1/events/batch", "503"): 1,
            ("/v1/events/batch", "202"): 2,
            ("/v1/events", "202"): 1,
        }


def test_what_the_sdk_retained_arrives_after_a_crash(tmp_path: Path) -> None:
    """The server dies while the SDK sends; started again on the same ports and data, it holds each event once after a flush."""
    with running_server(tmp_path) as server, published_sdk(server, tmp_path, batch_size=7) as sdk:
        sdk.begin("stream", 400)
        assert sdk.told()["given"] == 101
        server.kill()
        sdk.told()
        # Nobody is there for these, nor for what the stream had left.
        told = sdk.do("every_kind")
        assert told["queued"] >= told["given"] - 400
        server.start()
        # Of the first 101 events 98 were in batches that were acknowledged.
        assert count_events(server, GetEventStatsRequest()).total_events >= 98
        assert sdk.do("flush") == {"given": told["given"], "queued": 0}
        assert_stored_once(server, sdk.sent())
        assert quarantined(server) == []


def test_a_backlog_that_a_crash_cuts_arrives_once(tmp_path: Path) -> None:
    """A large post is committed in parts; when the server dies between them, what was stored is not stored again."""
    backlog: dict[str, Any] = {"batch_size": 10**9, "enable_adaptive_batching": False}
    with running_server(tmp_path) as server, published_sdk(server, tmp_path, **backlog) as sdk:
        sdk.begin("backlog", 20_000)
        while figures(server, "chaukas_store_events") == [({}, 0.0)]:
            assert sdk.process.poll() is None
            time.sleep(0.005)
        server.kill()
        sdk.told()
        server.start()
        assert count_events(server, GetEventStatsRequest()).total_events > 0
        assert sdk.do("flush") == {"given": 20_000, "queued": 0}
        assert_stored_once(server, sdk.sent())
