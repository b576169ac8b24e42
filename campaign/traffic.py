"""Ordinary clients at a steady pace: what servers see all day. Each request's time is kept.

Sessions are those of `bench.workload`. Most events come as `chaukas-sdk` posts them (1 to 20 at a time, over one connection that
is kept), some one by one, some in batches of 100 over gRPC; meanwhile others ask, and one follows what arrives. A request's time
counts from the moment at which it was due, so that waiting behind a slow answer counts too.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc

from bench.workload import Workload, WorkloadSpec
from chaukas.spec.common.v1.events_pb2 import EventType
from chaukas.spec.common.v1.query_pb2 import QueryFilter, QueryRequest
from chaukas.spec.server.v1 import server_pb2, server_pb2_grpc
from tests.acceptance.started_server import StartedServer
from tests.strategies import batch_body

__all__ = ["Sample", "Traffic"]

_TIMEOUT_S = 60.0
_SERVICE = "/chaukas.spec.server.v1.ChaukasServerService/"
_HEADERS = {"Content-Type": "application/x-protobuf", "Authorization": "Bearer campaign", "User-Agent": "chaukas-campaign"}
#: Shares of the events by their way in.
_POSTED, _SINGLE, _BATCHED = 0.6, 0.1, 0.3
_POSTED_AT_ONCE = (1, 2, 3, 5, 8, 13, 20, 20)
_QUESTIONS_PER_S = 8.0
_POSTERS = 3
_EXPRESSIONS = ("refund", "order custom*", '"the customer"', "zzz-not-there", "東京")


class Sample(NamedTuple):
    """One request: when it ended (seconds of the steady clock), what it was, how long it took."""

    at_s: float
    kind: str
    took_s: float


@dataclass
class Traffic:
    """Threads that send and ask until they are told to stop."""

    server: StartedServer
    events_per_s: float
    seed: int
    samples: list[Sample] = field(default_factory=list)
    acknowledged: int = 0
    #: Events that the follower has heard of.
    heard: int = 0
    #: Answers other than those that were wanted.
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._workload = Workload(WorkloadSpec(seed=self.seed, tenants=4))
        self._sessions = itertools.count()
        self._known = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        works = [self._posts] * _POSTERS + [self._singles, self._batches, self._questions, self._tail]
        self._threads = [threading.Thread(target=self._work, args=(work, number)) for number, work in enumerate(works)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; everything that was under way is answered first."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S)

    def took_s(self, kind: str, since_s: float = 0.0, until_s: float = float("inf")) -> list[float]:
        """The times of requests of a kind ("send", "ask") that ended in this span."""
        return [sample.took_s for sample in self.samples if sample.kind == kind and since_s <= sample.at_s < until_s]

    def _work(self, work: Callable[[random.Random], None], number: int) -> None:
        try:
            work(random.Random(f"{self.seed}-{number}"))
        except Exception as error:  # noqa: BLE001  a client that ends without a word would keep all its bounds
            self.problems.append(f"{work.__name__}: {error!r}")

    def _session(self) -> int:
        number = next(self._sessions)
        # The one before the last few is stored as a whole by now, for questions.
        self._known = max(self._known, number - 2 * _POSTERS)
        return number

    def _paced(self, kind: str, per_s: float, call: Callable[[], int]) -> None:
        """Call at this rate until the end; `call` returns the number of events that were acknowledged."""
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            acknowledged = call()
            ended = time.monotonic()
            with self._lock:
                self.samples.append(Sample(ended, kind, ended - due))
                self.acknowledged += acknowledged
            due += 1 / per_s

    def _posts(self, chance: random.Random) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=_TIMEOUT_S)
        waiting: list[bytes] = []

        def post() -> int:
            nonlocal waiting
            if not waiting:
                waiting = self._workload.events(self._session())
            count = chance.choice(_POSTED_AT_ONCE)
            events, waiting = waiting[:count], waiting[count:]
            connection.request("POST", "/v1/events/batch", batch_body(events), _HEADERS)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 202 or (accepted := json.loads(content)["accepted_count"]) != len(events):
                self.problems.append(f"HTTP {answer.status}: {content[:200]!r}")
                return 0
            return int(accepted)

        mean = sum(_POSTED_AT_ONCE) / len(_POSTED_AT_ONCE) * 0.8
        self._paced("send", self.events_per_s * _POSTED / _POSTERS / mean, post)

    def _singles(self, _: random.Random) -> None:
        waiting: list[bytes] = []
        with grpc.insecure_channel(self.server.grpc_target) as channel:
            rpc: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_SERVICE + "IngestEvent")

            def send() -> int:
                if not waiting:
                    waiting.extend(request.body for request in self._workload.singles(self._session()))
                answer = server_pb2.IngestEventResponse.FromString(rpc(waiting.pop(0), timeout=_TIMEOUT_S))
                return int(answer.status == "accepted")

            self._paced("send", self.events_per_s * _SINGLE, send)

    def _batches(self, _: random.Random) -> None:
        with grpc.insecure_channel(self.server.grpc_target) as channel:
            rpc: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_SERVICE + "IngestEventBatch")

            def send() -> int:
                sessions = [self._workload.events(self._session()) for _ in range(5)]
                body = batch_body([event for events in sessions for event in events])
                return server_pb2.IngestEventBatchResponse.FromString(rpc(body, timeout=_TIMEOUT_S)).accepted_count

            self._paced("send", self.events_per_s * _BATCHED / 100, send)

    def _tail(self, _: random.Random) -> None:
        """Follow one tenant; a line of the stream that begins an event's data is one event."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=_TIMEOUT_S)
        connection.request("GET", f"/v1/tail?tenant_id={self._workload.tenant(0)}")
        answer = connection.getresponse()
        if answer.status != 200:
            self.problems.append(f"tail: HTTP {answer.status}: {answer.read(200)!r}")
            return
        while not self._stop.is_set():
            self.heard += answer.readline().startswith(b"data:")
        connection.close()

    def _questions(self, chance: random.Random) -> None:
        options = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(self.server.grpc_target, options=options) as channel:
            stub = server_pb2_grpc.ChaukasServerServiceStub(channel)

            def ask() -> int:
                facts = self._workload.facts(chance.randrange(max(1, self._known)))
                wanted = QueryFilter(tenant_id=facts.tenant)
                match chance.randrange(8):
                    case 0:
                        stub.GetEventStats(server_pb2.GetEventStatsRequest(tenant_id=facts.tenant), timeout=_TIMEOUT_S)
                        return 0
                    case 1:
                        wanted.session_id = facts.session_id
                    case 2:
                        wanted.trace_id = facts.trace_id
                    case 3:
                        wanted.agent_id = facts.agent
                    case 4:
                        wanted.types.append(chance.choice((EventType.EVENT_TYPE_TOOL_CALL_START, EventType.EVENT_TYPE_ERROR)))
                    case 5 | 6:
                        wanted.text_query = chance.choice(_EXPRESSIONS)
                    case _:
                        wanted.time.start.FromMicroseconds(facts.first_us)
                        wanted.time.end.FromMicroseconds(facts.last_us)
                stub.QueryEvents(server_pb2.QueryEventsRequest(query=QueryRequest(filter=wanted)), timeout=_TIMEOUT_S)
                return 0

            self._paced("ask", _QUESTIONS_PER_S, ask)
