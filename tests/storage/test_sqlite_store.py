"""`SqliteStore` under the conformance suite, as it is and with its units made small."""

from pathlib import Path

import pytest

from chaukas.server.storage.contract import Store
from chaukas.server.storage.sqlite import SqliteStore, WriterProcessSettings, logs, sessions
from chaukas.server.storage.sqlite.blocks import BlockReader
from chaukas.server.storage.sqlite.postings import Postings
from chaukas.server.storage.sqlite.segments import SegmentReader
from chaukas.server.testing.conformance import StoreConformance, StoreFactory


class TestSqliteStore(StoreConformance):
    """The embedded driver keeps the contract."""

    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        def make(*, quarantine_items_max: int = 1_000, quarantine_bytes_max: int = 1 << 26) -> Store:
            return SqliteStore(tmp_path, self.server_name, quarantine_items_max, quarantine_bytes_max)

        return make


class TestSqliteStoreWithWriterProcess(StoreConformance):
    """The driver keeps the contract when a process of its own writes the record."""

    oracle_events = 1_500

    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        def make(*, quarantine_items_max: int = 1_000, quarantine_bytes_max: int = 1 << 26) -> Store:
            bounds = quarantine_items_max, quarantine_bytes_max
            return SqliteStore(tmp_path, self.server_name, *bounds, writer_process=WriterProcessSettings())

        return make


class TestSqliteStoreInSmall(StoreConformance):
    """The driver keeps the contract while postings are merged all the time and hardly anything is remembered."""

    oracle_events = 2_500

    @pytest.fixture
    def store_factory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreFactory:
        monkeypatch.setattr(sessions, "_REMEMBERED_MAX", 5)
        monkeypatch.setattr(logs, "_REMEMBERED_MAX", 1)
        monkeypatch.setattr(SegmentReader.__init__, "__defaults__", (5_000,))
        monkeypatch.setattr(BlockReader.__init__, "__defaults__", (5_000,))

        def make(*, quarantine_items_max: int = 1_000, quarantine_bytes_max: int = 1 << 26) -> Store:
            postings = Postings(300, run_postings=32, merge_postings_min=8)
            return SqliteStore(tmp_path, self.server_name, quarantine_items_max, quarantine_bytes_max, postings=postings)

        return make
