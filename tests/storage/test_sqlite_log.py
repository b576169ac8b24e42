"""The SQLite driver's side of the transparency log, under the suite that every driver with a log must pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaukas.server.errors import ChaukasError
from chaukas.server.storage.contract import Store
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.storage.sqlite.log_store import SqliteLogStore
from chaukas.server.storage.sqlite.tree import TreeReader
from chaukas.server.testing.conformance_case import StoreFactory
from chaukas.server.testing.conformance_log import LogConformance


def _factory(directory: Path) -> StoreFactory:
    def make(*, quarantine_items_max: int = 1_000, quarantine_bytes_max: int = 1 << 26) -> Store:
        return SqliteStore(directory, LogConformance.server_name, quarantine_items_max, quarantine_bytes_max)

    return make


class TestSqliteLog(LogConformance):
    """The embedded driver keeps the contract of the log."""

    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return _factory(tmp_path)


def _answers(name: str, change: Callable[[Any], object]) -> tuple[type, str, Callable[..., object]]:
    """A fault of a snapshot: every answer to one of its questions is changed."""
    ask = getattr(TreeReader, name)
    return TreeReader, name, lambda self, *question: change(ask(self, *question))


async def _grows_one_by_one(self: SqliteLogStore, growths: Any) -> None:
    for growth in growths:
        await self._writer.grow_trees([growth])


async def _ignores_what_is_wrong(self: SqliteLogStore, log_id: int, size: int, note: bytes) -> None:
    head = await self.head(log_id, size)
    if head is not None and note.startswith(head.note):
        await self._writer.cosign_head(log_id, size, note)


FAULTS = {
    "a_read_sees_one_state": (TreeReader, "read", lambda self, work: work(self)),
    "what_a_read_raises_comes_out": (TreeReader, "log", lambda _self, _log_id: None),
    "logs_by_scope_in_the_order_of_their_origins": _answers("logs", lambda logs: logs[::-1]),
    "an_event_is_found_once_in_each_log_of_the_scope": _answers("find_event", lambda places: places + places[:1]),
    "entries_open_with_their_records": _answers("entries", lambda entries: entries[:-1] or entries),
    "tiles_and_heads_are_kept": _answers("tiles", sorted),
    "heads_of_two_keys_are_kept_for_ever": _answers("covering_head", lambda _head: None),
    "a_tree_only_grows": (SqliteLogStore, "grow_trees", _grows_one_by_one),
    "a_head_gets_further_signatures_only": (SqliteLogStore, "cosign_head", _ignores_what_is_wrong),
    "other_entries_stand_among_the_events": _answers("entry_record", lambda _record: None),
    "what_was_set_aside_gets_its_entry_once": _answers("entry_record", lambda _record: None),
}


def test_every_test_of_the_suite_has_a_fault() -> None:
    """No test of the suite passes whatever a driver does: each has a fault here that it finds."""
    assert {f"test_{name}" for name in FAULTS} == {name for name in vars(LogConformance) if name.startswith("test_")}


@pytest.mark.parametrize("name", FAULTS)
def test_the_suite_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A driver with this fault fails the test of the suite that is named beside it."""
    owner, method, faulty = FAULTS[name]
    monkeypatch.setattr(owner, method, faulty)
    with pytest.raises((AssertionError, ChaukasError, pytest.fail.Exception)):
        getattr(LogConformance(), f"test_{name}")(_factory(tmp_path))
