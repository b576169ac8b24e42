"""The conformance suite: what `storage.contract` promises, as tests that every driver must pass.

A driver's project subclasses `StoreConformance` under a name that pytest collects and overrides one fixture:

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store_factory(self, tmp_path: Path) -> StoreFactory:
            def make(*, quarantine_items_max: int = 1_000, quarantine_bytes_max: int = 1 << 26) -> Store:
                return MyStore(tmp_path, "chaukas.localhost", quarantine_items_max, quarantine_bytes_max)

            return make

The tests are plain functions and need pytest alone. See `docs/drivers.md`.
"""

from __future__ import annotations

from chaukas.server.testing.conformance_append import AppendConformance
from chaukas.server.testing.conformance_arrivals import ArrivalConformance
from chaukas.server.testing.conformance_case import StoreFactory
from chaukas.server.testing.conformance_concurrency import ConcurrencyConformance
from chaukas.server.testing.conformance_filters import FilterConformance
from chaukas.server.testing.conformance_life import LifeConformance
from chaukas.server.testing.conformance_oracle import OracleConformance
from chaukas.server.testing.conformance_order import OrderConformance
from chaukas.server.testing.conformance_quarantine import QuarantineConformance
from chaukas.server.testing.conformance_sessions import SessionConformance
from chaukas.server.testing.conformance_stats import StatsConformance
from chaukas.server.testing.conformance_strings import StringConformance
from chaukas.server.testing.conformance_text import TextConformance

__all__ = ["StoreConformance", "StoreFactory"]


class StoreConformance(
    AppendConformance,
    QuarantineConformance,
    FilterConformance,
    StringConformance,
    TextConformance,
    OrderConformance,
    StatsConformance,
    SessionConformance,
    ArrivalConformance,
    ConcurrencyConformance,
    LifeConformance,
    OracleConformance,
):
    """All parts together; a driver passes when all of them do."""
