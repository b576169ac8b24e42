"""The questions that are put to a server with many events, each with the answer that it has to give."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc

from bench.load import percentile
from bench.plants import SELDOM_EVENTS, PlantPlan
from bench.process import raw_call
from bench.workload import PROJECT, Workload, shown_us
from chaukas.spec.common.v1 import query_pb2
from chaukas.spec.server.v1 import server_pb2

__all__ = ["Answered", "Question", "ask", "questions"]

#: Where a server tells how long it worked on a question, in milliseconds.
SERVER_TIME_KEY = "x-chaukas-server-ms"

_HOUR_US = 3_600 * 1_000_000
_PAGE = 100
_WARM_UP = 3


@dataclass
class Question:
    """Requests of one kind, with the number of events that each has to answer (statistics: to count)."""

    name: str
    goal_ms: float
    method: str = "QueryEvents"
    requests: list[bytes] = field(default_factory=list)
    expected: list[int] = field(default_factory=list)

    def add(self, request: bytes, expected: int) -> None:
        """One more request, and what it has to answer."""
        self.requests.append(request)
        self.expected.append(expected)


@dataclass
class Answered:
    """How a question was answered."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    first_ms: float
    #: "server" when the server told its own time, else "client": with the network, over a warm connection.
    clock: str
    times_ms: list[float]
    wrong: list[str]

    @property
    def calls(self) -> int:
        """How often the question was put and timed."""
        return len(self.times_ms)


def ask(channel: grpc.Channel, question: Question, calls: int, budget_s: float = 8.0, warm_up: int = _WARM_UP) -> Answered:
    """Put the question `calls` times, one after the other, its requests in turn; fewer when the time is over, but once."""
    rpc = raw_call(channel, question.method)
    took: list[float] = []
    server: list[float] = []
    wrong: list[str] = []
    end = time.monotonic() + budget_s
    for number in range(calls + warm_up):
        place = number % len(question.requests)
        began = time.perf_counter()
        answer, call = rpc.with_call(question.requests[place], timeout=60.0)
        took.append((time.perf_counter() - began) * 1_000)
        for key, value in call.trailing_metadata() or ():
            if key == SERVER_TIME_KEY:
                server.append(float(value))
        if (given := _size(question.method, answer)) != question.expected[place] and len(wrong) < 3:
            wrong.append(f"{question.name}: {given} instead of {question.expected[place]}")
        if time.monotonic() > end and number >= warm_up:
            break
    times, clock = (server, "server") if len(server) == len(took) else (took, "client")
    kept = times[warm_up:]
    return Answered(percentile(kept, 50), percentile(kept, 95), percentile(kept, 99), times[0], clock, kept, wrong)


def _size(method: str, answer: bytes) -> int:
    if method == "QueryEvents":
        return len(server_pb2.QueryEventsResponse.FromString(answer).response.events)
    return int(server_pb2.GetEventStatsResponse.FromString(answer).total_events)


def questions(workload: Workload, sessions: int) -> list[Question]:
    """All questions about a store that holds the sessions 0 to `sessions` - 1 and what is planted among them."""
    return [
        *_by_session(workload, sessions),
        *_by_filter(workload, sessions),
        *_by_time(workload, sessions),
        *_statistics(workload, sessions),
    ]


def _filter(**fields: object) -> query_pb2.QueryFilter:
    return query_pb2.QueryFilter(tenant_id="tenant-0000", project_id=PROJECT, **fields)  # type: ignore[arg-type]


def _page(query: query_pb2.QueryFilter) -> bytes:
    request = server_pb2.QueryEventsRequest(query=query_pb2.QueryRequest(filter=query, page_size=_PAGE))
    return request.SerializeToString()


def _one(name: str, goal_ms: float, query: query_pb2.QueryFilter, expected: int) -> Question:
    question = Question(name, goal_ms)
    question.add(_page(query), expected)
    return question


def _by_session(workload: Workload, sessions: int) -> Iterator[Question]:
    by_session, by_trace, by_span = (
        Question("session of 20", 3.0),
        Question("trace of 20", 3.0),
        Question("span, two matches", 30.0),
    )
    for number in range(0, sessions, max(1, sessions // 64)):
        facts = workload.facts(number)
        by_session.add(_page(_filter(session_id=facts.session_id)), 20)
        by_trace.add(_page(_filter(trace_id=facts.trace_id)), 20)
        by_span.add(_page(_filter(span_id=facts.span_id)), 2)
    planted = workload.plants.identifier
    absent = "01a00000-0000-7000-8000-000000000000"
    yield by_session
    yield _one("session of 20 events in 20 commits", 3.0, _filter(session_id=planted("seldom", 1)), SELDOM_EVENTS)
    yield _one("session, zero matches", 3.0, _filter(session_id=absent), 0)
    yield by_trace
    yield _one("trace of 20 events in 20 commits", 3.0, _filter(trace_id=planted("seldom", 2)), SELDOM_EVENTS)
    yield _one("trace, zero matches", 3.0, _filter(trace_id=absent), 0)
    yield _one("newest page of 100", 10.0, _filter(), _PAGE)
    yield by_span
    yield _one("span, 20 matches in 20 commits", 30.0, _filter(span_id=planted("seldom", 3)), SELDOM_EVENTS)
    yield _one("span, one match", 30.0, _filter(span_id=planted("rare", 3)), 1)
    yield _one("span, zero matches", 30.0, _filter(span_id=absent), 0)


def _by_filter(workload: Workload, sessions: int) -> Iterator[Question]:
    """Each filter with many matches, twenty far apart, one, and none. MODEL_INVOCATION_START, COMPLETED and INFO are frequent."""
    plants: PlantPlan = workload.plants
    cases: dict[str, tuple[Callable[[object], query_pb2.QueryFilter], tuple[object, object, object, object]]] = {
        "agent": (
            lambda value: _filter(agent_id=value),
            (workload.facts(sessions // 3).agent, plants.seldom_agent, plants.rare_agent, "nobody"),
        ),
        "type": (lambda value: _filter(types=[value]), (20, plants.seldom_type, plants.rare_type, 61)),
        "status": (lambda value: _filter(statuses=[value]), (3, plants.seldom_status, plants.rare_status, 2)),
        "severity": (lambda value: _filter(severities=[value]), (2, plants.seldom_severity, plants.rare_severity, 1)),
        "tag": (lambda value: _filter(tags=[value]), ("prod", plants.seldom_tag, plants.rare_tag, "absent")),
    }
    for name, (make, values) in cases.items():
        for value, how_many, expected in zip(
            values,
            ("many matches", "20 matches in 20 commits", "one match", "zero matches"),
            (_PAGE, SELDOM_EVENTS, 1, 0),
            strict=True,
        ):
            yield _one(f"{name}, {how_many}", 30.0, make(value), expected)


def _range(start_us: int, end_us: int, *, start_ns: int = 0, end_ns: int = 0) -> query_pb2.TimeRange:
    made = query_pb2.TimeRange()
    made.start.FromNanoseconds(start_us * 1_000 + start_ns)
    made.end.FromNanoseconds(end_us * 1_000 + end_ns)
    return made


def _whole_hours(workload: Workload, sessions: int) -> tuple[int, int]:
    """The whole hours within the workload; the only hour there is when it is shorter than two."""
    first, last = workload.facts(0).first_us, workload.facts(sessions - 1).last_us
    start, end = -(-first // _HOUR_US) * _HOUR_US, last // _HOUR_US * _HOUR_US
    if end <= start:
        start = first // _HOUR_US * _HOUR_US
        end = start + _HOUR_US
    return start, end


def _by_time(workload: Workload, sessions: int) -> Iterator[Question]:
    middle_us = shown_us(workload.start_us(workload.plants.rare_at)) + 1
    span_us = workload.start_us(sessions) - workload.start_us(0)
    many = Question("time range, many matches", 30.0)
    for part in range(2, 8):
        start_us = workload.start_us(0) + span_us * part // 10 + 123_456
        many.add(_page(_filter(time=_range(start_us, start_us + span_us // 9))), _PAGE)
    yield many
    yield _one("time range, one match", 30.0, _filter(time=_range(middle_us, middle_us + 1)), 1)
    yield _one("time range, zero matches", 30.0, _filter(time=_range(middle_us, middle_us, start_ns=1, end_ns=900)), 0)


def _statistics(workload: Workload, sessions: int) -> Iterator[Question]:
    def request(time_range: query_pb2.TimeRange | None) -> bytes:
        made = server_pb2.GetEventStatsRequest(tenant_id="tenant-0000", project_id=PROJECT, time_range=time_range)
        return made.SerializeToString()

    everything = Question("statistics, no range", 5.0, "GetEventStats")
    everything.add(request(None), sessions * 20 + workload.plants.events)
    yield everything
    start_us, end_us = _whole_hours(workload, sessions)
    hours = Question("statistics, whole hours", 5.0, "GetEventStats")
    hours.add(request(_range(start_us, end_us)), workload.count_between(sessions, start_us, end_us))
    one_hour = start_us + _HOUR_US
    hours.add(request(_range(start_us, one_hour)), workload.count_between(sessions, start_us, one_hour))
    yield hours
    odd = Question("statistics, other range", 50.0, "GetEventStats")
    span_us = workload.start_us(sessions) - workload.start_us(0)
    for part in (1, 3, 4):
        begin = workload.start_us(0) + span_us * part // 11 + 7_777
        end = workload.start_us(0) + span_us * (part + 5) // 11 + 3_333
        odd.add(request(_range(begin, end)), workload.count_between(sessions, begin, end))
    yield odd
