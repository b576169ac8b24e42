"""The recorded traffic as lists of events, in order of arrival and with every copy that the SDK sent."""

from __future__ import annotations

import json
from pathlib import Path

from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import Event


def folders(recorded_dir: Path) -> list[Path]:
    """Every recorded scenario."""
    return sorted(path.parent for path in recorded_dir.rglob("requests.jsonl"))


def events_of(folder: Path) -> list[Event]:
    """All events of the requests of one scenario."""
    events: list[Event] = []
    for line in (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        path = folder / row["file"] if row.get("file") else None
        if path is None or not path.exists():
            continue
        if "Batch" in row["message"]:
            batch = client_pb2.IngestEventBatchRequest.FromString(path.read_bytes())
            events.extend(batch.event_batch.events)
        else:
            events.append(client_pb2.IngestEventRequest.FromString(path.read_bytes()).event)
    return events
