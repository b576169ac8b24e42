"""What the published SDK sent to servers that answered badly, sent again to ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest
from tests.acceptance.questions import as_sent, count_events, events_over_grpc, figures, quarantined
from tests.acceptance.recordings import Recording, Replayed, faulty_deliveries
from tests.acceptance.started_server import StartedServer, running_server

RECORDED = Path(__file__).parents[1] / "data" / "recorded" / "openai_agents"
DELIVERIES = faulty_deliveries(RECORDED)
PER_DELIVERY = pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda delivery: delivery.name)


@dataclass
class Served:
    """One server that was given every faulty delivery, one after another, and what it answered."""

    server: StartedServer
    replayed: dict[str, Replayed]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running_server(tmp_path_factory.mktemp("faulty_deliveries")) as server:
        yield Served(server, {delivery.name: delivery.replay(server.http_url) for delivery in DELIVERIES})


def stored_counts(server: StartedServer, delivery: Recording) -> dict[str, int]:
    """The stored events within the time of a delivery, by type; no two deliveries were made at the same time."""
    times = [event.timestamp.ToNanoseconds() for event in delivery.unique.values()]
    request = GetEventStatsRequest()
    request.time_range.start.FromNanoseconds(min(times))
    request.time_range.end.FromNanoseconds(max(times) + 1)
    return dict(count_events(server, request).events_by_type)


def test_no_kind_of_trouble_is_left_out() -> None:
    """Refusals, failures, lost answers and partly accepted batches: each way a delivery went wrong is sent again here."""
    answers = {request["answered"] for delivery in DELIVERIES for request in delivery.requests}
    assert answers == {"202", "401", "413", "429", "500", "503", "503mem", "3slow", "drop", "partial"}
    assert sum(len(delivery.sent) - len(delivery.unique) for delivery in DELIVERIES) > 2000


@PER_DELIVERY
def test_every_delivery_ends_well(delivery: Recording, served: Served) -> None:
    """Each request is answered 202, each event is stored by the first that brings it, and duplicates are told and not stored."""
    replayed = served.replayed[delivery.name]
    assert replayed.statuses == [202] * delivery.summary["requests_received"]
    assert [event_id for event_id, _ in replayed.results] == [event.event_id for event in delivery.sent]
    statuses = Counter(status for _, status in replayed.results)
    unique = delivery.summary["attempted_unique_event_ids"]
    duplicates = delivery.summary["events_received"] - unique
    assert statuses == Counter({"accepted": unique, "duplicate": duplicates})
    first_statuses = dict(reversed(replayed.results))
    assert first_statuses == dict.fromkeys(delivery.unique, "accepted")


@PER_DELIVERY
def test_every_event_is_stored_once(delivery: Recording, served: Served) -> None:
    """By query each event of the delivery is there once, as it was sent; counted by type it is what the SDK had queued."""
    found = [
        as_sent(event)
        for session_id in sorted({event.session_id for event in delivery.unique.values()})
        for event in events_over_grpc(served.server, session_id=session_id)
    ]
    assert sorted(found) == sorted(as_sent(event) for event in delivery.unique.values())
    queued = {f"EVENT_TYPE_{name}": count for name, count in delivery.summary["queued_by_type"].items()}
    assert stored_counts(served.server, delivery) == queued


def test_duplicates_are_counted(served: Served) -> None:
    """The server's own figures tell an operator how much came twice, and that nothing was refused."""
    counted = {
        labels["outcome"]: value
        for labels, value in figures(served.server, "chaukas_events_total")
        if labels["transport"] == "http" and value
    }
    unique = sum(len(delivery.unique) for delivery in DELIVERIES)
    assert counted == {"accepted": unique, "duplicate": sum(len(delivery.sent) for delivery in DELIVERIES) - unique}
    assert count_events(served.server, GetEventStatsRequest()).total_events == unique
    assert quarantined(served.server) == []


def test_a_backlog_that_grew_while_the_server_was_gone_ends_well(tmp_path: Path) -> None:
    """Sent in the opposite order, everything at once first and its parts later, the same events are stored once."""
    growing = max(DELIVERIES, key=lambda delivery: len(delivery.sent))
    with running_server(tmp_path) as server:
        replayed = growing.replay(server.http_url, backwards=True)
        found = events_over_grpc(server)
    assert set(replayed.statuses) == {202}
    assert Counter(status for _, status in replayed.results)["accepted"] == len(found) == len(growing.unique)
    assert {as_sent(event) for event in found} == {as_sent(event) for event in growing.unique.values()}
