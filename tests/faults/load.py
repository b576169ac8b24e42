"""Load on a server that may die at any moment: what was sent, what was acknowledged, and whether the record agrees."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

import grpc
import httpx

from chaukas.server.testing import make_event
from chaukas.spec.client.v1 import client_pb2
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import SORT_ORDER_ASC, QueryFilter, QueryRequest
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from tests.acceptance.started_server import StartedServer

__all__ = ["Load", "all_events", "as_sent", "digest_of", "each_event"]

_PROTOBUF = {"content-type": "application/x-protobuf"}
_BASE_NS = 1_700_000_000_000_000_000


def as_sent(event: Event) -> bytes:
    """The deterministic bytes of an event without the values that the server sets in answers."""
    plain = Event()
    plain.CopyFrom(event)
    for name in ("content_hash", "hash_prev", "worm_proof_id", "server_timestamp"):
        plain.ClearField(name)
    return plain.SerializeToString(deterministic=True)


def digest_of(sent: bytes) -> bytes:
    """What is remembered of the bytes of an event: a long run sends more than memory should hold."""
    return sha256(sent).digest()


def _event(chance: random.Random, name: str, tag: str) -> Event:
    """With nested data, many words, and sometimes large."""
    event = make_event(
        name,
        tenant_id=chance.choice(("acme", "other")),
        project_id=chance.choice(("shop", "web")),
        session_id=f"session-{chance.randrange(200)}",
        trace_id=f"trace-{chance.randrange(1_000)}",
        span_id=f"span-{name}",
        tags=[*chance.sample(("a", "b", "c", "d"), chance.randrange(4)), tag],
        type=chance.choice((1, 2, 20, 21, 22, 63)),
        at_ns=_BASE_NS + chance.randrange(10**13),
        text=" ".join(chance.choice(("what", "agents", "do", "\N{ROBOT FACE}")) for _ in range(chance.choice((1, 20, 200)))),
    )
    event.metadata.update({f"k{chance.random()}": {"list": [1, None, True, {"x": name}]}, "b": "", "a": chance.random()})
    return event


class _RefusedError(Exception):
    """An answer over HTTP that says: not stored, the server's trouble."""


def _is_refusal(error: Exception) -> bool:
    """Whether the server answered clearly that it could not store the request."""
    if isinstance(error, grpc.RpcError):
        return error.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED}
    return isinstance(error, _RefusedError)


@dataclass
class Load:
    """Senders and askers in threads. Every one of them stops at the first error: the server is dead then.

    A `patient` load goes on where the server says clearly that it could not store a request: it counts the refusal and sends
    something else after a while.
    """

    server: StartedServer
    seed: int
    patient: bool = False
    #: Digests of the bytes of each event.
    sent: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    #: What was acknowledged since the last start; all of it carries the tag `tag`.
    acknowledged_in_round: set[str] = field(default_factory=set)
    refused: int = 0
    #: What was wrong while the server lived.
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._round = 0

    @property
    def _kept(self) -> set[str]:
        """What a new event may answer: a commit that was stored but reported as failed is tried again by the server itself."""
        return {"accepted", "duplicate"} if self.patient else {"accepted"}

    @property
    def tag(self) -> str:
        """A tag that all events of this round carry, and no others."""
        return f"round-{self._round}"

    def start(self) -> None:
        """Begin, against the server as it stands now."""
        self._stop.clear()
        self._round += 1
        self.acknowledged_in_round = set()
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
        chance = random.Random(f"{self.seed}-{self._round}-{number}")
        while not self._stop.is_set():
            try:
                work(chance, f"{self._round}-{number}")
            except (grpc.RpcError, httpx.HTTPError, _RefusedError) as error:
                if not (self.patient and _is_refusal(error)):
                    self._note(error)
                    return
                self.refused += 1
                self._stop.wait(0.05)

    def _note(self, error: Exception) -> None:
        """An error is a problem only when the server lives. The kill may come between the error and the look at the process."""
        for wait_s in (0, 0.5):
            time.sleep(wait_s)
            if self.server.process is None or self.server.process.poll() is not None or self._stop.is_set():
                return
        self.problems.append(repr(error))

    def _fresh(self, chance: random.Random, prefix: str, count: int) -> list[Event]:
        events = [_event(chance, f"{prefix}-{chance.getrandbits(80):x}", self.tag) for _ in range(count)]
        self.sent.update({event.event_id: digest_of(as_sent(event)) for event in events})
        return events

    def _taken(self, events: list[Event]) -> None:
        names = [event.event_id for event in events]
        self.acknowledged.update(names)
        self.acknowledged_in_round.update(names)

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
                    if call.result().status not in self._kept:
                        self.problems.append(f"not accepted: {call.result()}")
                    self._taken([event])

    def _http_posts(self, chance: random.Random, prefix: str) -> None:
        with httpx.Client(base_url=self.server.http_url, timeout=60) as client:
            while not self._stop.is_set():
                events = self._fresh(chance, prefix, 20)
                body = client_pb2.IngestEventBatchRequest(event_batch=EventBatch(batch_id=prefix, events=events))
                answer = client.post("/v1/events/batch", content=body.SerializeToString(), headers=_PROTOBUF)
                if answer.status_code in {500, 503}:
                    raise _RefusedError(answer.text)
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
                wanted = QueryFilter(
                    tenant_id="acme", text_query=chance.choice(("agents", '"what agents"', "agen* do", "nobody"))
                )
                stub.QueryEvents(server_pb2.QueryEventsRequest(query=QueryRequest(filter=wanted)), timeout=60)
                time.sleep(0.02)

    def assert_all_there(self) -> int:
        """Everything acknowledged is there, once, with its bytes; whatever else is there was sent. The number of events."""
        stored = self._assert_there(self.acknowledged)
        with grpc.insecure_channel(self.server.grpc_target) as channel:
            stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
            assert stub.GetEventStats(server_pb2.GetEventStatsRequest()).total_events == stored
        return stored

    def assert_round_there(self) -> int:
        """The same for the events of this round, found by their tag and by its words: quick, however large the record is."""
        self._assert_there(self.acknowledged_in_round, text_query=f'"{self.tag}"')
        return self._assert_there(self.acknowledged_in_round, tags=[self.tag])

    def _assert_there(self, acknowledged: set[str], **wanted: object) -> int:
        found: set[str] = set()
        twice, changed = [], []
        for event in each_event(self.server, **wanted):
            if event.event_id in found:
                twice.append(event.event_id)
            if self.sent[event.event_id] != digest_of(as_sent(event)):
                changed.append(event.event_id)
            found.add(event.event_id)
        assert not twice, f"{len(twice)} events are there twice, {twice[:3]}"
        lost = acknowledged - found
        assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged events are lost, {sorted(lost)[:3]}"
        assert not changed, f"{len(changed)} events have other bytes than were sent, {changed[:3]}"
        return len(found)


def all_events(server: StartedServer, *, tenant_id: str = "") -> list[Event]:
    """Everything the server has (of the tenant)."""
    return list(each_event(server, tenant_id=tenant_id))


def each_event(server: StartedServer, **wanted: object) -> Iterator[Event]:
    """Everything that matches these fields of a `QueryFilter`, page by page, oldest first."""
    with grpc.insecure_channel(server.grpc_target, options=[("grpc.max_receive_message_length", -1)]) as channel:
        stub = server_pb2_grpc.ChaukasServerServiceStub(channel)
        query = QueryRequest(filter=QueryFilter(**wanted), page_size=1_000, order_by_time=SORT_ORDER_ASC)  # type: ignore[arg-type]
        while True:
            response = stub.QueryEvents(server_pb2.QueryEventsRequest(query=query), timeout=60).response
            yield from response.events
            if not response.next_page_token:
                return
            query.page_token = response.next_page_token
