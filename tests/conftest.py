"""Fixtures that every kind of test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

# The conformance suite's assertions stand in the package, where pytest explains them only when it is told to, and early.
for _part in (
    "append",
    "arrivals",
    "case",
    "concurrency",
    "filters",
    "life",
    "log",
    "oracle",
    "order",
    "quarantine",
    "sessions",
    "stats",
    "strings",
    "text",
):
    pytest.register_assert_rewrite(f"chaukas.server.testing.conformance_{_part}")
pytest.register_assert_rewrite("chaukas.server.testing.store_pair")


@pytest.fixture(scope="session")
def recorded_dir() -> Path:
    """Real traffic of the published SDK, byte for byte (`tests/data/recorded/README.md` tells what each folder holds)."""
    return Path(__file__).parent / "data" / "recorded" / "openai_agents"


@pytest.fixture
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio: grpc.aio knows no other loop."""
    return "asyncio"
