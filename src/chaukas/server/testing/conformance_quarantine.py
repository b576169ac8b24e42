"""Conformance of the quarantine: what is kept, counted, listed and bounded."""
# ruff: noqa: S101 - a suite asserts

from __future__ import annotations

import asyncio

import pytest

from chaukas.server.errors import OverloadedError
from chaukas.server.storage.contract import EventFilter, IngestStatus, QuarantineItem, QuarantineRow, Store
from chaukas.server.testing.conformance_case import StoreCase, StoreFactory, every, on_store, opened
from chaukas.server.testing.records import make_record

__all__ = ["QuarantineConformance"]


def _item(raw: bytes, tenant_id: str = "acme", project_id: str = "shop", event_id: str = "e") -> QuarantineItem:
    return QuarantineItem(tenant_id, project_id, event_id, raw, ("event: does not parse",))


async def _rows(store: Store, tenant_id: str | None = None, project_id: str | None = None) -> list[QuarantineRow]:
    return await store.quarantine_list(tenant_id, project_id, 1_000)


class QuarantineConformance(StoreCase):
    """Every "must" about items that are not stored as events."""

    @on_store
    async def test_an_item_is_kept_with_all_that_is_known(self, store: Store) -> None:
        """Bytes, attribution, id and reasons come back as they were; listings leave the bytes out."""
        reasons = ("type: must not be UNSPECIFIED", "tags[1]: 'a,b\n\"\u0000\U0001f600' is too long", "")
        (outcome,) = await store.append([QuarantineItem("acme", "shop", "id \u0000 \U0001f600", b"\x00\xff\x0a", reasons)])
        assert outcome.status is IngestStatus.QUARANTINED
        row = await store.quarantine_get(outcome.quarantine_id)
        assert row is not None
        assert (row.quarantine_id, row.tenant_id, row.project_id) == (outcome.quarantine_id, "acme", "shop")
        assert (row.event_id, row.reasons) == ("id \u0000 \U0001f600", reasons)
        assert (row.raw, row.size_bytes, row.count) == (b"\x00\xff\x0a", 3, 1)
        assert 0 < row.first_received_at_ns <= row.last_received_at_ns
        (listed,) = await _rows(store)
        assert listed.raw == b""
        assert (listed.quarantine_id, listed.size_bytes, listed.reasons) == (row.quarantine_id, 3, reasons)

    @on_store
    async def test_items_are_no_events(self, store: Store) -> None:
        """What is quarantined is neither found, nor counted, nor in the way of an event with the same id or bytes."""
        record = make_record("e")
        first, accepted, second = await store.append([_item(b"\x01"), record, _item(record.stored)])
        assert [first.status.value, accepted.status.value, second.status.value] == ["quarantined", "accepted", "quarantined"]
        assert [event.stored for event in await every(store)] == [record.stored]
        assert (await store.stats(None, None, None, None)).total_events == 1
        info = await store.info()
        assert (info.events, info.quarantine_items, info.quarantine_bytes) == (1, 2, 1 + len(record.stored))

    def test_the_same_bytes_are_kept_once_and_counted(self, store_factory: StoreFactory) -> None:
        """Same bytes, tenant and project: one row that counts its arrivals, in one call, in later ones, after reopening."""

        async def run() -> tuple[set[str], list[QuarantineRow]]:
            async with opened(store_factory()) as store:
                outcomes = await store.append([_item(b"same"), _item(b"same")])
                outcomes += await store.append([_item(b"same")])
                return {outcome.quarantine_id for outcome in outcomes}, await _rows(store)

        first_ids, (first,) = asyncio.run(run())
        second_ids, (second,) = asyncio.run(run())
        assert first_ids == second_ids == {first.quarantine_id}
        assert (first.count, second.count) == (3, 6)
        assert first.first_received_at_ns == second.first_received_at_ns
        assert second.last_received_at_ns >= first.last_received_at_ns

    @on_store
    async def test_the_same_bytes_elsewhere_are_another_item(self, store: Store) -> None:
        """Deduplication ends at tenant and project: nobody learns from it what another tenant sent."""
        scopes = [("acme", "shop"), ("acme", ""), ("acme", "web"), ("shop", "acme"), ("", "")]
        outcomes = await store.append([_item(b"same", tenant, project) for tenant, project in scopes])
        assert len({outcome.quarantine_id for outcome in outcomes}) == len(scopes)
        assert [row.count for row in await _rows(store)] == [1] * len(scopes)
        assert (await store.info()).quarantine_bytes == 4 * len(scopes)

    @on_store
    async def test_rejected_bytes_go_to_the_quarantine(self, store: Store) -> None:
        """A rejected event's received bytes are kept under its tenant and project with a reason, and counted up when repeated."""
        first, other = make_record("e"), make_record("e", text="other")
        _, rejected = await store.append([first, other])
        (again,) = await store.append([other])
        assert rejected.status is again.status is IngestStatus.REJECTED
        assert rejected.quarantine_id == again.quarantine_id
        row = await store.quarantine_get(rejected.quarantine_id)
        assert row is not None
        assert (row.tenant_id, row.project_id, row.event_id) == ("acme", "shop", "e")
        assert (row.raw, row.count) == (other.received, 2)
        assert any(row.reasons)
        (third,) = await store.append([make_record("e", text="a third")])
        assert third.quarantine_id != rejected.quarantine_id

    @on_store
    async def test_listing_by_scope(self, store: Store) -> None:
        """None asks for all, a string for exactly that tenant or project, the empty one for what has none."""
        scopes = [("acme", "shop"), ("acme", ""), ("other", "shop"), ("", "")]
        await store.append([_item(f"{tenant}/{project}".encode(), tenant, project) for tenant, project in scopes])
        for tenant in (None, "acme", "other", "", "ACME"):
            for project in (None, "shop", "", "nowhere"):
                listed = [(row.tenant_id, row.project_id) for row in await _rows(store, tenant, project)]
                expected = [scope for scope in scopes if tenant in (None, scope[0]) and project in (None, scope[1])]
                assert sorted(listed) == sorted(expected)

    def test_listing_is_oldest_first_and_pages(self, store_factory: StoreFactory) -> None:
        """Rows come oldest first, also after reopening; a repeated arrival moves none; `after` goes on exactly behind a row."""

        async def fill() -> None:
            async with opened(store_factory()) as store:
                for number in range(12):
                    await store.append([_item(b"%d" % number, event_id=str(number)), _item(b"0", event_id="0")])

        async def walk() -> list[str]:
            seen: list[str] = []
            after: str | None = None
            async with opened(store_factory()) as store:
                while rows := await store.quarantine_list("acme", None, 5, after):
                    assert len(rows) <= 5
                    seen += [row.event_id for row in rows]
                    after = rows[-1].quarantine_id
            return seen

        asyncio.run(fill())
        assert asyncio.run(walk()) == [str(number) for number in range(12)]

    @on_store
    async def test_listing_goes_on_behind_a_removed_row(self, store: Store) -> None:
        """Who removes the rows of a page and asks for the next one (as a resubmission does) misses none."""
        await store.append([_item(b"%d" % number, event_id=str(number)) for number in range(10)])
        seen: list[str] = []
        after: str | None = None
        while rows := await store.quarantine_list(None, None, 3, after):
            seen += [row.event_id for row in rows]
            after = rows[-1].quarantine_id
            for row in rows:
                assert await store.quarantine_remove(row.quarantine_id)
        assert sorted(seen) == [str(number) for number in range(10)]
        assert (await store.info()).quarantine_items == 0

    def test_a_removed_row_is_gone(self, store_factory: StoreFactory) -> None:
        """A row is removed once and stays removed after reopening; the same bytes begin anew; the others stay."""

        async def first() -> str:
            async with opened(store_factory()) as store:
                gone, kept, _ = await store.append([_item(b"gone"), _item(b"kept", event_id="kept"), _item(b"gone")])
                assert await store.quarantine_remove(gone.quarantine_id)
                assert not await store.quarantine_remove(gone.quarantine_id)
                assert await store.quarantine_get(gone.quarantine_id) is None
                return kept.quarantine_id

        async def second(kept: str) -> None:
            async with opened(store_factory()) as store:
                assert [row.quarantine_id for row in await _rows(store)] == [kept]
                (again,) = await store.append([_item(b"gone", event_id="again")])
                assert again.quarantine_id != kept
                assert [(row.event_id, row.count) for row in await _rows(store)] == [("kept", 1), ("again", 1)]

        asyncio.run(second(asyncio.run(first())))

    def test_an_id_is_never_given_twice(self, store_factory: StoreFactory) -> None:
        """The id of a removed row names no later one, also after reopening, and a listing behind it shows what came later."""

        async def run(number: int, gone: list[str]) -> str:
            async with opened(store_factory()) as store:
                (outcome,) = await store.append([_item(b"%d" % number)])
                assert outcome.quarantine_id not in gone
                for earlier in gone:
                    assert await store.quarantine_get(earlier) is None
                    listed = await store.quarantine_list(None, None, 10, earlier)
                    assert [row.quarantine_id for row in listed] == [outcome.quarantine_id]
                assert await store.quarantine_remove(outcome.quarantine_id)
                return outcome.quarantine_id

        gone: list[str] = []
        for number in range(3):
            gone.append(asyncio.run(run(number, gone)))

    @pytest.mark.parametrize("unknown", ["", "no-such-id", "9" * 40, "-1", "\u0000", "é", "' OR 1=1 --"])
    @on_store
    async def test_unknown_ids_are_answered(self, store: Store, unknown: str) -> None:
        """An id that names no row, of whatever form, is answered with None and False."""
        await store.append([_item(b"x")])
        assert await store.quarantine_get(unknown) is None
        assert not await store.quarantine_remove(unknown)
        assert len(await _rows(store)) == 1

    @on_store
    async def test_empty_and_large_items(self, store: Store) -> None:
        """An empty frame and one of 3 MiB are kept like any other."""
        large = bytes(range(256)) * 12_288
        empty_outcome, large_outcome = await store.append([_item(b""), _item(large)])
        empty_row = await store.quarantine_get(empty_outcome.quarantine_id)
        large_row = await store.quarantine_get(large_outcome.quarantine_id)
        assert empty_row is not None
        assert (empty_row.raw, empty_row.size_bytes) == (b"", 0)
        assert large_row is not None
        assert (large_row.raw, large_row.size_bytes) == (large, len(large))

    @pytest.mark.parametrize("limits", [{"quarantine_items_max": 3}, {"quarantine_bytes_max": 30}], ids=["items", "bytes"])
    def test_a_full_quarantine_takes_nothing_of_the_call(self, store_factory: StoreFactory, limits: dict[str, int]) -> None:
        """When an item had to be quarantined and there is no room, `OverloadedError`, and nothing of the call is stored."""

        async def run() -> None:
            async with opened(store_factory(**limits)) as store:
                await store.append([_item(b"%010d" % number, event_id=str(number)) for number in range(2)])
                before = await store.info()
                with pytest.raises(OverloadedError):
                    await store.append([make_record("good"), _item(b"2" * 10), make_record("late"), _item(b"3" * 10)])
                assert await store.info() == before
                assert sorted(row.event_id for row in await _rows(store)) == ["0", "1"]
                assert await every(store) == []
                assert await store.count(EventFilter()) == 0
                assert (await store.stats(None, None, None, None)).total_events == 0
                # What failed may be sent again in parts: the last free place is still there, and indices begin at 0.
                good, kept = await store.append([make_record("good"), _item(b"2" * 10)])
                assert (good.status.value, good.index, kept.status.value) == ("accepted", 0, "quarantined")

        asyncio.run(run())

    @pytest.mark.parametrize("limits", [{"quarantine_items_max": 2}, {"quarantine_bytes_max": 20}], ids=["items", "bytes"])
    def test_a_full_quarantine_stays_full_and_counts_what_it_has(
        self, store_factory: StoreFactory, limits: dict[str, int]
    ) -> None:
        """A full quarantine is full after reopening too; bytes that it already keeps need no room; a removal makes room."""

        async def fill() -> None:
            async with opened(store_factory(**limits)) as store:
                await store.append([_item(b"a" * 10), _item(b"b" * 10)])

        async def overflow() -> None:
            async with opened(store_factory(**limits)) as store:
                with pytest.raises(OverloadedError):
                    await store.append([_item(b"c")])
                good, known = await store.append([make_record("good"), _item(b"a" * 10)])
                assert (good.status.value, known.status.value) == ("accepted", "quarantined")
                with pytest.raises(OverloadedError):
                    await store.append([make_record("good", text="other")])
                assert sorted(row.count for row in await _rows(store)) == [1, 2]
                assert await store.quarantine_remove(known.quarantine_id)
                await store.append([_item(b"c")])
                info = await store.info()
                assert (info.quarantine_items, info.quarantine_bytes) == (2, 11)

        asyncio.run(fill())
        asyncio.run(overflow())

    def test_an_item_larger_than_the_whole_quarantine(self, store_factory: StoreFactory) -> None:
        """An item that alone passes the bound is refused, and the store serves on."""

        async def run() -> None:
            async with opened(store_factory(quarantine_bytes_max=100)) as store:
                with pytest.raises(OverloadedError):
                    await store.append([_item(b"x" * 101)])
                (outcome,) = await store.append([_item(b"x" * 100)])
                assert outcome.status is IngestStatus.QUARANTINED

        asyncio.run(run())
