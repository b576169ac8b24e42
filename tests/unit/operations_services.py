"""Services over the in-memory store, for tests of the operations."""

from __future__ import annotations

from collections.abc import Sequence

from chaukas.server.config import Settings
from chaukas.server.cursor import CursorSeal
from chaukas.server.ingest.hooks import IngestHook
from chaukas.server.operations.admission import Admission
from chaukas.server.operations.large_answers import LargeAnswers
from chaukas.server.operations.services import Services, limits_of
from chaukas.server.operations.tail_clients import TailClients
from chaukas.server.query import QueryEngine
from chaukas.server.storage.contract import EventRecord, Outcome, QuarantineItem
from chaukas.server.telemetry import Telemetry
from chaukas.server.testing.memory_store import MemoryStore

NOW_NS = 1_800_000_000_000_000_000


class DirectPipeline:
    """The ingest pipeline without its queue: every submission is a transaction. Remembers how large they were."""

    queued_events = 3
    queued_bytes = 4096

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.submissions: list[int] = []
        self.failure: Exception | None = None
        #: How many submissions succeed before the failure.
        self.failure_after = 0

    async def submit(self, items: Sequence[EventRecord | QuarantineItem]) -> list[Outcome]:
        if self.failure is not None and len(self.submissions) >= self.failure_after:
            raise self.failure
        self.submissions.append(len(items))
        return await self._store.append(items)


class Bench:
    """A set of services with its store and pipeline at hand."""

    def __init__(self, *, hooks: tuple[IngestHook, ...] = (), **settings: object) -> None:
        self.settings = Settings(**settings)
        self.store = MemoryStore(server_name=self.settings.server_name)
        self.pipeline = DirectPipeline(self.store)
        self.services = Services(
            settings=self.settings,
            telemetry=Telemetry(log_level="error"),
            store=self.store,
            pipeline=self.pipeline,
            queries=QueryEngine(self.store, bytes(32)),
            limits=limits_of(self.settings),
            admission=Admission(int(self.settings.inflight_bytes_max), self.settings.hold_s),
            answers=LargeAnswers(int(self.settings.answer_bytes_max), self.settings.hold_s, self.settings.answer_send_s),
            tails=TailClients(bytes(32), self.settings.tail_clients_max),
            session_cursors=CursorSeal(bytes(32), "sessions"),
            hooks=hooks,
            now_ns=lambda: NOW_NS,
        )

    async def opened(self) -> Bench:
        await self.store.open()
        return self

    def counter(self, transport: str, outcome: str) -> float:
        return (
            self.services.telemetry.registry.get_sample_value(
                "chaukas_events_total", {"transport": transport, "outcome": outcome}
            )
            or 0.0
        )
