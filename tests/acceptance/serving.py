"""A server in the test's own process, listening on free ports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from chaukas.server.app import ServerApp
from chaukas.server.config import Settings
from chaukas.server.storage.contract import EventRecord, Outcome, QuarantineItem
from chaukas.server.telemetry import Telemetry
from chaukas.server.testing.memory_store import MemoryStore
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchRequest, IngestEventRequest

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}


class ObstinateStore(MemoryStore):
    """A store whose appends can be made to wait or to fail."""

    def __init__(self, server_name: str, quarantine_items_max: int) -> None:
        super().__init__(server_name=server_name, quarantine_items_max=quarantine_items_max)
        self.failure: Exception | None = None
        self.may_append = asyncio.Event()
        self.may_append.set()
        self.appending = asyncio.Event()

    async def append(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        self.appending.set()
        await self.may_append.wait()
        if self.failure is not None:
            raise self.failure
        return await super().append(items)


@dataclass
class Served:
    """A running server and its client."""

    app: ServerApp
    store: ObstinateStore
    http: httpx.AsyncClient
    grpc_target: str
    http_port: int

    def metric(self, name: str, **labels: str) -> float:
        return self.app.telemetry.registry.get_sample_value(name, labels) or 0.0


@contextlib.asynccontextmanager
async def serving(directory: Path, **overrides: object) -> AsyncIterator[Served]:
    """Start a server over the in-memory store; stop it in the end."""
    values: dict[str, object] = {
        "data_dir": directory / "data",
        "state_dir": directory / "state",
        "grpc_address": "127.0.0.1:0",
        "http_address": "127.0.0.1:0",
        "log_level": "error",
    }
    settings = Settings(**{**values, **overrides})
    store = ObstinateStore(settings.server_name, settings.quarantine_items_max)
    app = ServerApp(settings, store_factory=lambda *_: store, telemetry=Telemetry(log_level=settings.log_level))
    addresses = await app.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://{addresses.http}", timeout=30, trust_env=False) as client:
            yield Served(app, store, client, str(addresses.grpc), addresses.http.port)
    finally:
        store.may_append.set()
        await app.stop()


def single_body(event: Event) -> bytes:
    return IngestEventRequest(event=event).SerializeToString()


def batch_body(*events: Event, batch_id: str = "batch-1") -> bytes:
    request = IngestEventBatchRequest()
    request.event_batch.batch_id = batch_id
    request.event_batch.events.extend(events)
    return request.SerializeToString()


def nested_too_deep(event: Event, levels: int = 33) -> Event:
    """Give the event a Struct that no protobuf runtime reads inside a request."""
    struct = event.metadata
    for _ in range(levels):
        struct = struct.get_or_create_struct("a")
    return event
