"""Conformance by comparison: thousands of pseudo-random events, and every answer as the oracle's."""
# ruff: noqa: S311 - random events are no secrets

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any, ClassVar

import pytest

from chaukas.server.storage.contract import EventFilter, EventRecord, PageRequest, QuarantineItem
from chaukas.server.testing.conformance_case import BASE_NS, BYTES_MAX, HOUR_NS, StoreCase, StoreFactory, opened
from chaukas.server.testing.memory_store import MemoryStore
from chaukas.server.testing.records import make_record
from chaukas.server.testing.store_pair import StorePair

__all__ = ["OracleConformance"]

_HOURS = 30
#: How often the data are opened.
_LIVES = 4


class _Traffic:
    """Events as agents send them, in small: sessions one beside the other, times that mostly rise, and everything odd."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.sent: list[EventRecord] = []

    def items(self, number: int) -> list[EventRecord | QuarantineItem]:
        """So many items: mostly new events, some known ones, some known ids with other content, some broken ones."""
        return [self._item() for _ in range(number)]

    def _item(self) -> EventRecord | QuarantineItem:
        kind = self.random.random()
        if kind < 0.03 and self.sent:
            return self.random.choice(self.sent)
        if kind < 0.04 and self.sent:
            known = self.random.choice(self.sent)
            return replace(known, received=known.received + self.random.choice([b"\x80\x3f\x01", b"\x80\x3f\x02"]))
        if kind < 0.05:
            raw = b"broken %d" % self.random.randrange(20)
            return QuarantineItem(self.random.choice(["acme", ""]), "", "", raw, ("event: does not parse",))
        self.sent.append(self._event(len(self.sent)))
        return self.sent[-1]

    def _event(self, number: int) -> EventRecord:
        random = self.random
        session = random.randrange(max(0, number // 20 - 4), number // 20 + 1)
        # Time rises with the number; one event in ten is early, late, or at the very time of others.
        at_ns = BASE_NS + number * (_HOURS * HOUR_NS // 6_000)
        if random.random() < 0.1:
            at_ns = BASE_NS + random.choice([random.randrange(_HOURS * HOUR_NS), random.randrange(_HOURS) * HOUR_NS])
        tenant, project = random.choices([("acme", "shop"), ("acme", ""), ("other", "shop")], weights=[8, 1, 1])[0]
        return make_record(
            # Half of the ids rise with time, half do not.
            f"{number:06}-{random.randrange(99)}" if number % 2 else f"{random.getrandbits(64):016x}-{number}",
            tenant_id=tenant,
            project_id=project,
            session_id=f"session-{session}" if random.random() < 0.95 else "",
            trace_id=f"trace-{session}",
            span_id=f"span-{number // 2}",
            agent_id=random.choice(["", "Ada", "Grace", "rare"]) if number % 97 == 0 else "Ada",
            tags=random.sample(["red", "green", ""], k=random.randrange(3)) + (["rare"] if number % 701 == 0 else []),
            type=random.choice([1, 2, 20, 21, 22, 23]) if number % 499 else 63,
            status=random.choice([1, 3]) if number % 401 else 4,
            severity=4 if number % 1_201 == 0 else 2,
            at_ns=at_ns + random.choice([0, 1, 999]),
            text="x" * random.choice([0, 5, 300]),
        )

    def filter(self) -> EventFilter:
        """A question that an event of the traffic would answer in most of its parts."""
        random = self.random
        like = random.choice(self.sent)
        wanted: dict[str, Any] = {}
        for name in random.sample(_FILTERED, k=random.choice([0, 1, 1, 1, 2, 2, 3])):
            if name in ("start_ns", "end_ns"):
                wanted[name] = self.time()
            elif name == "tags":
                wanted[name] = frozenset(like.tags)
            elif name in ("types", "statuses", "severities"):
                number = getattr(like, {"types": "type", "statuses": "status", "severities": "severity"}[name])
                wanted[name] = frozenset({number, *random.sample([4, 63, 99], k=random.randrange(3))})
            else:
                wanted[name] = getattr(like, name)
        return EventFilter(**wanted)

    def time(self) -> int | None:
        """The edge of a range: none, a whole hour, the time of an event, any other."""
        random = self.random
        event = random.choice(self.sent)
        return random.choice(
            [
                None,
                BASE_NS + random.randrange(-1, _HOURS + 2) * HOUR_NS,
                event.timestamp_us * 1_000 + event.timestamp_sub_ns,
                BASE_NS + random.randrange(_HOURS * HOUR_NS),
            ]
        )


_FILTERED = (
    *("tenant_id", "project_id", "session_id", "agent_id", "span_id", "trace_id"),
    *("types", "statuses", "severities", "tags", "start_ns", "end_ns"),
)


async def _ask(pair: StorePair, traffic: _Traffic, questions: int) -> None:
    """So many questions of each kind, and the whole quarantine."""
    random = traffic.random
    for _ in range(questions):
        wanted = traffic.filter()
        limit, bytes_max = random.choice([1, 3, 50, 1_000]), random.choice([900, 20_000, BYTES_MAX])
        request = PageRequest(wanted, limit, bytes_max, random.random() < 0.5)
        page = await pair.query(request)
        for _ in range(3):
            if page.events and page.more:
                page = await pair.query(replace(request, after=page.events[-1].position))
        if random.random() < 0.2:
            await pair.walk(replace(request, limit=500, bytes_max=BYTES_MAX))
        await pair.count(wanted)
        scope = (random.choice([None, "acme", "other"]), random.choice([None, None, "shop", ""]))
        await pair.stats(*scope, traffic.time(), traffic.time())
    await pair.quarantine()
    await pair.info()


class OracleConformance(StoreCase):
    """The driver answers as `MemoryStore` does, also where its own units (blocks, pages, rollups) begin and end."""

    #: How many events are appended for each seed. Raise it when the driver's units are larger than a few thousand events.
    oracle_events: ClassVar[int] = 5_000

    @pytest.mark.parametrize("seed", [1, 2])
    def test_thousands_of_events_like_the_oracle(self, store_factory: StoreFactory, seed: int) -> None:
        """After every few hundred events, and after every reopening, all answers are the oracle's."""

        async def run() -> None:
            traffic = _Traffic(seed)
            sizes = (1, 1, 20, 20, 100, 100, 300, 1_100)
            async with opened(MemoryStore(None, self.server_name)) as oracle:
                pair = StorePair(store_factory(), oracle)
                for life in range(1, _LIVES + 1):
                    async with opened(pair.subject):
                        while len(traffic.sent) < self.oracle_events * life // _LIVES:
                            await pair.append(traffic.items(traffic.random.choice(sizes)))
                            await _ask(pair, traffic, 2)
                        await _ask(pair, traffic, 15)
                        await pair.walk(PageRequest(EventFilter(), 1_000, BYTES_MAX, life % 2 == 0))
                    pair.subject = store_factory()

        asyncio.run(run())
