"""Reading a record for an export gives what the store gives one by one, whatever kinds of entries a log has."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from chaukas.server.errors import CannotServeError, StorageError
from chaukas.server.storage.contract import EventFilter, QuarantineItem
from chaukas.server.storage.entry import KIND_KEY
from chaukas.server.storage.log_contract import OtherEntry
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.storage.sqlite.connection import connect
from chaukas.server.storage.sqlite.export_reader import ExportReader
from chaukas.server.testing import make_record


async def _fill(store: SqliteStore) -> None:
    """Commits of all sizes, some sessions, entries of the quarantine and of keys in between."""
    chance = random.Random(7)
    for number in range(40):
        names = [f"e{number}-{at}" for at in range(chance.choice((1, 2, 30, 200)))]
        project = chance.choice(("shop", "web"))
        records = [
            make_record(name, project_id=project, session_id=chance.choice(("", "s1", "s2")), type=1 + len(name) % 5)
            for name in names
        ]
        await store.append(records)
        if number % 5 == 0:
            await store.append([QuarantineItem("acme", project, f"bad{number}", b"raw %d" % number, ("type: is required",))])
            await store.log_store.log_quarantined(10)
        if number % 7 == 0:
            for log in await store.log_store.logs(None, None):
                await store.log_store.append_others(log.log_id, [OtherEntry(KIND_KEY, b"", b"key %d" % number)])


def test_the_stream_is_what_the_store_gives(tmp_path: Path) -> None:
    """Entries, bytes and salts of a whole log, of parts of it and of single places; beside the store that writes it."""

    async def run() -> None:
        store = SqliteStore(tmp_path)
        await store.open()
        await _fill(store)
        chance = random.Random(8)
        reader = ExportReader(tmp_path)
        logs = reader.logs(None, None)
        assert [log for log, _ in logs] == await store.log_store.logs(None, None)
        assert all(others for _, others in logs)
        for log, _ in logs:
            expected = [await store.log_store.entry_record(log.log_id, index) for index in range(log.size)]
            assert list(reader.records(log, 0, log.size)) == expected
            for _ in range(20):
                start, end = sorted(chance.randrange(log.size + 1) for _ in range(2))
                assert list(reader.records(log, start, end)) == expected[start:end]
                places = sorted(chance.sample(range(log.size), chance.randrange(1, 40)))
                assert list(reader.records_at(log, places)) == [expected[place] for place in places]
            with pytest.raises(StorageError, match=f"entry {log.size} "):
                list(reader.records(log, log.size - 1, log.size + 1))
        reader.close()
        await store.close()

    asyncio.run(run())


def test_matches_are_those_of_the_store(tmp_path: Path) -> None:
    """The places that match a filter are those of the events that a query gives."""

    async def run() -> None:
        store = SqliteStore(tmp_path)
        await store.open()
        await _fill(store)
        reader = ExportReader(tmp_path)
        for wanted in (
            EventFilter(),
            EventFilter(project_id="shop", types=frozenset((2, 3))),
            EventFilter(session_id="s1"),
            EventFilter(agent_id="nobody"),
        ):
            found = reader.matches(wanted)
            assert sum(map(len, found.values())) == await store.count(wanted)
            assert all(list(indices) == sorted(set(indices)) for indices in found.values())
        reader.close()
        await store.close()

    asyncio.run(run())


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    """No record, one of another format, and a file that is no database are told apart from an empty export."""
    with pytest.raises(CannotServeError, match="no event store"):
        ExportReader(tmp_path)
    (tmp_path / "record.db").write_bytes(b"nothing that could be a database" * 100)
    with pytest.raises(CannotServeError, match="cannot be read"):
        ExportReader(tmp_path)
    (tmp_path / "record.db").unlink()
    database = connect(tmp_path, writer=True, cache_kib=100)
    database.pragma("user_version", 99)
    database.close()
    with pytest.raises(CannotServeError, match="format 99"):
        ExportReader(tmp_path)
