"""Events for tests of the transparency log, and how they get to a server."""

from __future__ import annotations

import httpx

from chaukas.spec.common.v1.events_pb2 import Event
from tests.acceptance.serving import PROTOBUF, batch_body

__all__ = ["ORIGIN", "add_events", "log_event"]

#: The log of the events of `log_event` as they are by default.
ORIGIN = "chaukas.localhost/events/acme/help%20desk"

_BATCH = 8_192


def log_event(number: int, project_id: str = "help desk") -> Event:
    """A small event; every second one has a session."""
    event = Event(event_id=f"event-{number}", tenant_id="acme", project_id=project_id, type=12)
    if number % 2:
        event.session_id = f"session-{number % 5}"
    event.message.text = f"Grüße {number}"
    return event


def add_events(http: httpx.Client, start: int, end: int, project_id: str = "help desk") -> list[dict[str, str]]:
    """Store the events of these numbers; returns their results."""
    results: list[dict[str, str]] = []
    for at in range(start, end, _BATCH):
        events = [log_event(number, project_id) for number in range(at, min(end, at + _BATCH))]
        answer = http.post("/v1/events/batch", content=batch_body(*events), headers=PROTOBUF)
        assert answer.status_code == 202, answer.text
        results += answer.json()["results"]
    assert {result["status"] for result in results} == {"accepted"}
    return results
