"""GetEventStats: exact counts over a scope and a range of time."""

from __future__ import annotations

from chaukas.server.auth.principal import Principal
from chaukas.server.operations.services import Services
from chaukas.server.query import scope_of, time_range_ns
from chaukas.server.storage.contract import EventStats
from chaukas.spec.common.v1.events_pb2 import EventType
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest, GetEventStatsResponse

__all__ = ["get_event_stats"]

_TYPE_NAMES = {number: name for name, number in EventType.items()}


async def get_event_stats(services: Services, principal: Principal, request: GetEventStatsRequest) -> GetEventStatsResponse:
    """Count events and sessions.

    An empty tenant or project means all that the caller may see. `events_by_type` is keyed by the full enum name; a number
    that this contract has no name for stands as `EVENT_TYPE_<number>`. Raises `InvalidRequestError` for a wrong range,
    `PermissionDeniedError` for a foreign tenant or project, `StorageError` when the store fails.
    """
    tenant_id, project_id = scope_of(principal, request.tenant_id, request.project_id, "")
    start_ns, end_ns = time_range_ns("time_range", request.time_range)
    return _response(await services.store.stats(tenant_id, project_id, start_ns, end_ns))


def _response(stats: EventStats) -> GetEventStatsResponse:
    sessions = stats.total_sessions
    return GetEventStatsResponse(
        total_events=stats.total_events,
        total_sessions=sessions,
        events_by_type={_TYPE_NAMES.get(number, f"EVENT_TYPE_{number}"): count for number, count in stats.events_by_type.items()},
        avg_session_duration_ms=stats.session_duration_us_sum / 1000 / sessions if sessions else 0.0,
    )
