"""Conformance of `append`: places, duplicates, refusals, and what is kept of an event."""
# ruff: noqa: S101 - a suite asserts

from __future__ import annotations

import asyncio
from dataclasses import replace
from unittest.mock import patch

import pytest

from chaukas.server.storage.contract import EventFilter, EventRecord, IngestStatus, Outcome, QuarantineItem, Store
from chaukas.server.storage.entry import log_id_of, origin_of
from chaukas.server.testing.conformance_case import BASE_NS, StoreCase, StoreFactory, event_ids, every, on_store, opened
from chaukas.server.testing.records import make_event, make_record, record_of
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["AppendConformance"]


class AppendConformance(StoreCase):
    """Every "must" of `EventAppender.append` that needs no second task."""

    @on_store
    async def test_append_gives_dense_indices_per_log(self, store: Store) -> None:
        """Indices are dense from 0 in each log, in the order of the items, within a call and from call to call."""
        logs = [("acme", "shop"), ("acme", ""), ("other", "shop")]
        for call in range(3):
            items = [
                make_record(f"e{call}-{number}", tenant_id=tenant, project_id=project)
                for number in range(4)
                for tenant, project in logs
            ]
            outcomes = await store.append(items)
            for place, (tenant, project) in enumerate(logs):
                mine = outcomes[place :: len(logs)]
                assert [outcome.index for outcome in mine] == [call * 4 + number for number in range(4)]
                assert {outcome.origin for outcome in mine} == {origin_of(self.server_name, tenant, project)}

    def test_append_goes_on_with_dense_indices_after_reopening(self, store_factory: StoreFactory) -> None:
        """A store that was closed and opened again goes on with the next index of each log."""

        async def run(first: int) -> list[int]:
            async with opened(store_factory()) as store:
                return [outcome.index for outcome in await store.append([make_record(f"e{first + n}") for n in range(3)])]

        assert [asyncio.run(run(first)) for first in (0, 3, 6)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]

    @on_store
    async def test_append_answers_one_outcome_per_item_in_order(self, store: Store) -> None:
        """One outcome per item, in order, with exactly the fields that belong to its status."""
        await store.append([make_record("known")])
        broken = QuarantineItem("acme", "shop", "broken", b"\xff", ("event: does not parse",))
        accepted, duplicate, rejected, quarantined, second = await store.append(
            [make_record("new"), make_record("known"), make_record("known", text="other"), broken, make_record("second")]
        )
        origin = origin_of(self.server_name, "acme", "shop")
        assert accepted == Outcome(IngestStatus.ACCEPTED, "new", origin=origin, index=1)
        assert (duplicate.status, duplicate.event_id) == (IngestStatus.DUPLICATE, "known")
        assert (duplicate.origin, duplicate.index, duplicate.quarantine_id) == (origin, 0, "")
        assert (rejected.status, rejected.event_id) == (IngestStatus.REJECTED, "known")
        assert (rejected.origin, rejected.index) == ("", -1)
        assert rejected.reason
        assert rejected.quarantine_id
        assert (quarantined.status, quarantined.event_id) == (IngestStatus.QUARANTINED, "broken")
        assert (quarantined.origin, quarantined.index) == ("", -1)
        assert quarantined.quarantine_id not in ("", rejected.quarantine_id)
        assert second == Outcome(IngestStatus.ACCEPTED, "second", origin=origin, index=2)

    @on_store
    async def test_append_of_nothing_changes_nothing(self, store: Store) -> None:
        """An empty call is answered with no outcomes and leaves no trace."""
        assert await store.append([]) == []
        assert (await store.info()).logs == 0

    @on_store
    async def test_duplicates_within_one_call_are_stored_once(self, store: Store) -> None:
        """Same id and same received bytes within one call: `duplicate`, with the place of the first."""
        outcomes = await store.append([make_record("a"), make_record("b"), make_record("a"), make_record("a"), make_record("c")])
        assert [outcome.status.value for outcome in outcomes] == ["accepted", "accepted", "duplicate", "duplicate", "accepted"]
        assert [outcome.index for outcome in outcomes] == [0, 1, 0, 0, 2]
        assert event_ids(await every(store)) == ["a", "b", "c"]

    def test_duplicates_across_calls_and_lives_are_stored_once(self, store_factory: StoreFactory) -> None:
        """Same id and same received bytes in a later call or after reopening: `duplicate`, with the place of the first."""

        async def run() -> list[Outcome]:
            async with opened(store_factory()) as store:
                first = await store.append([make_record("a"), make_record("b")])
                again = await store.append([make_record("b"), make_record("a")])
                assert await store.count(EventFilter()) == 2
                return first + again

        first_life, second_life = asyncio.run(run()), asyncio.run(run())
        assert [outcome.status.value for outcome in first_life] == ["accepted"] * 2 + ["duplicate"] * 2
        assert [outcome.status.value for outcome in second_life] == ["duplicate"] * 4
        assert [outcome.index for outcome in first_life] == [outcome.index for outcome in second_life] == [0, 1, 1, 0]

    @on_store
    async def test_same_content_is_decided_by_the_received_bytes(self, store: Store) -> None:
        """An event that arrives again and was enriched otherwise is a duplicate; what was stored first stays."""
        first = make_record("a", at_ns=BASE_NS)
        later = make_record("a", at_ns=BASE_NS + 5_000_000)
        assert later.stored != first.stored
        outcomes = await store.append([first, replace(later, received=first.received)])
        outcomes += await store.append([replace(later, received=first.received)])
        assert [outcome.status.value for outcome in outcomes] == ["accepted", "duplicate", "duplicate"]
        assert [event.stored for event in await every(store)] == [first.stored]

    def test_what_is_stored_is_known_when_it_comes_back(self, store_factory: StoreFactory) -> None:
        """An event equal to what is stored, as an export has it, is a duplicate: within a call, later, and after reopening."""
        came = make_record("a", at_ns=BASE_NS).received
        first = replace(make_record("a", at_ns=BASE_NS + 5_000_000), received=came)
        back = replace(first, received=first.stored)
        assert back.received != came

        async def run() -> list[str]:
            async with opened(store_factory()) as store:
                outcomes = await store.append([first, back])
                outcomes += await store.append([back])
                outcomes += await store.append([first])
                assert [event.stored for event in await every(store)] == [first.stored]
                assert {outcome.index for outcome in outcomes} == {0}
                return [outcome.status.value for outcome in outcomes]

        assert asyncio.run(run()) == ["accepted"] + ["duplicate"] * 3
        assert asyncio.run(run()) == ["duplicate"] * 4

    @on_store
    async def test_other_content_is_decided_by_the_received_bytes(self, store: Store) -> None:
        """Same id and stored bytes, but received otherwise: `rejected`."""
        first = make_record("a")
        (outcome,) = await store.append([first])
        (outcome,) = await store.append([replace(first, received=make_record("a", text="as received").received)])
        assert outcome.status is IngestStatus.REJECTED

    def test_other_content_never_changes_what_is_stored(self, store_factory: StoreFactory) -> None:
        """Same id, other bytes: `rejected`, and the stored event stays as it is, within a call, later, and after reopening."""
        first, other = make_record("a", type=1, tags=["x"]), make_record("a", type=2, tags=["y"], session_id="session-2")

        async def run(*items: EventRecord) -> list[str]:
            async with opened(store_factory()) as store:
                outcomes = await store.append(items)
                assert [event.stored for event in await every(store)] == [first.stored]
                assert await store.count(EventFilter(types=frozenset({2}))) == 0
                assert await store.count(EventFilter(tags=frozenset({"y"}))) == 0
                assert await store.count(EventFilter(session_id="session-2")) == 0
                assert (await store.stats(None, None, None, None)).events_by_type == {1: 1}
                return [outcome.status.value for outcome in outcomes]

        assert asyncio.run(run(first, other, first)) == ["accepted", "rejected", "duplicate"]
        assert asyncio.run(run(other, first, other)) == ["rejected", "duplicate", "rejected"]

    @on_store
    async def test_an_id_means_something_within_its_log_only(self, store: Store) -> None:
        """The same event id in another tenant or project is another event, whatever its content."""
        scopes = [("acme", "shop"), ("acme", ""), ("acme", "web"), ("shop", "acme"), ("shop", "")]
        for text in ("one", "two"):
            outcomes = await store.append(
                [make_record("same", tenant_id=tenant, project_id=project, text=text) for tenant, project in scopes]
            )
            expected = IngestStatus.ACCEPTED if text == "one" else IngestStatus.REJECTED
            assert [outcome.status for outcome in outcomes] == [expected] * len(scopes)
        assert await store.count(EventFilter()) == len(scopes)

    @on_store
    async def test_refused_items_take_no_index(self, store: Store) -> None:
        """Duplicates, refusals and quarantined items leave no gap between the indices."""
        await store.append([make_record("a")])
        outcomes = await store.append(
            [
                make_record("a"),
                make_record("b"),
                make_record("a", text="other"),
                QuarantineItem("acme", "shop", "", b"\x01", ("x",)),
                make_record("c"),
            ]
        )
        assert [outcome.index for outcome in outcomes] == [0, 1, -1, -1, 2]
        assert sorted(event.position.index for event in await every(store)) == [0, 1, 2]

    @on_store
    async def test_stored_bytes_are_kept_to_the_letter(self, store: Store) -> None:
        """What is handed in as `stored` comes back byte for byte: unknown fields, NaN, unknown Any, no content at all."""
        event = make_event("rich", text="")
        event.llm_invocation.request.update({"messages": ["x"] * 50, "none": None, "nan": float("nan")})
        event.extensions.add(type_url="type.example/unknown", value=b"\x00\xff")
        event.metadata.update({"\u0000": "\U0010ffff", "deep": {"deeper": {"deepest": [1.5, True]}}})
        unknown = Event.FromString(make_event("unknown").SerializeToString() + b"\xca\xbb\x03\x05later")
        records = [record_of(event), record_of(unknown), make_record("bare", text="")]
        assert records[2].envelope_bytes == len(records[2].stored)
        await store.append(records)
        assert [answer.stored for answer in await every(store)] == [record.stored for record in records]

    @on_store
    async def test_answers_tell_where_an_event_stands(self, store: Store) -> None:
        """A stored event answers with its origin, its log number, its index and its timestamp, as its outcome did."""
        records = [
            make_record(f"e{number}", project_id=project, at_ns=BASE_NS + number * 1_001)
            for number in range(3)
            for project in ("", "shop")
        ]
        outcomes = {(outcome.origin, outcome.index): outcome.event_id for outcome in await store.append(records)}
        answers = await every(store)
        assert len(answers) == len(records)
        for answer in answers:
            event = Event.FromString(answer.stored)
            assert answer.origin == origin_of(self.server_name, event.tenant_id, event.project_id)
            assert answer.position.log_id == log_id_of(answer.origin)
            assert outcomes[answer.origin, answer.position.index] == event.event_id
            at_ns = answer.position.timestamp_us * 1_000 + answer.position.timestamp_sub_ns
            assert at_ns == event.timestamp.ToNanoseconds()

    def test_each_entry_names_the_one_before(self, store_factory: StoreFactory) -> None:
        """`leaf_hash_before` is empty at index 0, else 32 bytes that differ from entry to entry and never change."""

        async def run(number: int) -> list[tuple[str, int, bytes]]:
            async with opened(store_factory()) as store:
                await store.append([make_record(f"e{number}-{n}", project_id=project) for n in range(3) for project in "ab"])
                return sorted((event.origin, event.position.index, event.leaf_hash_before) for event in await every(store))

        before, after = asyncio.run(run(0)), asyncio.run(run(1))
        assert set(before) < set(after)
        assert [len(leaf_hash) for _, index, leaf_hash in after] == [32 if index else 0 for _, index, _ in after]
        hashes = [leaf_hash for _, index, leaf_hash in after if index]
        assert len(set(hashes)) == len(hashes) == 10

    def test_received_at_never_falls(self, store_factory: StoreFactory) -> None:
        """Within a log `received_at` never falls, even when the machine's clock is set back, in one life or between two."""

        async def run(life: int) -> list[int]:
            async with opened(store_factory()) as store:
                for call in range(3):
                    clock_ns = 1_700_000_000_000_000_000 - (life * 3 + call) * 3_600_000_000_000
                    # A driver that asks for the time in another way is tested less here, not wrongly.
                    with patch("time.time_ns", return_value=clock_ns), patch("time.time", return_value=clock_ns / 1e9):
                        await store.append([make_record(f"e{life}-{call}-{number}") for number in range(2)])
                return [event.received_at_ns for event in sorted(await every(store), key=lambda event: event.position.index)]

        asyncio.run(run(0))
        times = asyncio.run(run(1))
        assert len(times) == 12
        assert times == sorted(times)
        assert times[0] > 0

    @pytest.mark.parametrize("size_bytes", [2 * 1024 * 1024, 70_000])
    @on_store
    async def test_large_events(self, store: Store, size_bytes: int) -> None:
        """Events of 2 MiB, several in one call among small ones, are kept and found like any other."""
        large = [make_record(f"large-{number}", text=chr(97 + number) * size_bytes, tags=["large"]) for number in range(4)]
        small = [make_record(f"small-{number}") for number in range(4)]
        mixed = [record for pair in zip(small, large, strict=True) for record in pair]
        await store.append(mixed)
        assert [event.stored for event in await every(store)] == [record.stored for record in mixed]
        found = await every(store, EventFilter(tags=frozenset({"large"})), limit=2)
        assert event_ids(found) == [record.event_id for record in large]

    @on_store
    async def test_a_session_of_two_thousand_events(self, store: Store) -> None:
        """2,000 events of one session in one call, and more of it later, are all found by their session."""
        records = [make_record(f"e{number}", session_id="long", at_ns=BASE_NS + number) for number in range(2_000)]
        outcomes = await store.append(records)
        await store.append([make_record("elsewhere", session_id="short"), make_record("last", session_id="long", at_ns=BASE_NS)])
        assert [outcome.index for outcome in outcomes] == list(range(2_000))
        wanted = EventFilter(session_id="long")
        assert await store.count(wanted) == 2_001
        assert event_ids(await every(store, wanted, limit=700)) == ["e0", "last", *(f"e{n}" for n in range(1, 2_000))]
        stats = await store.stats(None, None, None, None)
        assert (stats.total_events, stats.total_sessions) == (2_002, 2)

    @on_store
    async def test_three_hundred_logs_in_one_call(self, store: Store) -> None:
        """One call may span 300 logs; each begins at index 0 and is found by its tenant and project."""
        scopes = [(f"tenant-{number % 100}", f"project-{number // 100}") for number in range(300)]
        outcomes = await store.append([make_record("e", tenant_id=tenant, project_id=project) for tenant, project in scopes])
        assert [outcome.index for outcome in outcomes] == [0] * 300
        assert len({outcome.origin for outcome in outcomes}) == 300
        for tenant, project in scopes[::37]:
            (event,) = await every(store, EventFilter(tenant_id=tenant, project_id=project))
            assert event.origin == origin_of(self.server_name, tenant, project)
        assert await store.count(EventFilter(tenant_id="tenant-7")) == 3
        assert await store.count(EventFilter(project_id="project-1")) == 100
        assert (await store.info()).logs == 300
