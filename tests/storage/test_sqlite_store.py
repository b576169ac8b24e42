"""`SqliteStore` under the conformance suite."""

from pathlib import Path

import pytest

from chaukas.server.storage.contract import Store
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.testing.conformance import StoreConformance, StoreFactory


class TestSqliteStore(StoreConformance):
    """The embedded driver keeps the contract."""

    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        def make(*, quarantine_items_max: int = 1_000, quarantine_bytes_max: int = 1 << 26) -> Store:
            return SqliteStore(tmp_path, self.server_name, quarantine_items_max, quarantine_bytes_max)

        return make
