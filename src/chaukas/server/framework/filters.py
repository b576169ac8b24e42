"""The filter that a query means: it can name a session in two places."""

from __future__ import annotations

from chaukas.server.errors import InvalidRequestError
from chaukas.spec.common.v1.query_pb2 import QueryFilter, QueryRequest

__all__ = ["effective_filter"]


def effective_filter(query: QueryRequest) -> QueryFilter:
    """A copy of the query's filter with the shorthand `session_id` of the query in it.

    Raises `InvalidRequestError` when the query names two different sessions. Copes with a `QueryRequest` without the shorthand,
    as the published packages have it.
    """
    effective = QueryFilter()
    effective.CopyFrom(query.filter)
    shorthand: str = getattr(query, "session_id", "")
    if shorthand:
        if effective.session_id not in ("", shorthand):
            raise InvalidRequestError("session_id", "it differs from filter.session_id; give one of them")
        effective.session_id = shorthand
    return effective
