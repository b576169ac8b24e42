"""A record to be tampered with: the demo's sessions, twice more in one log so that it has a full block, and things set aside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.demo import DEMO_TENANT, demo_sessions
from chaukas.server.ingest.prepare import prepare
from chaukas.server.storage.contract import EventRecord, QuarantineItem
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.tlog.opening import open_sequencer
from chaukas.server.validation import Limits
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["SERVER_NAME", "append_some", "make_record"]

SERVER_NAME = "chaukas.localhost"
_AT_NS = 1_769_796_000 * 1_000_000_000
_COPIES = 2
_PER_COMMIT = 150


def _records(copy: int, changed: str) -> list[EventRecord | QuarantineItem]:
    """The events of all sessions; those of a copy under other ids and in one project."""
    records: list[EventRecord | QuarantineItem] = []
    limits, now_ns = Limits(), time.time_ns()
    for which, session in enumerate(demo_sessions(_AT_NS)):
        for number, original in enumerate(session.events):
            event = Event()
            event.CopyFrom(original)
            if copy:
                event.project_id = "support"
                event.event_id = f"{copy}-{event.event_id}"
                event.session_id = f"{copy}-{event.session_id}"
            if which == 0 and number == 7:
                # The server sets the time: what arrived is then not what is stored, and the session touches several hours.
                event.ClearField("timestamp")
            if changed and event.event_id.startswith("1-") and number == 2:
                event.metadata.update({"note": changed})
            records.append(prepare(event, ANONYMOUS, limits, SERVER_NAME, now_ns))
    return records


async def make_record(directory: Path, changed: str = "") -> None:
    """A record with several heads in `directory/data`, signed with the key in `directory/state`; what there is goes on.

    `changed` is written into some events: the same record, with another history.
    """
    async with _opened(directory, SERVER_NAME) as (store, sign):
        for copy in range(_COPIES + 1):
            records = _records(copy, changed)
            for at in range(0, len(records), _PER_COMMIT):
                await store.append(records[at : at + _PER_COMMIT])
            await sign()
        aside = [
            QuarantineItem(DEMO_TENANT, "support", f"bad-{number}", b"\xff%d" % number, ("no event",)) for number in range(3)
        ]
        await store.append([*aside, QuarantineItem("", "", "", b"\xfe", ("of nobody",))])
        await store.log_store.log_quarantined(10)
        await sign()


async def append_some(directory: Path, name: str, server_name: str) -> None:
    """A few more events and heads."""
    async with _opened(directory, server_name) as (store, sign):
        for round_ in range(2):
            events = [
                Event(
                    event_id=f"{name}-{round_}-{n}", tenant_id=DEMO_TENANT, project_id="support", type="EVENT_TYPE_SESSION_START"
                )
                for n in range(3)
            ]
            await store.append([prepare(event, ANONYMOUS, Limits(), server_name, time.time_ns()) for event in events])
            await sign()


@contextlib.asynccontextmanager
async def _opened(
    directory: Path, server_name: str
) -> AsyncIterator[tuple[SqliteStore, Callable[[], Coroutine[None, None, None]]]]:
    state = directory / "state"
    state.mkdir(parents=True, exist_ok=True)
    store = SqliteStore(directory / "data", server_name)
    await store.open()
    try:
        sequencer = await open_sequencer(store.log_store, state, None)
        yield store, sequencer.sign_all
    finally:
        await store.close()
