"""What the operations work with, in the narrowest protocols that serve them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chaukas.server.config import Settings
from chaukas.server.cursor import CursorSeal
from chaukas.server.ingest.hooks import IngestHook
from chaukas.server.operations.admission import Admission
from chaukas.server.operations.explainer import Explainer
from chaukas.server.operations.large_answers import LargeAnswers
from chaukas.server.operations.tail_clients import TailClients
from chaukas.server.query import QueryEngine
from chaukas.server.storage.contract import (
    ArrivalReader,
    EventReader,
    EventRecord,
    Outcome,
    QuarantineItem,
    QuarantineStore,
    SessionReader,
    StatsReader,
    StoreInfo,
)
from chaukas.server.storage.log_contract import LogStore
from chaukas.server.telemetry import Telemetry
from chaukas.server.tlog.sequencer import Sequencer
from chaukas.server.tlog.tile_reading import TileCache
from chaukas.server.tlog.witness_service import WitnessService
from chaukas.server.validation import Limits

__all__ = ["EventStore", "Ingestor", "Readiness", "Services", "TransparencyLog", "limits_of"]


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


class EventStore(EventReader, ArrivalReader, StatsReader, SessionReader, QuarantineStore, Protocol):
    """What operations ask the store for directly; events go in through the pipeline, and out to questions by the engine."""

    async def info(self) -> StoreInfo:
        """Cheap figures."""
        ...


@dataclass(frozen=True, slots=True)
class TransparencyLog:
    """The logs of a store that has them, and who signs their heads."""

    store: LogStore
    sequencer: Sequencer
    tiles: TileCache = field(default_factory=TileCache)


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
    answers: LargeAnswers
    tails: TailClients
    #: Signs the cursors of session listings.
    session_cursors: CursorSeal
    explainer: Explainer = field(default_factory=Explainer)
    #: None where the driver keeps no log, or where nothing is signed, as on the command line.
    log: TransparencyLog | None = None
    #: None unless the server serves as a witness.
    witness: WitnessService | None = None
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
