"""Questions about words: a mix of rare and frequent ones, phrases, prefixes and scripts, alone and beside other filters."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from bench.plants import SELDOM_EVENTS
from bench.process import raw_call
from bench.questions import Question
from bench.text_plants import FREQUENT_CHARACTER, NEVER_NEIGHBOURS, SELDOM_NUMBER, SELDOM_PHRASE, SELDOM_WORD, SESSIONS_PER_SELDOM
from bench.workload import PROJECT, Workload, shown_us
from chaukas.server.text.expression import TextQuery
from chaukas.spec.common.v1 import query_pb2
from chaukas.spec.server.v1 import server_pb2

__all__ = ["text_questions"]

_PAGE = 100
#: Sessions in the range of time that is asked for.
_RANGE_SESSIONS = 40
_MODEL_START = 20
_ASCENDING, _DESCENDING = query_pb2.SORT_ORDER_ASC, query_pb2.SORT_ORDER_DESC


def text_questions(channel: grpc.Channel, workload: Workload, sessions: int, goal_ms: float) -> list[Question]:
    """All questions about the sessions 0 to `sessions` - 1; second pages are asked for with what a first page answered."""
    return [
        *_words(workload, sessions, goal_ms),
        *_filtered(workload, sessions, goal_ms),
        *_second_pages(channel, goal_ms),
    ]


def _request(text: str, order: query_pb2.SortOrder = _DESCENDING, *, token: str = "", **fields: object) -> bytes:
    scope: dict[str, object] = {"tenant_id": "tenant-0000", "project_id": PROJECT} | fields
    wanted = query_pb2.QueryFilter(text_query=text, **scope)  # type: ignore[arg-type]
    query = query_pb2.QueryRequest(filter=wanted, page_size=_PAGE, order_by_time=order, page_token=token)
    return server_pb2.QueryEventsRequest(query=query).SerializeToString()


def _one(name: str, goal_ms: float, request: bytes, expected: int) -> Question:
    question = Question(name, goal_ms)
    question.add(request, expected)
    return question


def _words(workload: Workload, sessions: int, goal_ms: float) -> Iterator[Question]:
    """What the words alone decide; many matches fill a page of 100."""
    seldom = min(_PAGE, -(-sessions // SESSIONS_PER_SELDOM))
    planted = workload.plants.events
    cases = (
        ("a word of 21 events", "planted", planted),
        ("a word that nobody wrote", "zyzzyva", 0),
        ("a frequent word", "measure", _PAGE),
        ("the most frequent word", "the", _PAGE),
        ("two frequent words", "measure travel", _PAGE),
        ("two frequent words that never meet", "openai anthropic", 0),
        ("a frequent and an absent word", "the zyzzyva", 0),
        ("a frequent phrase", '"of the"', _PAGE),
        ("a seldom phrase of frequent words", f'"{SELDOM_PHRASE}"', seldom),
        ("a phrase that is none, of frequent words", '"prod us"', 0),
        ("a prefix, many matches", "trav*", _PAGE),
        ("a prefix, 21 matches", "plante*", planted),
        ("two Chinese characters side by side, seldom", SELDOM_WORD, seldom),
        ("a frequent Chinese character", FREQUENT_CHARACTER, min(_PAGE, -(-sessions // 50))),
        ("two frequent Chinese characters that never touch", NEVER_NEIGHBOURS, 0),
        ("a seldom number", SELDOM_NUMBER, seldom),
        ("a frequent number", "37", _PAGE),
    )
    for name, text, expected in cases:
        yield _one(name, goal_ms, _request(text), expected)
    yield _one("a word of 21 events, oldest first", goal_ms, _request("planted", _ASCENDING), planted)
    yield _one("a frequent word, oldest first", goal_ms, _request("measure", _ASCENDING), _PAGE)
    yield _one("a frequent word, every tenant", goal_ms, _request("measure", tenant_id="", project_id=""), _PAGE)


def _matches(workload: Workload, numbers: range, text: str) -> int:
    """By the definition of a match, event by event."""
    query = TextQuery.parse(text)
    return sum(query.matches(event) for number in numbers for event in workload.events(number))


def _filtered(workload: Workload, sessions: int, goal_ms: float) -> Iterator[Question]:
    rare, frequent = "planted", "measure"
    seldom_session = workload.plants.identifier("seldom", 1)
    yield _one("a frequent word and a type", goal_ms, _request(frequent, types=[_MODEL_START]), _PAGE)
    yield _one("a frequent word and a seldom type", goal_ms, _request("the", types=[workload.plants.seldom_type]), 0)
    yield _one("a rare word and a frequent type", goal_ms, _request(rare, types=[_MODEL_START]), 0)
    yield _one("a rare word and its session", goal_ms, _request(rare, session_id=seldom_session), SELDOM_EVENTS)
    by_session = Question("a frequent word and a session", goal_ms)
    for number in range(sessions // 16, sessions, max(1, sessions // 16)):
        expected = _matches(workload, range(number, number + 1), frequent)
        by_session.add(_request(frequent, session_id=workload.facts(number).session_id), expected)
    yield by_session
    yield _one("a frequent word and another tenant", goal_ms, _request(frequent, tenant_id="tenant-0001"), 0)
    first = sessions // 3
    start_us, end_us = workload.facts(first).first_us, workload.facts(first + _RANGE_SESSIONS).first_us
    # Neighbouring sessions overlap; those around the range are looked at as well.
    inside = _within(workload, range(max(0, first - 60), first + _RANGE_SESSIONS + 1), frequent, start_us, end_us)
    for name, order in (("newest first", _DESCENDING), ("oldest first", _ASCENDING)):
        made = query_pb2.TimeRange()
        made.start.FromNanoseconds(start_us * 1_000)
        made.end.FromNanoseconds(end_us * 1_000)
        text = f"a frequent word and ten seconds, {name}"
        yield _one(text, goal_ms, _request(frequent, order, time=made), min(_PAGE, inside))


def _within(workload: Workload, numbers: range, text: str, start_us: int, end_us: int) -> int:
    query, found = TextQuery.parse(text), 0
    for number in numbers:
        times = [shown_us(workload.start_us(number) + offset_us) for offset_us, _ in workload.template(number).times]
        # Planted events hold other words.
        events = workload.events(number)[: len(times)]
        found += sum(start_us <= time_us < end_us and query.matches(event) for time_us, event in zip(times, events, strict=True))
    return found


def _second_pages(channel: grpc.Channel, goal_ms: float) -> Iterator[Question]:
    rpc = raw_call(channel, "QueryEvents")
    for name, text in (
        ("a frequent word", "measure"),
        ("two frequent words", "measure travel"),
        ("a frequent phrase", '"of the"'),
    ):
        for shown, order in (("newest first", _DESCENDING), ("oldest first", _ASCENDING)):
            answer = server_pb2.QueryEventsResponse.FromString(rpc(_request(text, order), timeout=60.0))
            token = answer.response.next_page_token
            yield _one(f"{name}, second page, {shown}", goal_ms, _request(text, order, token=token), _PAGE)
