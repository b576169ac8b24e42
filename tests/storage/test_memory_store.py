"""`MemoryStore` under the conformance suite, and what it promises besides."""

import asyncio
from pathlib import Path

import pytest

from chaukas.audit.v1.log_entry_pb2 import LOG_ENTRY_KIND_EVENT, LogEntry
from chaukas.server.errors import CannotServeError, StorageError
from chaukas.server.storage.contract import EventFilter, Store
from chaukas.server.storage.entry import commitment, leaf_hash, origin_of
from chaukas.server.testing import MemoryStore, make_record
from chaukas.server.testing.conformance import StoreConformance, StoreFactory
from chaukas.server.testing.conformance_case import opened


class TestMemoryStore(StoreConformance):
    """The oracle keeps the contract that it is the oracle of."""

    second_server_refused = False
    # It is compared with itself there, so a few events are enough to see that the comparison runs.
    oracle_events = 500

    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        def make(*, quarantine_items_max: int = 1_000, quarantine_bytes_max: int = 1 << 26) -> Store:
            return MemoryStore(tmp_path, self.server_name, quarantine_items_max, quarantine_bytes_max)

        return make


def test_without_a_directory_the_object_keeps_its_content():
    """Without `data_dir` the content stays with the object over close and open, and a closed store refuses questions."""

    async def run():
        store = MemoryStore()
        with pytest.raises(StorageError):
            await store.count(EventFilter())
        async with opened(store):
            await store.append([make_record("e")])
        with pytest.raises(StorageError):
            await store.append([make_record("f")])
        async with opened(store):
            assert await store.count(EventFilter()) == 1

    asyncio.run(run())


def test_a_torn_last_line_is_dropped(tmp_path):
    """A journal that ends in half a line, as a crash leaves it, opens with everything before it and goes on."""

    async def run(name):
        async with opened(MemoryStore(tmp_path)) as store:
            await store.append([make_record(name)])
            return await store.count(EventFilter())

    assert asyncio.run(run("a")) == 1
    (journal,) = tmp_path.iterdir()
    with journal.open("ab") as file:
        file.write(b'{"events": [')
    assert asyncio.run(run("b")) == 2
    assert asyncio.run(run("c")) == 3


def test_a_foreign_journal_is_refused(tmp_path):
    """A journal that is not one is refused with `CannotServeError` and left as it is."""

    async def run():
        async with opened(MemoryStore(tmp_path)):
            pass

    asyncio.run(run())
    (journal,) = tmp_path.iterdir()
    journal.write_bytes(b'{"something": "else"}\n')
    with pytest.raises(CannotServeError):
        asyncio.run(run())
    assert journal.read_bytes() == b'{"something": "else"}\n'


def test_the_record_is_the_one_of_the_format():
    """Entries decode as `LogEntry`, commit to what is stored beside their salts, and chain by their leaf hashes."""

    async def run():
        store = MemoryStore(server_name="here")
        async with opened(store):
            await store.append([make_record(f"e{number}", session_id="s" if number % 2 else "") for number in range(6)])
        return store.log(origin_of("here", "acme", "shop"))

    kept = asyncio.run(run())
    assert [event.index for event in kept] == list(range(6))
    before = b""
    for event in kept:
        entry = LogEntry.FromString(event.entry)
        assert entry.SerializeToString(deterministic=True) == event.entry
        assert (entry.version, entry.kind, entry.received_at_ns) == (1, LOG_ENTRY_KIND_EVENT, event.received_at_ns)
        envelope = event.record.stored[: event.record.envelope_bytes]
        content = event.record.stored[event.record.envelope_bytes :]
        assert entry.envelope_commitment == commitment(event.envelope_salt, envelope)
        assert entry.content_commitment == commitment(event.content_salt, content)
        if event.record.session_id:
            assert entry.session_commitment == commitment(event.session_salt, b"s")
            assert entry.session_sequence == event.session_sequence == event.index // 2
        else:
            assert not entry.HasField("session_sequence")
            assert not entry.session_commitment
        assert event.leaf_hash_before == before
        assert event.leaf_hash == leaf_hash(event.entry)
        before = event.leaf_hash
    salts = [salt for event in kept for salt in (event.envelope_salt, event.content_salt)]
    assert len(set(salts)) == len(salts)
    assert len({event.session_salt for event in kept if event.record.session_id}) == 1
