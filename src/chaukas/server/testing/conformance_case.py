"""What the parts of the conformance suite share: the factory that a driver gives, and ways to ask a store."""
# ruff: noqa: S101 - a suite asserts

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Protocol, TypeVar

import pytest

from chaukas.server.storage.contract import EventFilter, PageRequest, Position, Store, StoredEvent
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = [
    "ANY",
    "BASE_NS",
    "BYTES_MAX",
    "HOUR_NS",
    "StoreCase",
    "StoreFactory",
    "event_ids",
    "every",
    "on_store",
    "opened",
    "page",
]

#: Matches every event.
ANY = EventFilter()
#: A whole hour (UTC) in 2023; most test events lie behind it.
BASE_NS = 1_699_999_200_000_000_000
HOUR_NS = 3_600_000_000_000
#: More bytes than any test page holds.
BYTES_MAX = 1 << 30


_Store = TypeVar("_Store", bound=Store)


class StoreFactory(Protocol):
    """Makes a store over the data of one test; it is called again to reopen the same data, and does not open it itself."""

    def __call__(self, *, quarantine_items_max: int = 1_000, quarantine_bytes_max: int = 1 << 26) -> Store:
        """A store that is not open yet. Both limits must be handed to it."""
        ...


class StoreCase:
    """Base of the suite's parts."""

    #: The server name that the factory gives to its stores; origins begin with it.
    server_name: ClassVar[str] = "chaukas.localhost"
    #: Whether data that one store serves must be refused to a second one. False for drivers that many processes share.
    second_server_refused: ClassVar[bool] = True

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        """To be overridden: a factory over data that is empty at the beginning of each test."""
        raise NotImplementedError("a subclass of the conformance suite must override the fixture store_factory")


@asynccontextmanager
async def opened(store: _Store) -> AsyncIterator[_Store]:
    """The store, open within the block."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def on_store(scenario: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Turn `async def test(self, store, ...)` into a plain test over a freshly opened store, whatever plugins are installed."""

    @functools.wraps(scenario)
    def test(self: StoreCase, store_factory: StoreFactory, **arguments: object) -> None:
        async def run() -> None:
            async with opened(store_factory()) as store:
                await scenario(self, store, **arguments)

        asyncio.run(run())

    signature = inspect.signature(scenario)
    asked = [each.replace(name="store_factory") if each.name == "store" else each for each in signature.parameters.values()]
    # pytest reads from the signature which fixtures a test wants.
    test.__signature__ = signature.replace(parameters=asked)  # type: ignore[attr-defined]
    return test


def page(
    wanted: EventFilter = ANY,
    *,
    limit: int = 1_000,
    bytes_max: int = BYTES_MAX,
    descending: bool = False,
    after: Position | None = None,
) -> PageRequest:
    """A request for a page, oldest first unless told otherwise."""
    return PageRequest(filter=wanted, limit=limit, bytes_max=bytes_max, descending=descending, after=after)


async def every(
    store: Store, wanted: EventFilter = ANY, *, limit: int = 1_000, bytes_max: int = BYTES_MAX, descending: bool = False
) -> list[StoredEvent]:
    """All matches, page by page; on the way it holds the store to what the contract says of each page."""
    events: list[StoredEvent] = []
    after: Position | None = None
    while True:
        answer = await store.query(page(wanted, limit=limit, bytes_max=bytes_max, descending=descending, after=after))
        sizes = [len(event.stored) for event in answer.events]
        assert len(sizes) <= limit
        assert sum(sizes) <= bytes_max or len(sizes) == 1, "a page passed bytes_max with more than one event"
        assert answer.events or not answer.more, "an empty page promised more"
        events += answer.events
        if not answer.more:
            break
        after = answer.events[-1].position
    places = [event.position for event in events]
    assert places == sorted(places, reverse=descending), "answers are not in the order of their positions"
    assert len(set(places)) == len(places), "an event was answered twice"
    return events


def event_ids(events: Iterable[StoredEvent]) -> list[str]:
    """The ids that stand in the stored bytes, in the order given."""
    return [Event.FromString(event.stored).event_id for event in events]
