"""Conformance of the listing of sessions, and of finding events by their id."""
# ruff: noqa: S101, S311 - a suite asserts, and its random events are no secrets

from __future__ import annotations

import asyncio
from collections import defaultdict
from random import Random

from chaukas.server.storage.contract import EventRecord, SessionPlace, SessionRow, Store
from chaukas.server.storage.entry import log_id_of, origin_of
from chaukas.server.testing.conformance_case import BASE_NS, StoreCase, StoreFactory, on_store, opened
from chaukas.server.testing.records import make_record

__all__ = ["SessionConformance"]

_SCOPES = ((None, None), ("acme", None), ("acme", "shop"), (None, "shop"), ("nobody", None))


def _expected(records: list[EventRecord], tenant_id: str | None, project_id: str | None, server: str) -> list[SessionRow]:
    """The contract's words, over records with different ids."""
    members: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for record in records:
        in_scope = tenant_id in (None, record.tenant_id) and project_id in (None, record.project_id)
        if in_scope and record.session_id:
            members[record.tenant_id, record.project_id, record.session_id].append(record.timestamp_us)
    rows = [
        SessionRow(
            SessionPlace(max(times), log_id_of(origin_of(server, tenant, project)), session),
            tenant,
            project,
            len(times),
            min(times),
        )
        for (tenant, project, session), times in members.items()
    ]
    return sorted(rows, key=lambda row: row.place, reverse=True)


def _records(random: Random) -> list[EventRecord]:
    return [
        make_record(
            f"e{number}",
            tenant_id=random.choice(["acme", "acme", "globex"]),
            project_id=random.choice(["shop", "support"]),
            session_id=random.choice(["", "s", "S", "s-1", "s-2", "ß", "日本", "a\0b", *(f"n{each}" for each in range(30))]),
            # Few different times, so that sessions end at the same moment.
            at_ns=BASE_NS + random.randrange(12) * 1_000_000,
        )
        for number in range(300)
    ]


class SessionConformance(StoreCase):
    """Every "must" of `SessionReader`."""

    @on_store
    async def test_sessions_come_newest_first_with_exact_figures(self, store: Store) -> None:
        """A listing has each session of its scope once, in the order of its place, with count and times of its events."""
        records = _records(Random(7))
        assert await store.sessions(None, None, 10) == []
        await store.append(records[:100])
        await store.append(records[100:])
        for tenant_id, project_id in _SCOPES:
            expected = _expected(records, tenant_id, project_id, self.server_name)
            assert await store.sessions(tenant_id, project_id, 1_000) == expected
            assert await store.sessions(tenant_id, project_id, 3) == expected[:3]

    @on_store
    async def test_a_walk_meets_every_session_once(self, store: Store) -> None:
        """Page behind page, whatever their size, brings the same sessions as one large page, also where times are equal."""
        records = _records(Random(8))
        await store.append(records)
        expected = _expected(records, None, None, self.server_name)
        for size in (1, 2, 7):
            walked: list[SessionRow] = []
            while page := await store.sessions(None, None, size, walked[-1].place if walked else None):
                walked += page
                assert len(walked) <= len(expected)
            assert walked == expected

    @on_store
    async def test_a_session_is_found_by_its_id_in_every_log(self, store: Store) -> None:
        """The id selects exactly the sessions of that id, one per log, compared as a string."""
        records = _records(Random(9))
        await store.append(records)
        for session_id in ("s", "S", "s-1", "ß", "a\0b", "no such"):
            for tenant_id, project_id in _SCOPES:
                expected = [
                    row
                    for row in _expected(records, tenant_id, project_id, self.server_name)
                    if row.place.session_id == session_id
                ]
                assert await store.sessions(tenant_id, project_id, 100, session_id=session_id) == expected

    @on_store
    async def test_later_events_move_a_session_to_the_front(self, store: Store) -> None:
        """What is acknowledged is seen by the next listing: count, last time, and so the place."""
        await store.append(
            [make_record("a", session_id="old", at_ns=BASE_NS), make_record("b", session_id="new", at_ns=BASE_NS + 5_000)]
        )
        await store.append([make_record("c", session_id="old", at_ns=BASE_NS + 9_000)])
        rows = await store.sessions(None, None, 10)
        assert [(row.place.session_id, row.events, row.place.last_us - row.first_us) for row in rows] == [
            ("old", 2, 9),
            ("new", 1, 0),
        ]

    @on_store
    async def test_an_event_is_found_by_its_id_in_every_log(self, store: Store) -> None:
        """The id finds the event of each log of the scope as a query gives it, and nothing else."""
        records = [
            make_record("same", tenant_id=tenant, project_id=project, at_ns=BASE_NS + 1)
            for tenant, project in (("acme", "shop"), ("acme", "support"), ("globex", "shop"))
        ]
        await store.append([*records, make_record("other", at_ns=BASE_NS)])
        for (tenant_id, project_id), count in zip(_SCOPES, (3, 2, 1, 2, 0), strict=True):
            found = await store.events_with_id(tenant_id, project_id, "same")
            assert len(found) == count
            for event in found:
                assert event.stored in {record.stored for record in records}
                assert event.position.timestamp_us == BASE_NS // 1_000
        assert await store.events_with_id(None, None, "Same") == []

    def test_sessions_outlive_a_restart(self, store_factory: StoreFactory) -> None:
        """The next store over the same data lists the same sessions."""
        records = _records(Random(10))

        async def run() -> None:
            async with opened(store_factory()) as store:
                await store.append(records)
                before = await store.sessions(None, None, 1_000)
            async with opened(store_factory()) as store:
                assert await store.sessions(None, None, 1_000) == before

        asyncio.run(run())
