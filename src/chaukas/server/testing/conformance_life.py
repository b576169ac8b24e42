"""Conformance of a store's life: opening, figures, closing, reopening, and dying."""
# ruff: noqa: S101 - a suite asserts

from __future__ import annotations

import asyncio
import os
import signal
import time
import traceback
import warnings
from typing import Any

import pytest

from chaukas.server.errors import CannotServeError
from chaukas.server.storage.contract import EventFilter, QuarantineItem, Store, StoreInfo
from chaukas.server.testing.conformance_case import (
    BASE_NS,
    HOUR_NS,
    StoreCase,
    StoreFactory,
    event_ids,
    every,
    on_store,
    opened,
)
from chaukas.server.testing.records import make_record

__all__ = ["LifeConformance"]

#: How long a test waits for a process of its own before it gives up.
_PATIENCE_S = 60


async def _snapshot(store: Store) -> list[Any]:
    """Everything that can be asked."""
    rows = await store.quarantine_list(None, None, 1_000)
    return [
        await every(store),
        await every(store, descending=True, limit=7),
        [await every(store, EventFilter(session_id=f"s{number}")) for number in range(4)],
        [await every(store, EventFilter(tags=frozenset({f"tag-{number}"}))) for number in range(4)],
        await store.stats(None, None, None, None),
        await store.stats("acme", "p0", BASE_NS, BASE_NS + HOUR_NS),
        await store.stats(None, None, BASE_NS + 1, None),
        rows,
        [await store.quarantine_get(row.quarantine_id) for row in rows],
        await store.info(),
    ]


async def _fill(store: Store, call: int) -> None:
    await store.append(
        [
            *(
                make_record(
                    f"e{call}-{number}",
                    project_id=f"p{number % 3}",
                    session_id=f"s{number % 5}",
                    tags=[f"tag-{number % 4}"],
                    at_ns=BASE_NS + number * HOUR_NS // 7 - call * 1_001,
                )
                for number in range(30)
            ),
            QuarantineItem("acme", "p0", f"q{call}", b"%d" % call, ("broken", "twice broken")),
            QuarantineItem("", "", "", b"\x00 always", ("broken",)),
        ]
    )


def _die_after_appending(store_factory: StoreFactory, calls: int) -> None:
    """In a child process: append, tell nobody to close anything, and be killed."""

    async def run() -> None:
        store = store_factory()
        await store.open()
        for call in range(calls):
            await _fill(store, call)
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        asyncio.run(run())
    finally:
        # Only reached when something failed; the parent sees the wrong status, the reader of its output what it was.
        traceback.print_exc()
        os._exit(1)


def _status_of(child: int) -> int:
    """The child's wait status; a child that hangs is killed and the test fails."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"the child process did not end within {_PATIENCE_S} s")


class LifeConformance(StoreCase):
    """Every "must" of `Store.open`, `close` and `info`, and what durable means."""

    @on_store
    async def test_figures(self, store: Store) -> None:
        """`info` counts logs, events, sessions (per log) and quarantined items and their bytes, and names the driver."""
        info = await store.info()
        assert info.driver
        assert info == StoreInfo(info.driver, 0, 0, 0, 0, 0)
        await store.append(
            [
                make_record("a", session_id="s1"),
                make_record("b", session_id="s1"),
                make_record("c", session_id=""),
                make_record("a", project_id="web", session_id="s1"),
                make_record("a", session_id="s1"),
                make_record("b", text="other"),
                QuarantineItem("acme", "shop", "", b"12345", ("x",)),
                QuarantineItem("acme", "shop", "", b"12345", ("x",)),
            ]
        )
        (rejected,) = [row for row in await store.quarantine_list(None, None, 10) if row.event_id == "b"]
        assert await store.info() == StoreInfo(info.driver, 2, 4, 2, 2, 5 + rejected.size_bytes)

    def test_closing_twice(self, store_factory: StoreFactory) -> None:
        """`close` is idempotent, also when two tasks call it at once."""

        async def run() -> None:
            async with opened(store_factory()) as store:
                await store.append([make_record("e")])
                await asyncio.gather(store.close(), store.close())
                await store.close()

        asyncio.run(run())

    def test_reopening_keeps_everything(self, store_factory: StoreFactory) -> None:
        """Events, places, times, leaf hashes, statistics and quarantine are the same after reopening, life after life."""

        async def live(call: int, before: list[Any] | None) -> list[Any]:
            async with opened(store_factory()) as store:
                if before is not None:
                    assert await _snapshot(store) == before
                await _fill(store, call)
                return await _snapshot(store)

        snapshot = None
        for call in range(4):
            snapshot = asyncio.run(live(call, snapshot))

    def test_a_second_server_is_refused(self, store_factory: StoreFactory) -> None:
        """Data that a store serves are refused to a second one with `CannotServeError`, which does not disturb the first."""
        if not self.second_server_refused:
            pytest.skip("this driver lets several servers share the data")

        async def run() -> None:
            async with opened(store_factory()) as store:
                for number in range(2):
                    second = store_factory()
                    try:
                        with pytest.raises(CannotServeError):
                            await second.open()
                    finally:
                        await second.close()
                    await store.append([make_record(f"e{number}")])
            async with opened(store_factory()) as store:
                assert event_ids(await every(store)) == ["e0", "e1"]

        asyncio.run(run())

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_acknowledged_events_survive_a_killed_process(self, store_factory: StoreFactory) -> None:
        """A process killed right after an acknowledgement loses nothing, and the next one opens the data by itself."""
        with warnings.catch_warnings():
            # Newer Pythons warn of fork beside threads; this child uses none of them and is killed at once.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _die_after_appending(store_factory, calls=3)
        status = _status_of(child)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL

        async def look() -> None:
            async with opened(store_factory()) as store:
                names = {f"e{call}-{number}" for call in range(3) for number in range(30)}
                found = event_ids(await every(store))
                assert len(found) == 90
                assert set(found) == names
                rows = await store.quarantine_list(None, None, 10)
                assert sorted((row.event_id, row.count) for row in rows) == [("", 3), ("q0", 1), ("q1", 1), ("q2", 1)]
                before = await _snapshot(store)
                await _fill(store, 3)
                assert (await _snapshot(store))[0] != before[0]
                assert await store.count(EventFilter()) == 120

        asyncio.run(look())
