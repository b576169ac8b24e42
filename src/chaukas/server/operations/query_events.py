"""QueryEvents: one page of the events that match."""

from __future__ import annotations

from chaukas.server.auth.principal import Principal
from chaukas.server.operations.services import Services
from chaukas.server.query import Answer
from chaukas.spec.common.v1.query_pb2 import QueryRequest

__all__ = ["query_events"]


async def query_events(services: Services, principal: Principal, request: QueryRequest) -> Answer:
    """Answer a query within the caller's scope. Raises what `QueryEngine.query` raises."""
    return await services.queries.query(request, principal)
