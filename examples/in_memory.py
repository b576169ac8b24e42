"""A backend in memory, with query: `python examples/in_memory.py [HOST:PORT]`. Both services of the contract, threaded."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from chaukas.server import ChaukasClientServicer, ChaukasServicer, ValidationError
from chaukas.spec.client.v1.client_pb2_grpc import add_ChaukasClientServiceServicer_to_server
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import SORT_ORDER_ASC, QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2_grpc import add_ChaukasServerServiceServicer_to_server


class InMemory(ChaukasServicer):
    """Keeps events by their ids, as long as the process lives."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str, str], Event] = {}

    def enrich_event(self, event: Event) -> None:
        """Keep what was sent as it is, so that the same event can be told from another one with its id."""

    def store_event(self, event: Event) -> str:
        """Keep the first event with an id. `setdefault` is atomic, so threads need no lock."""
        first = self.events.setdefault((event.tenant_id, event.project_id, event.event_id), event)
        return "accepted" if first is event else "duplicate" if first == event else "rejected"

    def query_events(self, query: QueryRequest) -> QueryResponse:
        """Answer by ids, types, statuses, severities and tags. The page token is the place of the last event on the page."""
        wanted, limit, descending = query.filter, query.page_size or 100, query.order_by_time != SORT_ORDER_ASC
        if wanted.text_query or wanted.HasField("time"):
            raise ValidationError("this backend searches neither in texts nor by time")
        ids = [(field.name, value) for field, value in wanted.ListFields() if field.name.endswith("_id")]
        rows = [
            (f"{event.timestamp.ToNanoseconds() + 10**20:021} {key}", event)
            for key, event in list(self.events.items())
            if all(getattr(event, name) == value for name, value in ids)
            and (not wanted.types or event.type in wanted.types)
            and (not wanted.statuses or event.status in wanted.statuses)
            and (not wanted.severities or event.severity in wanted.severities)
            and set(wanted.tags) <= set(event.tags)
        ]
        after, rows = query.page_token, sorted(rows, key=lambda row: row[0], reverse=descending)
        rest = [row for row in rows if not after or (row[0] < after if descending else row[0] > after)]
        return QueryResponse(
            events=[event for _, event in rest[:limit]], next_page_token=rest[limit - 1][0] if len(rest) > limit else ""
        )


if __name__ == "__main__":
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051").rpartition(":")
    server, backend = grpc.server(ThreadPoolExecutor(max_workers=10)), InMemory()
    add_ChaukasServerServiceServicer_to_server(backend, server)
    add_ChaukasClientServiceServicer_to_server(ChaukasClientServicer(backend), server)
    print(f"listening on {host}:{server.add_insecure_port(f'{host}:{port}')}", flush=True)
    server.start()
    server.wait_for_termination()
