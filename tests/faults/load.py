"""Load on a server that may die at any moment: what was sent, what was acknowledged, and whether the record agrees."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import httpx

from chaukas.server.testing import make_event
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import SORT_ORDER_ASC, QueryFilter, QueryRequest
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from tests.acceptance.started_server import StartedServer

__all__ = ["Load", "all_events", "as_sent"]

_PROTOBUF = {"content-type": "application/x-protobuf"}
_BASE_NS = 1_700_000_000_000_000_000


def as_sent(event: Event) -> bytes:
    """The deterministic bytes of an event without the values that the server sets in answers."""
    plain = Event()
    plain.CopyFrom(event)
    for name in ("content_hash", "hash_prev", "worm_proof_id", "server_timestamp"):
        plain.ClearField(name)
    return plain.SerializeToString(deterministic=True)


def _event(chance: random.Random, name: str) -> Event:
    """With nested data, many words, and sometimes large."""
    event = make_event(
        name,
        tenant_id=chance.choice(("acme", "other")),
        project_id=chance.choice(("shop", "web")),
        session_id=f"session-{chance.randrange(200)}",
        trace_id=f"trace-{chance.randrange(1_000)}",
        span_id=f"span-{name}",
        tags=chance.sample(("a", "b", "c", "d"), chance.randrange(4)),
        type=chance.choice((1, 2, 20, 21, 22, 63)),
        at_ns=_BASE_NS + chance.randrange(10**13),
        text=" ".join(chance.choice(("what", "agents", "do", "\N{ROBOT FACE}")) for _ in range(chance.choice((1, 20, 200)))),
    )
    event.metadata.update({f"k{chance.random()}": {"list": [1, None, True, {"x": name}]}, "b": "", "a": chance.random()})
    return event


@dataclass
class Load:
    """Senders and askers in threads. Every one of them stops at the first error: the server is dead then."""

    server: StartedServer
    seed: int
    sent: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    #: What was wrong while the server lived.
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._round = 0

    def start(self) -> None:
        """Begin, against the server as it stands now."""
        self._stop.clear()
        self._round += 1
        works = [self._grpc_batches, self._grpc_batches, self._grpc_singles, self._http_posts, self._http_posts, self._questions]
        self._threads = [threading.Thread(target=self._work, args=(work, number)) for number, work in enumerate(works)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait until nothing is sent any more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _work(self, work: Callable[[random.Random, str], None], number: int) -> None:
        try:
            work(random.Random(f"{self.seed}-{self._round}-{number}"), f"{self._round}-{number}")
        except (grpc.RpcError, httpx.HTTPError) as error:
            if self.server.process is not None and self.server.process.poll() is None and not self._stop.is_set():
                # The kill may come between the error and this look at the process.
                time.sleep(0.5)
                if self.server.process is not None and self.server.process.poll() is None and not self._stop.is_set():
                    self.problems.append(repr(error))

    def _fresh(self, chance: random.Random, prefix: str, count: int) -> list[Event]:
        events = [_event(chance, f"{prefix}-{chance.getrandbits(80):x}") for _ in range(count)]
        self.sent.update({event.event_id: as_sent(event) for event in events})
        return events

    def _taken(self, events: list[Event]) -> None:
        self.acknowledged.update([event.event_id for event in events])

    def _grpc_batches(self, chance: random.Random, prefix: str) -> None:
        with grpc.insecure_channel(self.server.grpc_target) as channel:
            stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
            events: list[Event] = []
            while not self._stop.is_set():
                # Every now and then a batch comes twice, as after an answer that was lost.
                if not events or chance.random() < 0.9:
                    events = self._fresh(chance, prefix, chance.choice((1, 10, 100, 300)))
                batch = EventBatch(batch_id=prefix, events=events)
                answer = stub.IngestEventBatch(server_pb2.IngestEventBatchRequest(event_batch=batch), timeout=60)
                if answer.rejected_count:
                    self.problems.append(f"rejected: {answer}")
                self._taken(events)

    def _grpc_singles(self, chance: random.Random, prefix: str) -> None:
        with grpc.insecure_channel(self.server.grpc_target) as channel:
            stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
            while not self._stop.is_set():
                events = self._fresh(chance, prefix, 8)
                calls = [stub.IngestEvent.future(server_pb2.IngestEventRequest(event=event), timeout=60) for event in events]
                for event, call in zip(events, calls, strict=True):
                    if call.result().status != "accepted":
                        self.problems.append(f"not accepted: {call.result()}")
                    self._taken([event])

    def _http_posts(self, chance: random.Random, prefix: str) -> None:
        with httpx.Client(base_url=self.server.http_url, timeout=60) as client:
            while not self._stop.is_set():
                events = self._fresh(chance, prefix, 20)
                body = client_pb2.IngestEventBatchRequest(event_batch=EventBatch(batch_id=prefix, events=events))
                answer = client.post("/v1/events/batch", content=body.SerializeToString(), headers=_PROTOBUF)
                if answer.status_code != 202:
                    self.problems.append(answer.text)
                else:
                    self._taken(events)

    def _questions(self, chance: random.Random, _: str) -> None:
        with grpc.insecure_channel(self.server.grpc_target) as channel:
            stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
            while not self._stop.is_set():
                known = len(self.acknowledged)
                total = stub.GetEventStats(server_pb2.GetEventStatsRequest(), timeout=60).total_events
                if total < known:
                    self.problems.append(f"{known} events were acknowledged, {total} are counted")
                wanted = QueryFilter(session_id=f"session-{chance.randrange(200)}", tags=["a"])
                stub.QueryEvents(server_pb2.QueryEventsRequest(query=QueryRequest(filter=wanted)), timeout=60)
                time.sleep(0.02)


def all_events(server: StartedServer, *, tenant_id: str = "") -> list[Event]:
    """Everything the server has (of the tenant), page by page."""
    with grpc.insecure_channel(server.grpc_target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
        query = QueryRequest(filter=QueryFilter(tenant_id=tenant_id), page_size=1_000, order_by_time=SORT_ORDER_ASC)
        events: list[Event] = []
        while True:
            response = stub.QueryEvents(server_pb2.QueryEventsRequest(query=query), timeout=60).response
            events += response.events
            if not response.next_page_token:
                return events
            query.page_token = response.next_page_token
