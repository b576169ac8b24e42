"""The scrape: figures that are read when somebody asks for them, then everything in the text format of Prometheus."""

from __future__ import annotations

from chaukas.server.auth.principal import Principal
from chaukas.server.operations.services import Services

__all__ = ["get_metrics"]


async def get_metrics(services: Services, principal: Principal) -> bytes:
    """The exposition. Raises `StorageError` when the store cannot tell its figures: a scrape that fails is an alarm too."""
    del principal
    telemetry = services.telemetry
    info = await services.store.info()
    telemetry.build_info.labels(version=telemetry.version, driver=info.driver).set(1)
    telemetry.store_events.set(info.events)
    telemetry.store_sessions.set(info.sessions)
    telemetry.store_logs.set(info.logs)
    telemetry.quarantine_items.set(info.quarantine_items)
    telemetry.quarantine_bytes.set(info.quarantine_bytes)
    telemetry.queue_events.set(services.pipeline.queued_events)
    telemetry.queue_bytes.set(services.pipeline.queued_bytes)
    telemetry.inflight_bytes.set(services.admission.used_bytes)
    telemetry.answer_bytes.set(services.answers.budget.used_bytes)
    telemetry.tail_clients.set(services.tails.count)
    telemetry.text_index_lag_events.set(info.text_index_lag_events)
    telemetry.text_index_restarts.set(info.text_index_restarts)
    telemetry.ready.set(services.readiness.ready)
    return telemetry.exposition()
