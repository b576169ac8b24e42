"""Conformance of `storage.log_contract`: what a driver that keeps the transparency log must do beside `StoreConformance`.

A driver's project subclasses `LogConformance` as it does `StoreConformance`, with the same fixture; its stores are `LogKeeping`.
Heads here bear no real signatures: a store keeps them, and judges nothing but their sizes and the beginning of their notes.
"""
# ruff: noqa: S101 - a suite asserts

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from chaukas.server.errors import StorageError
from chaukas.server.storage.contract import QuarantineItem, Store
from chaukas.server.storage.entry import KIND_KEY, KIND_QUARANTINED, commitment, entry_kind, leaf_hash, log_id_of, origin_of
from chaukas.server.storage.log_contract import (
    EntryRecord,
    LogInfo,
    LogKeeping,
    LogSnapshot,
    LogStore,
    OtherEntry,
    SignedHead,
    Tile,
    TreeGrowth,
)
from chaukas.server.testing.conformance_case import StoreCase, StoreFactory, every, on_store, opened
from chaukas.server.testing.records import make_record

__all__ = ["LogConformance"]

#: More heads than any driver needs to keep because they are new.
_HEADS = 200
_WAIT_S = 2.0


class _RaisedInside(Exception):  # noqa: N818  not an error of the store
    """What a test raises within `read`."""


def _logs_of(store: Store) -> LogStore:
    assert isinstance(store, LogKeeping), "the store has no log_store"
    return store.log_store


def _tile(number: int, width: int, level: int = 0) -> Tile:
    return Tile(level, number, b"".join(bytes([level, number, at]) * 10 + b"\0\0" for at in range(width)))


def _head(log: LogInfo, size: int, signatures: int = 1) -> SignedHead:
    lines = "".join(f"— {log.origin} key{number}\n" for number in range(signatures))
    note = f"{log.origin}\n{size}\n{'root':A<43}=\n\n{lines}"
    return SignedHead(size, size.to_bytes(32, "big"), 1_700_000_000_000_000_000 + size, note.encode())


def _growth(log: LogInfo, size: int, tiles: Sequence[Tile] = (), signatures: int = 1) -> TreeGrowth:
    return TreeGrowth(log.log_id, tuple(tiles), _head(log, size, signatures))


class LogConformance(StoreCase):
    """Every "must" of `LogReader` and `LogWriter`."""

    async def _filled(self, store: Store, events: int, project_id: str = "shop") -> tuple[LogStore, LogInfo]:
        """The logs of a store, and one of them with so many events in two sessions and none."""
        names = ("", "one", "two")
        await store.append([make_record(f"e{at}", project_id=project_id, session_id=names[at % 3]) for at in range(events)])
        logs = _logs_of(store)
        log = await logs.log(log_id_of(origin_of(self.server_name, "acme", project_id)))
        assert log is not None
        return logs, log

    @on_store
    async def test_logs_by_scope_in_the_order_of_their_origins(self, store: Store) -> None:
        """Every tenant and project with events has a log of its own with all their entries; None means any."""
        scopes = [("acme", ""), ("acme", "shop"), ("acme", "a b"), ("other", "shop")]
        for size, (tenant_id, project_id) in enumerate(scopes, 1):
            await store.append([make_record(f"e{at}", tenant_id=tenant_id, project_id=project_id) for at in range(size)])
        logs = _logs_of(store)
        expected = sorted(
            (origin_of(self.server_name, tenant_id, project_id), tenant_id, project_id, size)
            for size, (tenant_id, project_id) in enumerate(scopes, 1)
        )
        for wanted in ((None, None), ("acme", None), (None, "shop"), ("acme", ""), ("acme", "shop"), ("nobody", None)):
            found = [(log.origin, log.tenant_id, log.project_id, log.size) for log in await logs.logs(*wanted)]
            assert found == [row for row in expected if wanted[0] in (None, row[1]) and wanted[1] in (None, row[2])]
        for log in await logs.logs(None, None):
            assert log.log_id == log_id_of(log.origin)
            assert await logs.log(log.log_id) == log
        assert await logs.log(log_id_of("nobody's log")) is None

    @on_store
    async def test_an_event_is_found_once_in_each_log_of_the_scope(self, store: Store) -> None:
        """An id leads to its log and index in every log of the scope; another id leads nowhere."""
        _, shop = await self._filled(store, 300)
        logs, web = await self._filled(store, 200, "web")
        for scope, places in (((None, None), {shop: 199, web: 199}), (("acme", "web"), {web: 199}), (("other", None), {})):
            found = await logs.read(lambda snapshot, scope=scope: snapshot.find_event(*scope, "e199"))  # type: ignore[misc]
            assert dict(found) == places
            assert len(found) == len(places)
        assert await logs.read(lambda snapshot: snapshot.find_event(None, None, "e299")) == [(shop, 299)]
        assert await logs.read(lambda snapshot: snapshot.find_event(None, None, "e300")) == []

    @on_store
    async def test_entries_open_with_their_records(self, store: Store) -> None:
        """Each entry is the one whose leaf hash the answers tell, and its record has the bytes and salts that it commits to."""
        logs, log = await self._filled(store, 300)
        entries = await logs.entries(log.log_id, 0, 300)
        assert len(entries) == 300
        for start, end in ((0, 1), (127, 129), (250, 300), (299, 1_000), (300, 301), (5, 5)):
            assert await logs.entries(log.log_id, start, end) == entries[start:end]
        stored = {event.position.index: event for event in await every(store)}
        records = [await logs.entry_record(log.log_id, index) for index in range(300)]
        for index, record in enumerate(records):
            assert record is not None
            assert (record.index, record.entry, record.stored) == (index, entries[index], stored[index].stored)
            envelope, content = record.stored[: record.envelope_bytes], record.stored[record.envelope_bytes :]
            parts = [(record.envelope_salt, envelope), (record.content_salt, content)]
            assert record.session_id == ("", "one", "two")[index % 3]
            parts += [(record.session_salt, record.session_id.encode())] if record.session_id else []
            assert all(len(salt) == 16 and commitment(salt, part) in record.entry for salt, part in parts)
            assert bool(record.session_salt) == bool(record.session_id)
        for before, after in pairwise(range(300)):
            assert stored[after].leaf_hash_before == leaf_hash(entries[before])
        assert await logs.entry_record(log.log_id, 300) is None

    @on_store
    async def test_a_read_sees_one_state(self, store: Store) -> None:
        """Whatever is stored while a read runs, its answers fit together; the next read sees all of it."""
        logs, log = await self._filled(store, 10)
        asked, stored = threading.Event(), threading.Event()

        def work(snapshot: LogSnapshot) -> list[object]:
            def answers() -> list[object]:
                found = snapshot.find_event(None, None, "late")
                return [snapshot.logs(None, None), snapshot.grown_logs(), snapshot.head(log.log_id), found]

            first = answers()
            asked.set()
            # Nothing else waits within a read; here it proves that the transaction has begun.
            stored.wait(_WAIT_S)
            assert answers() == first
            return first

        reading = asyncio.create_task(logs.read(work))
        await asyncio.to_thread(asked.wait, _WAIT_S)
        await store.append([make_record("late")])
        await logs.grow_trees([_growth(log, 11)])
        stored.set()
        assert await reading == [[log], [log], None, []]
        grown = replace(log, size=11)
        assert await logs.read(lambda snapshot: snapshot.find_event(None, None, "late")) == [(grown, 10)]
        assert await logs.read(lambda snapshot: (snapshot.log(log.log_id), snapshot.head(log.log_id))) == (grown, _head(log, 11))

    @on_store
    async def test_what_a_read_raises_comes_out(self, store: Store) -> None:
        """An exception of the work reaches the caller as it is, and the store answers on."""
        logs, log = await self._filled(store, 3)
        error = _RaisedInside("mine")

        def work(snapshot: LogSnapshot) -> None:
            assert snapshot.log(log.log_id) == log
            raise error

        for _ in range(5):
            with pytest.raises(_RaisedInside) as raised:
                await logs.read(work)
            assert raised.value is error
        assert await logs.read(lambda snapshot: snapshot.log(log.log_id)) == log

    def test_tiles_and_heads_are_kept(self, store_factory: StoreFactory) -> None:
        """Tiles come back in the order of the question, as wide as they were last; heads by size, also after reopening."""

        async def fill() -> LogInfo:
            async with opened(store_factory()) as store:
                logs, log = await self._filled(store, 300)
                assert [grown.log_id for grown in await logs.grown_logs()] == [log.log_id]
                await logs.grow_trees([_growth(log, 257, [_tile(0, 256), _tile(0, 1, level=1)])])
                assert [grown.log_id for grown in await logs.grown_logs()] == [log.log_id]
                await logs.grow_trees([_growth(log, 300, [_tile(0, 2, level=1)])])
                assert await logs.grown_logs() == []
                return log

        async def check(log: LogInfo) -> None:
            async with opened(store_factory()) as store:
                logs = _logs_of(store)
                names = [(1, 0), (0, 1), (0, 0), (1, 0)]
                kept = await logs.read(lambda snapshot: snapshot.tiles(log.log_id, names))
                assert kept == [_tile(0, 2, level=1).hashes, b"", _tile(0, 256).hashes, _tile(0, 2, level=1).hashes]
                assert await logs.head(log.log_id) == _head(log, 300)
                assert [await logs.head(log.log_id, size) for size in (257, 258)] == [_head(log, 257), None]
                covering = [await logs.covering_head(log.log_id, index) for index in (0, 256, 257, 299, 300)]
                assert [head and head.size for head in covering] == [257, 257, 300, 300, None]

        asyncio.run(check(asyncio.run(fill())))

    @on_store
    async def test_a_tree_only_grows(self, store: Store) -> None:
        """Tiles that do not continue the kept ones, and heads that shrink or reach too far, change nothing of the whole call."""
        logs, log = await self._filled(store, 300)
        _, web = await self._filled(store, 300, "web")
        await logs.grow_trees([_growth(log, 200, [_tile(0, 100, level=1)])])
        other = Tile(1, 0, b"\xff" + _tile(0, 120, level=1).hashes[1:])
        odd = Tile(1, 0, _tile(0, 120, level=1).hashes + b"odd")
        for wrong in (
            _growth(log, 250, [other]),
            _growth(log, 250, [odd]),
            _growth(log, 250, [_tile(0, 99, level=1)]),
            _growth(log, 199),
            _growth(log, 301),
            TreeGrowth(log_id_of("nobody's log"), (), _head(log, 1)),
        ):
            with pytest.raises(StorageError):
                await logs.grow_trees([_growth(web, 250, [_tile(0, 10, level=1)]), wrong])
        assert await logs.read(lambda snapshot: snapshot.tiles(log.log_id, [(1, 0)])) == [_tile(0, 100, level=1).hashes]
        assert await logs.read(lambda snapshot: snapshot.tiles(web.log_id, [(1, 0)])) == [b""]
        assert [await logs.head(one.log_id) for one in (log, web)] == [_head(log, 200), None]

    @on_store
    async def test_a_head_gets_further_signatures_only(self, store: Store) -> None:
        """A cosigned note replaces the kept one if it begins with it; any other is refused."""
        logs, log = await self._filled(store, 20)
        await logs.grow_trees([_growth(log, 10)])
        await logs.grow_trees([_growth(log, 20)])
        head = _head(log, 10)
        cosigned = head.note + "— witness.example line\n".encode()
        await logs.cosign_head(log.log_id, 10, cosigned)
        assert await logs.head(log.log_id, 10) == replace(head, note=cosigned)
        for wrong in (head.note, cosigned.replace(b"\n10\n", b"\n11\n"), b""):
            with pytest.raises(StorageError):
                await logs.cosign_head(log.log_id, 10, wrong)
        assert await logs.head(log.log_id, 10) == replace(head, note=cosigned)
        assert await logs.head(log.log_id) == _head(log, 20)

    @on_store
    async def test_heads_of_two_keys_are_kept_for_ever(self, store: Store) -> None:
        """However many heads follow, those that lead from a key to the next one stay, and cover what they covered."""
        logs, log = await self._filled(store, _HEADS)
        both = {3, 90}
        for size in range(1, _HEADS + 1):
            await logs.grow_trees([_growth(log, size, signatures=1 + (size in both))])
        for size in both:
            assert await logs.head(log.log_id, size) == _head(log, size, signatures=2)
        covering = await logs.covering_head(log.log_id, 1)
        assert covering is not None
        assert 2 <= covering.size <= 3
        assert await logs.head(log.log_id) == _head(log, _HEADS)

    @on_store
    async def test_other_entries_stand_among_the_events(self, store: Store) -> None:
        """Entries that are no events take the next indices, commit to their content, and are found by no question for events."""
        logs, log = await self._filled(store, 5)
        others = [OtherEntry(KIND_KEY, b"", b"a key"), OtherEntry(KIND_KEY, b"", b"")]
        assert await logs.append_others(log.log_id, others) == 5
        (outcome,) = await store.append([make_record("behind")])
        assert outcome.index == 7
        records = [await logs.entry_record(log.log_id, index) for index in (5, 6)]
        for record, other in zip(records, others, strict=True):
            _opens(record, KIND_KEY, other.content)
        assert len(await every(store)) == 6
        assert (await store.info()).events == 6

    @on_store
    async def test_what_was_set_aside_gets_its_entry_once(self, store: Store) -> None:
        """Attributed items of the quarantine get entries that commit to their bytes, oldest first, as many as asked for, once."""
        logs, log = await self._filled(store, 2)
        for number in range(3):
            await store.append([QuarantineItem("acme", "shop", "", b"raw %d" % number, ("odd",))])
        await store.append([QuarantineItem("", "", "", b"nobody's", ("odd",))])
        assert [await logs.log_quarantined(2) for _ in range(3)] == [2, 1, 0]
        for number in range(3):
            _opens(await logs.entry_record(log.log_id, 2 + number), KIND_QUARANTINED, b"raw %d" % number)
        assert await logs.entry_record(log.log_id, 5) is None
        assert [one.origin for one in await logs.logs(None, None)] == [log.origin]


def _opens(record: EntryRecord | None, kind: int, content: bytes) -> None:
    """That an entry is of this kind and commits to this content."""
    assert record is not None
    assert (entry_kind(record.entry), record.stored, record.envelope_bytes, record.session_id) == (kind, content, 0, "")
    assert commitment(record.content_salt, content) in record.entry
