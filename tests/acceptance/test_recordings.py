"""Real traffic of the published SDK, sent again to a started server."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from chaukas.spec.common.v1.events_pb2 import Event, EventType
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest
from tests.acceptance.command_line import CommandLine
from tests.acceptance.foreign_clients import published_package
from tests.acceptance.questions import (
    SERVER_FIELDS,
    as_sent,
    count_events,
    event_of_public_json,
    events_over_grpc,
    events_over_json,
    quarantined,
)
from tests.acceptance.recordings import Recording, Replayed, delivery_recordings
from tests.acceptance.started_server import StartedServer, running_server

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "openai_agents"
RECORDINGS = delivery_recordings(RECORDED)
STUB_PROGRAM = Path(__file__).with_name("stub_program.py")
PER_RECORDING = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)


@dataclass
class Served:
    """One server that was given every recording, one after another, and what it answered."""

    server: StartedServer
    replayed: dict[str, Replayed]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running_server(tmp_path_factory.mktemp("recordings")) as server:
        yield Served(server, {recording.name: recording.replay(server.http_url) for recording in RECORDINGS})


@pytest.fixture(scope="module")
def read_by_published_stub(served: Served) -> dict[str, list[dict[str, Any]]]:
    """Every stored event by its id, as the published client stubs read it."""
    published = published_package("chaukas-spec-client", "1.0.5")
    found: dict[str, list[dict[str, Any]]] = {}
    for tenant, project in sorted({(event.tenant_id, event.project_id) for event in all_sent().values()}):
        for row in published.run(STUB_PROGRAM, served.server.grpc_target, "read", tenant, project):
            found.setdefault(row["event_id"], []).append(row)
    return found


def all_sent() -> dict[str, Event]:
    return {event_id: event for recording in RECORDINGS for event_id, event in recording.unique.items()}


def counts_of_summary(recording: Recording) -> Counter[str]:
    """What a summary says was sent, by type.

    `delivered_by_type` counts what the SDK saw acknowledged before its process ended; two processes ended between an answer
    and its reading. What the recording server received was all that was queued then. A killed process wrote no counts.
    """
    summary = recording.summary
    if summary["delivered"] == summary["attempted"]:
        assert summary["delivered_by_type"] == summary["queued_by_type"]
    return Counter(summary["queued_by_type"])


def test_nothing_recorded_is_left_out() -> None:
    """The tests here are about all of the recorded traffic: a wrong path must not make it none."""
    folders = {path.name for path in RECORDED.iterdir() if path.is_dir()} - {"faults"}
    assert {recording.name for recording in RECORDINGS} == folders
    assert len(RECORDINGS) >= 17
    assert len(all_sent()) == sum(len(recording.unique) for recording in RECORDINGS)


@PER_RECORDING
def test_every_request_is_taken(recording: Recording, served: Served) -> None:
    """The SDK sees 202 for all it sends: it would send anything else again, for ever. What it sends twice is stored once."""
    replayed = served.replayed[recording.name]
    assert replayed.statuses == [202] * len(recording.requests)
    assert [event_id for event_id, _ in replayed.results] == [event.event_id for event in recording.sent]
    seen: set[str] = set()
    for event_id, status in replayed.results:
        assert status == ("duplicate" if event_id in seen else "accepted")
        seen.add(event_id)


@PER_RECORDING
def test_every_event_comes_back_as_it_was_sent(
    recording: Recording, read_by_published_stub: dict[str, list[dict[str, Any]]]
) -> None:
    """Asked for with the published stubs, each event is there once, with every field it was sent with and no other."""
    for event_id, event in recording.unique.items():
        [row] = read_by_published_stub[event_id]
        assert base64.b64decode(row["sent"]) == event.SerializeToString(deterministic=True)
        assert row["content_hash"]
        assert row["worm_proof_id"].startswith("chaukas.localhost/events/")


def test_nothing_else_is_stored(served: Served, read_by_published_stub: dict[str, list[dict[str, Any]]]) -> None:
    """After all recordings the server holds their events and nothing besides, and kept nothing aside."""
    assert read_by_published_stub.keys() == all_sent().keys()
    assert quarantined(served.server) == []


@PER_RECORDING
def test_the_sessions_of_a_recording_hold_its_events(recording: Recording, served: Served) -> None:
    """A question for a session finds exactly the events of that session, with the server's fields set."""
    expected: dict[str, set[bytes]] = {}
    for event in recording.unique.values():
        expected.setdefault(event.session_id, set()).add(event.SerializeToString(deterministic=True))
    for session_id, events in expected.items():
        found = events_over_grpc(served.server, session_id=session_id)
        assert len(found) == len(events)
        assert {as_sent(event) for event in found} == events
        for event in found:
            assert event.HasField("server_timestamp")
            # The first event of a log has no predecessor.
            assert event.hash_prev or event.worm_proof_id.endswith("#0")


def test_json_answers_hold_every_field(served: Served) -> None:
    """In the public JSON form, read by a reader that is not ours, each event is what was sent."""
    sent = all_sent()
    found = [
        event_of_public_json(written)
        for tenant in sorted({event.tenant_id for event in sent.values()})
        for written in events_over_json(served.server, tenant_id=tenant)
    ]
    assert len(found) == len(sent)
    for event in found:
        assert all(getattr(event, name) for name in SERVER_FIELDS if name != "hash_prev")
        assert as_sent(event) == sent[event.event_id].SerializeToString(deterministic=True)


@PER_RECORDING
def test_counts_are_those_of_the_summary(recording: Recording, served: Served) -> None:
    """GetEventStats over the time of a recording counts what the SDK says it sent, by type, and its sessions."""
    expected = counts_of_summary(recording)
    if recording.name == "killed":
        assert not expected
        expected = recording.counts
        assert expected.total() == recording.summary["events_received"]
    else:
        assert expected.total() == recording.summary["attempted_unique_event_ids"]
    # Recordings were made one after another, so the times of one hold no event of another.
    times = [event.timestamp.ToNanoseconds() for event in recording.unique.values()]
    request = GetEventStatsRequest()
    request.time_range.start.FromNanoseconds(min(times))
    request.time_range.end.FromNanoseconds(max(times) + 1)
    stats = count_events(served.server, request)
    assert stats.total_events == expected.total()
    assert stats.events_by_type == {f"EVENT_TYPE_{name}": count for name, count in expected.items()}
    assert stats.total_sessions == len({event.session_id for event in recording.unique.values()})


def test_counts_of_tenants_and_projects_are_the_sums(served: Served) -> None:
    """GetEventStats for a tenant, a project and for everything counts the recordings that belong there."""
    sent = all_sent().values()
    scopes = {("", "")} | {(event.tenant_id, "") for event in sent} | {(event.tenant_id, event.project_id) for event in sent}
    for tenant, project in scopes:
        inside = [event for event in sent if tenant in ("", event.tenant_id) and project in ("", event.project_id)]
        stats = count_events(served.server, GetEventStatsRequest(tenant_id=tenant, project_id=project))
        assert (stats.total_events, sum(stats.events_by_type.values())) == (len(inside), len(inside))
        assert stats.total_sessions == len({(event.tenant_id, event.project_id, event.session_id) for event in inside})


def test_file_mode_is_imported_once(tmp_path: Path) -> None:
    """`chaukas import` takes all that the SDK writes in file mode, as often as it is repeated, and loses no field of it."""
    files = [recording.file_mode for recording in RECORDINGS]
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    with running_server(tmp_path) as server:
        for expected in ({"accepted": len(lines), "duplicate": 0}, {"accepted": 0, "duplicate": len(lines)}):
            summary = json.loads(CommandLine(tmp_path, server.http_url).output("import", "--json", *files))
            assert {**summary, "lines": len(lines), "rejected": 0, "quarantined": 0, "left_out": 0, **expected} == summary
        found = {event.event_id: event for event in events_over_grpc(server)}
        stats = count_events(server, GetEventStatsRequest())
    assert len(found) == stats.total_events == len(lines)
    for recording in RECORDINGS:
        written = [json.loads(line) for line in recording.file_mode.read_text().splitlines()]
        counts = Counter(EventType.Name(found[line["event_id"]].type).removeprefix("EVENT_TYPE_") for line in written)
        # A killed process wrote no summary.
        assert counts == recording.summary["file_mode"]["written_by_type"] or recording.name == "killed"
        for line in written:
            # The SDK writes the time of writing, in UTC and without saying so.
            assert as_sent(found[line["event_id"]]) == as_sent(ParseDict({**line, "timestamp": line["timestamp"] + "Z"}, Event()))
