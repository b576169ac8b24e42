from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaukas.server import query as query_module
from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.errors import InvalidRequestError, PermissionDeniedError, StorageError
from chaukas.server.query import QueryEngine, QueryLimits, answer_event, time_range_ns
from chaukas.server.storage.contract import EventFilter, Page, PageRequest, Position, StoredEvent
from chaukas.server.testing.memory_store import MemoryStore
from chaukas.server.testing.records import make_record
from chaukas.server.text.expression import TextQuery
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryRequest, SortOrder, TimeRange

pytestmark = pytest.mark.anyio

_SECRET = bytes(range(32))
_SECOND_NS = 1_000_000_000


class Recorder:
    """A reader that remembers what it was asked and answers with what it was given."""

    def __init__(self, page: Page | None = None) -> None:
        self.requests: list[PageRequest] = []
        self.counted: list[EventFilter] = []
        self.page = page or Page([], more=False)

    async def query(self, request: PageRequest) -> Page:
        self.requests.append(request)
        return self.page

    async def count(self, filter: EventFilter) -> int:
        self.counted.append(filter)
        return 4711


def request(page_size: int = 0, page_token: str = "", **filter_fields: object) -> QueryRequest:
    made = QueryRequest(page_size=page_size, page_token=page_token)
    for name, value in filter_fields.items():
        if isinstance(value, list):
            getattr(made.filter, name).extend(value)
        else:
            setattr(made.filter, name, value)
    return made


def stored(index: int, text: str = "hello", log_id: int = 7) -> StoredEvent:
    record = make_record(f"e{index}", text=text, at_ns=index * 1_000)
    position = Position(record.timestamp_us, record.timestamp_sub_ns, log_id, index)
    return StoredEvent(position, "chaukas.localhost/events/acme", record.stored, 12_345_678_901, b"\x01" * 32 if index else b"")


async def seeded(count: int) -> MemoryStore:
    store = MemoryStore()
    await store.open()
    await store.append([make_record(f"e{index:04d}", at_ns=(index % 7) * _SECOND_NS) for index in range(count)])
    return store


async def walk(engine: QueryEngine, query: QueryRequest, sizes: Callable[[int], int]) -> list[str]:
    """The ids of all pages, one after another."""
    ids: list[str] = []
    for page_number in range(1000):
        query.page_size = sizes(page_number)
        answer = await engine.query(query, ANONYMOUS)
        ids += [event.event_id for event in answer.events]
        if not answer.has_more:
            return ids
        query.page_token = answer.next_page_token
    raise AssertionError("the pages never end")


async def test_a_page_has_a_hundred_events_newest_first_unless_asked_otherwise() -> None:
    """page_size 0 means 100, and the order of time is descending."""
    reader = Recorder()
    await QueryEngine(reader, _SECRET).query(QueryRequest(), ANONYMOUS)
    assert reader.requests == [PageRequest(EventFilter(), 100, 3 * 1024 * 1024, descending=True, after=None)]


async def test_every_filter_of_the_contract_reaches_the_store() -> None:
    """No part of a question is dropped on the way."""
    reader = Recorder()
    asked = request(
        page_size=1000,
        tenant_id="t",
        project_id="p",
        session_id="s",
        agent_id="a",
        span_id="sp",
        trace_id="tr",
        types=[1, 999],
        statuses=[3, 0],
        severities=[2],
        tags=["x", "y", "x"],
    )
    asked.filter.time.start.FromNanoseconds(5)
    asked.filter.time.end.FromNanoseconds(-1)
    asked.filter.time.end.FromNanoseconds(7)
    asked.order_by_time = SortOrder.SORT_ORDER_ASC
    await QueryEngine(reader, _SECRET).query(asked, ANONYMOUS)
    expected = EventFilter(
        "t",
        "p",
        "s",
        "a",
        "sp",
        "tr",
        frozenset({1, 999}),
        frozenset({3, 0}),
        frozenset({2}),
        frozenset({"x", "y"}),
        5,
        7,
    )
    assert reader.requests == [PageRequest(expected, 1000, 3 * 1024 * 1024, descending=False, after=None)]


async def test_session_id_is_a_shorthand_and_a_conflict_is_an_error() -> None:
    """The documented `query.session_id` filters like `filter.session_id`, and never quietly loses against it."""
    reader = Recorder()
    engine = QueryEngine(reader, _SECRET)
    await engine.query(QueryRequest(session_id="s"), ANONYMOUS)
    same = request(session_id="s")
    same.session_id = "s"
    await engine.query(same, ANONYMOUS)
    assert [each.filter.session_id for each in reader.requests] == ["s", "s"]
    same.session_id = "other"
    with pytest.raises(InvalidRequestError, match=r"filter\.session_id"):
        await engine.query(same, ANONYMOUS)


def test_the_additions_are_found_where_the_message_does_not_declare_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the published common modules installed, the shorthand narrows the question all the same."""
    monkeypatch.setattr(query_module, "_REQUEST_HAS_ADDITIONS", False)
    # TimeRange stands for a QueryRequest that does not know the fields: a string 1000, a bool 1001, and another one.
    assert query_module._additions(TimeRange.FromString(b"\xc2\x3e\x02s1\xc8\x3e\x01\xd0\x3e\x05")) == ("s1", True)
    assert query_module._additions(TimeRange()) == ("", False)
    with pytest.raises(InvalidRequestError, match="session_id: is not UTF-8"):
        query_module._additions(TimeRange.FromString(b"\xc2\x3e\x01\xff"))


async def test_a_text_query_becomes_part_of_the_filter() -> None:
    """Words are parsed within the limits of the engine; an empty text is no condition."""
    reader = Recorder()
    engine = QueryEngine(reader, _SECRET, QueryLimits(text_query_chars_max=20, text_clauses_max=2))
    await engine.query(request(text_query='Refund "not found"*'), ANONYMOUS)
    await engine.query(request(text_query=""), ANONYMOUS)
    assert [asked.filter.text for asked in reader.requests] == [TextQuery.parse('refund "not found"*'), None]
    for wrong in ("x" * 21, "a b c"):
        with pytest.raises(InvalidRequestError, match="at most 2"):
            await engine.query(request(text_query=wrong), ANONYMOUS)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (request(page_size=-1), "page_size"),
        (request(page_size=1001), "page_size"),
        (request(text_query='!!! ""'), "filter.text_query"),
        (request(text_query="x" * 1025), "filter.text_query"),
        (request(text_query=" ".join(map(str, range(33)))), "filter.text_query"),
        (request(types=[1] * 1001), "filter.types"),
        (request(tags=["x"] * 1001), "filter.tags"),
        (QueryRequest.FromString(b"\x20\x09"), "order_by_time"),
    ],
)
async def test_what_is_not_allowed_is_refused_with_its_name(asked: QueryRequest, field: str) -> None:
    """A question that cannot be answered as it was asked is never answered as another one."""
    reader = Recorder()
    with pytest.raises(InvalidRequestError) as caught:
        await QueryEngine(reader, _SECRET).query(asked, ANONYMOUS)
    assert caught.value.field == field
    assert reader.requests == []


def test_a_time_range_is_half_open_and_checked() -> None:
    """Empty ranges are questions, backward ones and impossible times are mistakes."""
    assert time_range_ns("time", TimeRange()) == (None, None)
    equal = TimeRange()
    equal.start.FromNanoseconds(-1)
    equal.end.FromNanoseconds(-1)
    assert time_range_ns("time", equal) == (-1, -1)
    equal.end.FromNanoseconds(-2)
    with pytest.raises(InvalidRequestError, match="time: start is after end"):
        time_range_ns("time", equal)
    for seconds, nanos in ((253_402_300_800, 0), (-62_135_596_801, 0), (0, -1), (0, 1_000_000_000)):
        odd = TimeRange()
        odd.end.seconds, odd.end.nanos = seconds, nanos
        with pytest.raises(InvalidRequestError, match=r"filter\.time\.end"):
            time_range_ns("filter.time", odd)


async def test_nobody_asks_beyond_their_scope() -> None:
    """A caller bound to a tenant and project sees these, whatever the filter leaves open, and no other."""
    reader = Recorder()
    engine = QueryEngine(reader, _SECRET)
    bound = Principal("key", tenant_id="acme", project_id="shop")
    await engine.query(QueryRequest(), bound)
    await engine.query(request(tenant_id="acme", project_id="shop"), bound)
    assert all((each.filter.tenant_id, each.filter.project_id) == ("acme", "shop") for each in reader.requests)
    for foreign in (request(tenant_id="globex"), request(project_id="other")):
        with pytest.raises(PermissionDeniedError):
            await engine.query(foreign, bound)


def test_answers_hold_the_servers_values() -> None:
    """The integrity fields of an answer are the server's, whatever the client had put there."""
    event = Event(event_id="e", content_hash="mine", hash_prev="mine", worm_proof_id="mine")
    each = replace(stored(5), stored=event.SerializeToString(deterministic=True))
    answer = answer_event(each)
    assert answer.content_hash == hashlib.sha256(each.stored).hexdigest()
    assert answer.hash_prev == "01" * 32
    assert answer.worm_proof_id == "chaukas.localhost/events/acme#5"
    assert (answer.server_timestamp.seconds, answer.server_timestamp.nanos) == (12, 345_678_901)
    assert answer_event(stored(0)).hash_prev == ""


def test_bytes_that_are_no_event_are_a_storage_error() -> None:
    """A damaged store is named as such, with the place, and never looks like the caller's fault."""
    with pytest.raises(StorageError, match=r"chaukas\.localhost/events/acme#5"):
        answer_event(replace(stored(5), stored=b"\xff\xff"))


async def test_a_page_ends_at_its_bytes_the_added_fields_included() -> None:
    """A page fits what the published stubs receive; an event that is larger than a page comes alone."""
    events = [stored(index, "x" * 400) for index in range(1, 9)]
    limits = QueryLimits(page_bytes_max=2000)
    reader = Recorder(Page(events, more=False))
    engine = QueryEngine(reader, _SECRET, limits)
    answer = await engine.query(QueryRequest(), ANONYMOUS)
    assert 0 < len(answer.to_response().SerializeToString()) <= 2000 + 200
    assert 1 < len(answer.events) < 8
    assert answer.has_more
    await engine.query(QueryRequest(page_token=answer.next_page_token), ANONYMOUS)
    assert reader.requests[-1].after == events[len(answer.events) - 1].position
    reader.page = Page([stored(1, "x" * 5000), stored(2)], more=False)
    assert [event.event_id for event in (await engine.query(QueryRequest(), ANONYMOUS)).events] == ["e1"]


async def test_the_total_is_counted_only_when_it_is_asked_for() -> None:
    """Counting may be dear; a page that is the whole answer needs none."""
    reader = Recorder(Page([stored(1)], more=True))
    engine = QueryEngine(reader, _SECRET)
    assert (await engine.query(QueryRequest(), ANONYMOUS)).total_count is None
    first = await engine.query(QueryRequest(include_total=True), ANONYMOUS)
    assert (first.total_count, len(reader.counted)) == (4711, 1)
    assert first.to_response().total_count == 4711
    reader.page = Page([stored(1)], more=False)
    assert (await engine.query(QueryRequest(include_total=True), ANONYMOUS)).total_count == 1
    last = QueryRequest(include_total=True, page_token=first.next_page_token)
    assert (await engine.query(last, ANONYMOUS)).total_count == 4711


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 60), st.sampled_from([SortOrder.SORT_ORDER_ASC, SortOrder.SORT_ORDER_DESC]))
def test_pages_of_any_sizes_together_are_the_whole_answer(data: st.DataObject, count: int, order: SortOrder) -> None:
    """Every event exactly once, in order, however the page size changes between pages."""

    async def check() -> list[str]:
        engine = QueryEngine(await seeded(count), _SECRET)
        return await walk(engine, QueryRequest(order_by_time=order), lambda _: data.draw(st.integers(1, 9)))

    expected = sorted((index % 7, f"e{index:04d}") for index in range(count))
    ids = [event_id for _, event_id in (expected if order == SortOrder.SORT_ORDER_ASC else expected[::-1])]
    assert _run(check) == ids


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Position,
        st.integers(-(2**62), 2**62),
        st.integers(0, 999),
        st.integers(0, 2**63 - 1),
        st.integers(0, 2**62),
    ),
    st.data(),
)
def test_a_cursor_opens_its_own_query_and_nothing_else(position: Position, data: st.DataObject) -> None:
    """A cursor that was changed, cut, made up, or given to another query, order, scope or server is refused by name."""

    async def check() -> None:
        last = replace(stored(1), position=position)
        reader = Recorder(Page([last], more=True))
        engine = QueryEngine(reader, _SECRET)
        mine = request(tenant_id="acme", tags=["b", "a"], text_query="Order refund")
        token = (await engine.query(mine, ANONYMOUS)).next_page_token
        again = request(tenant_id="acme", tags=["a", "b"], text_query=" refund\tORDER", page_size=7, page_token=token)
        await engine.query(again, ANONYMOUS)
        assert reader.requests[-1].after == position

        at = data.draw(st.integers(0, len(token) - 1))
        other = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda character: character != token[at]))
        ascending = request(tenant_id="acme", tags=["a", "b"], text_query="order refund")
        ascending.order_by_time = SortOrder.SORT_ORDER_ASC
        refused: list[tuple[QueryEngine, QueryRequest, str, Principal]] = [
            (engine, again, token[:at] + other + token[at + 1 :], ANONYMOUS),
            (engine, again, token[:at], ANONYMOUS),
            (engine, again, token + "A", ANONYMOUS),
            (engine, again, data.draw(st.text(min_size=1).filter(lambda text: text != token)), ANONYMOUS),
            (engine, request(tenant_id="acme", tags=["a"], text_query="order refund"), token, ANONYMOUS),
            (engine, request(tenant_id="globex", tags=["a", "b"], text_query="order refund"), token, ANONYMOUS),
            (engine, request(tenant_id="acme", tags=["a", "b"]), token, ANONYMOUS),
            (engine, request(tenant_id="acme", tags=["a", "b"], text_query='"order refund"'), token, ANONYMOUS),
            (engine, request(tenant_id="acme", tags=["a", "b"], text_query="order refund*"), token, ANONYMOUS),
            (engine, ascending, token, ANONYMOUS),
            (engine, again, token, Principal("key", tenant_id="acme")),
            (QueryEngine(reader, bytes(32)), again, token, ANONYMOUS),
        ]
        for asked_engine, query, wrong, principal in refused:
            if not wrong:
                continue
            attempt = QueryRequest()
            attempt.CopyFrom(query)
            attempt.page_token = wrong
            with pytest.raises(InvalidRequestError) as caught:
                await asked_engine.query(attempt, principal)
            assert caught.value.field == "page_token"

    _run(check)


def test_a_short_secret_is_refused() -> None:
    """A server never signs with less than it promises."""
    with pytest.raises(ValueError, match="32 bytes"):
        QueryEngine(Recorder(), b"short")


def _run(flow: Callable[[], Awaitable[Any]]) -> Any:
    """Hypothesis drives plain functions; each example gets a loop of its own."""
    return anyio.run(flow)
