"""Recorded traffic (`tests/data/recorded/README.md`), read and sent again byte for byte."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from chaukas.spec.client.v1.client_pb2 import IngestEventBatchRequest, IngestEventRequest
from chaukas.spec.common.v1.events_pb2 import Event, EventType

__all__ = ["FAULTS", "Recording", "Replayed", "delivery_recordings", "faulty_deliveries"]

FAULTS = "faults"
# Made anew by whoever sends; of the rest nothing is left out or changed.
_OF_THE_CONNECTION = frozenset({"host", "connection", "content-length"})
_BATCH, _SINGLE = "IngestEventBatchRequest", "IngestEventRequest"


@dataclass(frozen=True)
class Replayed:
    """What a server answered to all requests of a recording."""

    statuses: list[int]
    #: By event, in order: `accepted`, `duplicate`, `rejected` or `quarantined`.
    results: list[tuple[str, str]]


@dataclass(frozen=True)
class Recording:
    """One folder."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def summary(self) -> dict[str, Any]:
        return self._json("summary.json")

    @cached_property
    def requests(self) -> list[dict[str, Any]]:
        """The rows of `requests.jsonl`, in order of arrival."""
        return [json.loads(line) for line in (self.folder / "requests.jsonl").read_text().splitlines()]

    @cached_property
    def sent(self) -> list[Event]:
        """Every event of every request, as often as it was sent."""
        return [event for request in self.requests for event in self._events(request)]

    @cached_property
    def unique(self) -> dict[str, Event]:
        """The events by id, as they were sent first."""
        events: dict[str, Event] = {}
        for event in self.sent:
            events.setdefault(event.event_id, event)
        return events

    @cached_property
    def counts(self) -> Counter[str]:
        """The unique events by the short names of their types, as a summary writes them."""
        return Counter(EventType.Name(event.type).removeprefix("EVENT_TYPE_") for event in self.unique.values())

    @property
    def file_mode(self) -> Path:
        """What the SDK wrote in file mode."""
        return self.folder / "file_mode.jsonl"

    def replay(self, url: str, *, backwards: bool = False) -> Replayed:
        """Send every request again, in order or the last first, its body untouched, and collect what is answered."""
        statuses, results = [], []
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            for request in reversed(self.requests) if backwards else self.requests:
                headers = [(name, value) for name, value in request["headers"] if name.lower() not in _OF_THE_CONNECTION]
                body = (self.folder / request["file"]).read_bytes()
                answer = client.request(request["method"], request["path"], content=body, headers=headers)
                statuses.append(answer.status_code)
                results += [(result["event_id"], result["status"]) for result in _results(answer)]
        return Replayed(statuses, results)

    def _events(self, request: dict[str, Any]) -> list[Event]:
        body = (self.folder / request["file"]).read_bytes()
        if request["message"] == _SINGLE:
            return [IngestEventRequest.FromString(body).event]
        assert request["message"] == _BATCH
        return list(IngestEventBatchRequest.FromString(body).event_batch.events)

    def _json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / name).read_text())
        return content


def delivery_recordings(recorded: Path) -> list[Recording]:
    """The recordings with a server that took everything."""
    return list(_recordings(recorded))


def faulty_deliveries(recorded: Path) -> list[Recording]:
    """The recordings with a server that answered badly."""
    return list(_recordings(recorded / FAULTS))


def _recordings(folder: Path) -> Iterator[Recording]:
    for path in sorted(folder.iterdir()):
        if (path / "requests.jsonl").is_file():
            yield Recording(path)


def _results(answer: httpx.Response) -> list[dict[str, str]]:
    """The results of a batch or of one event, in our public JSON form: the SDK accepts any."""
    if answer.status_code != 202:
        return []
    content = answer.json()
    results: list[dict[str, str]] = content.get("results", [content])
    return results
