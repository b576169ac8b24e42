"""`SqliteStore` and `MemoryStore` side by side: random sequences of calls, and every event around a block's edge."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chaukas.server.storage.contract import EventFilter, PageRequest, Position, QuarantineItem
from chaukas.server.storage.entry import log_id_of, origin_of
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.testing import MemoryStore, StorePair, make_record
from chaukas.server.testing.conformance_case import BASE_NS, BYTES_MAX, HOUR_NS, opened

SERVER_NAME = "chaukas.localhost"

# Small domains: what is interesting happens where values meet again.
TENANTS, PROJECTS = ("acme", "other"), ("", "shop")
SESSIONS, TRACES, SPANS, AGENTS = ("", "s1", "s2", "S1"), ("", "t1", "t2"), ("", "p1", "p2"), ("", "Ada", "ada")
TAGS, TYPES, STATUSES, SEVERITIES = ("", "red", "green"), (1, 2, 62, 63, 64, -1), (0, 3, 70), (2, 4, -9)
TIMES_NS = (
    *(BASE_NS, BASE_NS + 1, BASE_NS + 999, BASE_NS + 1_000, BASE_NS + 1_500),
    *(BASE_NS + HOUR_NS - 1, BASE_NS + HOUR_NS, BASE_NS + HOUR_NS + 7, BASE_NS + 3 * HOUR_NS, BASE_NS - HOUR_NS),
    *(-1, 0, -62_135_596_800 * 10**9, 253_402_300_799 * 10**9 + 999_999_999),
)
# A full quarantine, duplicates of what stands in it and room after removals all come up with so few places.
QUARANTINE_ITEMS_MAX = 5


def maybe(values):
    return st.one_of(st.none(), st.sampled_from(values))


def some(values):
    return st.frozensets(st.sampled_from(values), max_size=2)


@st.composite
def events(draw):
    record = make_record(
        f"e{draw(st.integers(0, 40))}",
        tenant_id=draw(st.sampled_from(TENANTS)),
        project_id=draw(st.sampled_from(PROJECTS)),
        session_id=draw(st.sampled_from(SESSIONS)),
        trace_id=draw(st.sampled_from(TRACES)),
        span_id=draw(st.sampled_from(SPANS)),
        agent_id=draw(st.sampled_from(AGENTS)),
        tags=draw(st.lists(st.sampled_from(TAGS), max_size=3)),
        type=draw(st.sampled_from(TYPES)),
        status=draw(st.sampled_from(STATUSES)),
        severity=draw(st.sampled_from(SEVERITIES)),
        at_ns=draw(st.sampled_from(TIMES_NS)),
        text=draw(st.sampled_from(["", "a", "b" * 200])),
    )
    # What was received decides about duplicates: let other stored bytes come with the same received ones, and often.
    return replace(record, received=record.event_id.encode() + draw(st.sampled_from([b"", b"", b"other"])))


items = st.one_of(
    *[events()] * 9,
    st.builds(
        QuarantineItem,
        tenant_id=st.sampled_from(["", "acme"]),
        project_id=st.sampled_from(PROJECTS),
        event_id=st.just("broken"),
        raw=st.sampled_from([b"", b"1", b"22"]),
        reasons=st.just(("broken",)),
    ),
)
filters = st.builds(
    EventFilter,
    tenant_id=maybe(TENANTS),
    project_id=maybe(PROJECTS),
    session_id=maybe(SESSIONS),
    trace_id=maybe(TRACES),
    span_id=maybe(SPANS),
    agent_id=maybe(AGENTS),
    types=some(TYPES),
    statuses=some(STATUSES),
    severities=some(SEVERITIES),
    tags=some(TAGS),
    start_ns=maybe(TIMES_NS),
    end_ns=maybe(TIMES_NS),
)
# A conjunction of everything matches nothing; most questions name one or two things.
short_filters = st.builds(
    lambda wanted, names: EventFilter(**{name: getattr(wanted, name) for name in names}),
    filters,
    st.lists(st.sampled_from(EventFilter.__slots__), max_size=2, unique=True),
)
positions = st.builds(
    Position,
    timestamp_us=st.sampled_from(TIMES_NS).map(lambda at_ns: at_ns // 1_000),
    timestamp_sub_ns=st.sampled_from([0, 1, 500, 999]),
    log_id=st.sampled_from([log_id_of(origin_of(SERVER_NAME, tenant, project)) for tenant in TENANTS for project in PROJECTS]),
    index=st.integers(0, 12),
)
requests = st.builds(
    PageRequest,
    filter=st.one_of(short_filters, filters),
    limit=st.sampled_from([1, 2, 5, 1_000]),
    bytes_max=st.sampled_from([1, 300, 1_000, BYTES_MAX]),
    descending=st.booleans(),
    after=st.one_of(st.none(), positions),
)


class StoreMachine(RuleBasedStateMachine):
    """Both stores live through the same calls; `StorePair` compares each answer."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        oracle = MemoryStore(None, SERVER_NAME, QUARANTINE_ITEMS_MAX)
        self.run(oracle.open())
        self.pair = StorePair(self.driver(), oracle)
        self.run(self.pair.subject.open())

    def run(self, call):
        return self.runner.run(call)

    def driver(self):
        return SqliteStore(Path(self.directory.name), SERVER_NAME, QUARANTINE_ITEMS_MAX)

    @rule(call=st.lists(items, max_size=12))
    def append(self, call):
        self.run(self.pair.append(call))

    @rule(call=st.lists(events(), min_size=30, max_size=60))
    def append_many(self, call):
        self.run(self.pair.append(call))

    @rule()
    def reopen(self):
        self.run(self.pair.subject.close())
        self.pair.subject = self.driver()
        self.run(self.pair.subject.open())

    @rule(request=requests)
    def walk(self, request):
        self.run(self.pair.walk(request))

    @rule(wanted=st.one_of(short_filters, filters))
    def count(self, wanted):
        self.run(self.pair.count(wanted))

    @rule(tenant=maybe(TENANTS), project=maybe(PROJECTS), start_ns=maybe(TIMES_NS), end_ns=maybe(TIMES_NS))
    def stats(self, tenant, project, start_ns, end_ns):
        self.run(self.pair.stats(tenant, project, start_ns, end_ns))

    @rule(tenant=maybe(("", "acme")), project=maybe(PROJECTS))
    def quarantine(self, tenant, project):
        self.run(self.pair.quarantine(tenant, project))

    @rule(place=st.integers(0, QUARANTINE_ITEMS_MAX))
    def remove(self, place):
        self.run(self.pair.remove(place))

    @invariant()
    def figures(self):
        self.run(self.pair.info())

    def teardown(self):
        self.run(self.pair.subject.close())
        self.runner.close()
        self.directory.cleanup()


class TestStoreMachine(StoreMachine.TestCase):
    """Any sequence of appends, reopenings and questions is answered by the driver as by the oracle."""

    settings = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("step", [1, 3])
def test_every_event_around_the_edge_of_a_block(tmp_path, step):
    """Where one block of 1,024 events is full and the next begins, each append leaves answers as the oracle's."""

    def record(number):
        return make_record(
            f"e{number}",
            session_id=f"s{number // 20}",
            span_id=f"p{number // 2}",
            tags=["edge"] if number % 1_024 in (0, 1, 1_023) else [],
            type=2 if number % 512 == 0 else 1,
            # Neighbours in the record are far apart in time, so that pages must merge the blocks.
            at_ns=BASE_NS + number * 7_919 % 2_500 * 1_000_000_000,
        )

    edge = EventFilter(tags=frozenset({"edge"}))

    async def compare(pair, number):
        for descending in (False, True):
            await pair.query(PageRequest(EventFilter(), 20, BYTES_MAX, descending))
            await pair.walk(PageRequest(edge, 2, BYTES_MAX, descending))
            await pair.walk(PageRequest(EventFilter(types=frozenset({2})), 2, BYTES_MAX, descending))
        await pair.walk(PageRequest(EventFilter(session_id=f"s{number // 20}"), 7, BYTES_MAX))
        await pair.walk(PageRequest(EventFilter(span_id=f"p{number // 2}"), 7, BYTES_MAX))
        await pair.count(EventFilter(start_ns=BASE_NS + 5 * 10**11, end_ns=BASE_NS + 6 * 10**11))
        await pair.stats(None, None, BASE_NS + 1, BASE_NS + HOUR_NS // 2)
        await pair.info()

    async def run():
        async with opened(MemoryStore(None, SERVER_NAME)) as oracle:
            pair = StorePair(SqliteStore(tmp_path, SERVER_NAME), oracle)
            number = 0
            for end in (1_024, 2_048):
                async with opened(pair.subject):
                    start, number = number, end - 6
                    await pair.append([record(n) for n in range(start, number)])
                    while number < end + 6:
                        await pair.append([record(n) for n in range(number, number + step)])
                        number += step
                        await compare(pair, number)
                # Reopened in the middle of a block, too.
                pair.subject = SqliteStore(tmp_path, SERVER_NAME)
            async with opened(pair.subject):
                await pair.walk(PageRequest(EventFilter(), 1_000, BYTES_MAX))

    asyncio.run(run())
