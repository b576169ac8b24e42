"""A session as it is answered over HTTP and gRPC."""

from __future__ import annotations

from chaukas.server.explain.clock import iso_time
from chaukas.server.storage.contract import SessionRow

__all__ = ["session_values"]


def session_values(row: SessionRow) -> dict[str, object]:
    """The keys of one session in listings."""
    return {
        "tenant_id": row.tenant_id,
        "project_id": row.project_id,
        "session_id": row.place.session_id,
        "events": row.events,
        "first_time": iso_time(row.first_us * 1_000),
        "last_time": iso_time(row.place.last_us * 1_000),
    }
