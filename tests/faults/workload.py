"""A small workload in which everything happens: two logs, sessions over hours, duplicates, conflicts, quarantine, big commits."""

from __future__ import annotations

import random
from collections.abc import Sequence

from chaukas.server.storage.contract import EventRecord, QuarantineItem
from chaukas.server.testing import make_record

__all__ = ["BASE_NS", "HOUR_NS", "Items", "commits"]

Items = Sequence[EventRecord | QuarantineItem]

HOUR_NS = 3_600_000_000_000
#: A whole hour in 2023.
BASE_NS = 1_699_999_200_000_000_000


def _event(chance: random.Random, name: str, text: str = "") -> EventRecord:
    return make_record(
        name,
        project_id=chance.choice(("shop", "shop", "web")),
        session_id=chance.choice(("", "s1", "s2", "s3", f"of-{name[:6]}")),
        trace_id=chance.choice(("", "t1", f"trace-{name}")),
        span_id=chance.choice(("", "span", f"span-{name}")),
        agent_id=chance.choice(("", "planner", "writer")),
        tags=chance.sample(("red", "green", "blue", f"tag-{name[-1]}"), chance.randrange(3)),
        type=chance.choice((1, 2, 20, 21, 63, 4711)),
        status=chance.randrange(6),
        severity=chance.randrange(5),
        at_ns=BASE_NS + chance.randrange(-3 * HOUR_NS, 3 * HOUR_NS),
        text=text or f"{name} says {chance.random()}",
    )


def commits(count: int, *, seed: int = 1, prefix: str = "e", events: int = 7) -> list[Items]:
    """`count` commits of about `events` events; ids begin with `prefix` and are the same for the same seed."""
    chance = random.Random(seed)
    made: list[Items] = []
    stored: list[EventRecord] = []
    for number in range(count):
        # Every fifth commit is large enough to fill blocks by itself.
        size = 5 * events if number % 5 == 3 else chance.randrange(1, 2 * events)
        fresh = [_event(chance, f"{prefix}{number:03}-{place:02}") for place in range(size)]
        items: list[EventRecord | QuarantineItem] = list(fresh)
        if stored and number % 2:
            items.append(chance.choice(stored))
            conflict = chance.choice(stored)
            items.append(make_record(conflict.event_id, project_id=conflict.project_id, text=f"other {number}"))
        if number % 3 == 1:
            items.append(fresh[0])
            items.append(QuarantineItem("acme", "shop", f"bad-{number}", b"%d" % number, ("type: is required",)))
            items.append(QuarantineItem("", "", "", b"\x00always", ("cannot be read",)))
        chance.shuffle(items)
        stored += fresh
        made.append(items)
    return made
