"""What the operations work with, in the narrowest protocols that serve them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chaukas.server.config import Settings
from chaukas.server.ingest.hooks import IngestHook
from chaukas.server.operations.admission import Admission
from chaukas.server.query import QueryEngine
from chaukas.server.storage.contract import EventRecord, Outcome, QuarantineItem, QuarantineStore, StatsReader, StoreInfo
from chaukas.server.telemetry import Telemetry
from chaukas.server.validation import Limits

__all__ = ["EventStore", "Ingestor", "Readiness", "Services", "limits_of"]


class Ingestor(Protocol):
    """The ingest pipeline, as the operations see it."""

    @property
    def queued_events(self) -> int:
        """Items that wait or are being committed."""
        ...

    @property
    def queued_bytes(self) -> int:
        """Their size in bytes."""
        ...

    async def submit(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        """One outcome per item once they are durable. Raises `OverloadedError`, `ShuttingDownError`, `StorageError`."""
        ...


class EventStore(StatsReader, QuarantineStore, Protocol):
    """What operations ask the store for directly; events go through the pipeline, questions through the engine."""

    async def info(self) -> StoreInfo:
        """Cheap figures."""
        ...


class Readiness:
    """Whether the server takes requests: between the end of its start and the beginning of its stop."""

    def __init__(self) -> None:
        self.ready = False


@dataclass(frozen=True, slots=True)
class Services:
    """Everything an operation may use. Built once, by the composition root."""

    settings: Settings
    telemetry: Telemetry
    store: EventStore
    pipeline: Ingestor
    queries: QueryEngine
    limits: Limits
    admission: Admission
    readiness: Readiness = field(default_factory=Readiness)
    hooks: tuple[IngestHook, ...] = ()
    #: The server's clock, nanoseconds since 1970.
    now_ns: Callable[[], int] = time.time_ns


def limits_of(settings: Settings) -> Limits:
    """The limits of validation, as configured."""
    return Limits(
        event_bytes_max=int(settings.event_bytes_max),
        id_bytes_max=settings.id_bytes_max,
        name_bytes_max=settings.name_bytes_max,
        tags_max=settings.tags_max,
        tag_bytes_max=settings.tag_bytes_max,
    )
