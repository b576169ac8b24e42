"""A backend that keeps events in PostgreSQL, in an asyncio server.

    pip install 'chaukas-spec-server[examples]'
    python examples/postgres_asyncio.py postgresql://user:password@host/database [HOST:PORT]

An event is acknowledged when its transaction is committed. The same event sent again is a `duplicate`; another event with the id
of a stored one is `rejected` and changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg
import grpc

from chaukas.server import ChaukasClientServicer, ChaukasServicer, EventResult, StorageError, ValidationError, inline
from chaukas.spec.client.v1.client_pb2_grpc import add_ChaukasClientServiceServicer_to_server
from chaukas.spec.common.v1.events_pb2 import Event, EventType
from chaukas.spec.common.v1.query_pb2 import SORT_ORDER_ASC, QueryFilter, QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest, GetEventStatsResponse
from chaukas.spec.server.v1.server_pb2_grpc import add_ChaukasServerServiceServicer_to_server

# `sent` is the event as it was sent; the columns beside it are what queries look for. Times are nanoseconds since 1970 as
# numeric: a client may send any year from 1 to 9999, which is more than a bigint or a timestamptz holds exactly.
SCHEMA = """
CREATE TABLE IF NOT EXISTS chaukas_event (
    tenant_id text NOT NULL, project_id text NOT NULL, event_id text NOT NULL,
    session_id text NOT NULL, agent_id text NOT NULL, span_id text NOT NULL, trace_id text NOT NULL,
    type integer NOT NULL, status integer NOT NULL, severity integer NOT NULL, tags text[] NOT NULL,
    timestamp_ns numeric NOT NULL, received_ns numeric NOT NULL, digest bytea NOT NULL, sent bytea NOT NULL,
    PRIMARY KEY (tenant_id, project_id, event_id)
);
CREATE INDEX IF NOT EXISTS chaukas_event_time ON chaukas_event (timestamp_ns, tenant_id, project_id, event_id);
CREATE INDEX IF NOT EXISTS chaukas_event_session ON chaukas_event (tenant_id, session_id, timestamp_ns);
"""

# Stores an event unless its id is taken, and gives back nothing then.
INSERT = """
INSERT INTO chaukas_event VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT DO NOTHING RETURNING true
"""

# Tells the same event, sent again, from another one with its id.
DIGEST = "SELECT digest FROM chaukas_event WHERE tenant_id = $1 AND project_id = $2 AND event_id = $3"

# The ids and sets of a filter that are columns, and how they are compared.
COLUMNS = {
    **{name: f"{name} = ${{}}" for name in ("tenant_id", "project_id", "session_id", "agent_id", "span_id", "trace_id")},
    "types": "type = ANY(${}::integer[])",
    "statuses": "status = ANY(${}::integer[])",
    "severities": "severity = ANY(${}::integer[])",
    "tags": "tags @> ${}::text[]",
}

COUNT = "SELECT count(*) FROM chaukas_event WHERE {where}"

# One event more than the page holds tells whether there is another page.
PAGE = """
SELECT * FROM chaukas_event WHERE {where}
ORDER BY timestamp_ns {direction}, tenant_id {direction}, project_id {direction}, event_id {direction} LIMIT {limit}
"""

# A session counts with one event in the range; its duration is that of the whole session.
STATISTICS = """
WITH counted AS (SELECT * FROM chaukas_event WHERE {where}),
sessions AS (SELECT DISTINCT tenant_id, project_id, session_id FROM counted WHERE session_id <> ''),
durations AS (
    SELECT max(timestamp_ns) - min(timestamp_ns) AS ns
    FROM chaukas_event JOIN sessions USING (tenant_id, project_id, session_id)
    GROUP BY tenant_id, project_id, session_id
)
SELECT (SELECT count(*) FROM counted) AS events, count(*) AS sessions, coalesce(avg(ns), 0)::float8 / 1000000 AS mean_ms,
    (SELECT json_object_agg(type, events) FROM (SELECT type, count(*) AS events FROM counted GROUP BY type) AS by_type) AS types
FROM durations
"""


class PostgresBackend(ChaukasServicer):
    """Every verb is async, so calls wait for the database side by side."""

    batch_events_max = 1000

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self.pool = pool

    @inline
    def validate_event(self, event: Event) -> bool:
        """The rules of the contract, and the one that PostgreSQL adds. Cheap, so it needs no thread."""
        if any("\0" in text for text in (*ids_of(event), *event.tags)):
            raise ValidationError("an id or tag contains a NUL character, which PostgreSQL cannot store")
        return bool(super().validate_event(event))

    def enrich_event(self, event: Event) -> None:
        """Keep what was sent as it is; `received_ns` stands beside it."""

    async def store_event(self, event: Event) -> EventResult:
        """One event, one transaction."""
        return (await self.store_events([event]))[0]

    async def store_events(self, events: Sequence[Event]) -> list[EventResult]:
        """All events of a batch in one transaction: one commit is one flush to the disk.

        In the order of their ids, so that two batches with the same events wait for each other and not in a circle.
        """
        results = [EventResult()] * len(events)
        async with storing(self.pool) as connection, connection.transaction():
            for index, event in sorted(enumerate(events), key=lambda row: ids_of(row[1])):
                results[index] = await self.insert(connection, event)
        return results

    async def insert(self, connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], event: Event) -> EventResult:
        """Store one event, or tell why not."""
        sent = event.SerializeToString(deterministic=True)
        digest = hashlib.sha256(sent).digest()
        received_ns = time.time_ns()
        timestamp_ns = event.timestamp.ToNanoseconds() if event.HasField("timestamp") else received_ns
        sets = (event.type, event.status, event.severity, list(event.tags))
        row = (*ids_of(event), *sets, Decimal(timestamp_ns), Decimal(received_ns), digest, sent)
        if await connection.fetchval(INSERT, *row):
            return EventResult(event.event_id)
        if await connection.fetchval(DIGEST, event.tenant_id, event.project_id, event.event_id) == digest:
            return EventResult(event.event_id, "duplicate")
        return EventResult(event.event_id, "rejected", "another event with this id is stored")

    async def query_events(self, query: QueryRequest) -> QueryResponse:
        """One page. The page token holds the place of the last event on it, so that pages stay stable while events arrive."""
        limit = min(query.page_size or 100, 1000)
        conditions, values = conditions_of(query.filter)
        count, matching_values = COUNT.format(where=" AND ".join(conditions)), list(values)
        direction, comparison = ("ASC", ">") if query.order_by_time == SORT_ORDER_ASC else ("DESC", "<")
        if query.page_token:
            numbers = ", ".join(f"${len(values) + offset}" for offset in range(1, 5))
            conditions.append(f"(timestamp_ns, tenant_id, project_id, event_id) {comparison} ({numbers})")
            values += place_of(query.page_token)
        select = PAGE.format(where=" AND ".join(conditions), direction=direction, limit=limit + 1)
        async with storing(self.pool) as connection:
            rows = await connection.fetch(select, *values)
            total = await connection.fetchval(count, *matching_values) if getattr(query, "include_total", False) else 0
        response = QueryResponse(events=map(event_of, rows[:limit]))
        if len(rows) > limit:
            response.next_page_token = token_of(rows[limit - 1])
        if total:
            response.total_count = total
        return response

    async def event_stats(self, request: GetEventStatsRequest) -> GetEventStatsResponse:
        """Exact counts, made by the database."""
        scope = QueryFilter(tenant_id=request.tenant_id, project_id=request.project_id)
        if request.HasField("time_range"):
            scope.time.CopyFrom(request.time_range)
        conditions, values = conditions_of(scope)
        async with storing(self.pool) as connection:
            row = await connection.fetchrow(STATISTICS.format(where=" AND ".join(conditions)), *values)
        return GetEventStatsResponse(
            total_events=row["events"],
            total_sessions=row["sessions"],
            events_by_type={type_name(int(number)): count for number, count in json.loads(row["types"] or "{}").items()},
            avg_session_duration_ms=row["mean_ms"],
        )


@asynccontextmanager
async def storing(pool: asyncpg.Pool[asyncpg.Record]) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[asyncpg.Record]]:
    """A connection; what goes wrong with the database is a `StorageError`, so that the client may send again."""
    try:
        async with pool.acquire(timeout=10) as connection:
            yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise StorageError("the database failed") from error


def ids_of(event: Event) -> tuple[str, ...]:
    """The texts of a row, in the order of its columns."""
    return (
        event.tenant_id,
        event.project_id,
        event.event_id,
        event.session_id,
        event.agent_id,
        event.span_id,
        event.trace_id,
    )


def conditions_of(wanted: QueryFilter) -> tuple[list[str], list[Any]]:
    """A filter as SQL conditions with numbered parameters, and their values. Refuses what this backend cannot search by."""
    conditions: list[str] = ["true"]
    values: list[Any] = []
    for field, value in wanted.ListFields():
        if field.name == "time":
            for end, comparison in (("start", ">="), ("end", "<")):
                if value.HasField(end):
                    values.append(Decimal(getattr(value, end).ToNanoseconds()))
                    conditions.append(f"timestamp_ns {comparison} ${len(values)}")
        elif field.name in COLUMNS:
            values.append(value if isinstance(value, str) else list(value))
            conditions.append(COLUMNS[field.name].format(len(values)))
        else:
            raise ValidationError(f"filter.{field.name}: this backend cannot search by it")
    return conditions, values


def event_of(row: asyncpg.Record) -> Event:
    """The event as it was sent, and when it was received."""
    event = Event.FromString(row["sent"])
    if "server_timestamp" in Event.DESCRIPTOR.fields_by_name:
        event.server_timestamp.FromNanoseconds(int(row["received_ns"]))
    return event


def token_of(row: asyncpg.Record) -> str:
    """The place of a row in the order, as a page token."""
    place = [str(int(row["timestamp_ns"])), row["tenant_id"], row["project_id"], row["event_id"]]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def place_of(token: str) -> list[Any]:
    """What `token_of` made it of."""
    try:
        timestamp_ns, *ids = json.loads(base64.urlsafe_b64decode(token))
        tenant_id, project_id, event_id = map(str, ids)
        return [Decimal(int(timestamp_ns)), tenant_id, project_id, event_id]
    except (ValueError, TypeError) as error:
        raise ValidationError("page_token: it is not one of this server's") from error


def type_name(number: int) -> str:
    """The name of an event type; a newer one than this contract knows is told by its number."""
    return EventType.Name(number) if number in EventType.values() else f"EVENT_TYPE_{number}"


async def serve(database: str, address: str) -> None:
    """Serve until SIGTERM or SIGINT; calls that are being answered have five seconds to finish."""
    async with asyncpg.create_pool(database) as pool:
        await pool.execute(SCHEMA)
        backend, server = PostgresBackend(pool), grpc.aio.server()
        add_ChaukasServerServiceServicer_to_server(backend, server)
        add_ChaukasClientServiceServicer_to_server(ChaukasClientServicer(backend), server)
        host, _, port = address.rpartition(":")
        print(f"listening on {host}:{server.add_insecure_port(f'{host}:{port}')}", flush=True)
        await server.start()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()
        await server.stop(grace=5)
        await backend.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051"))
