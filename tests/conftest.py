"""Fixtures that every kind of test may use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recorded_dir() -> Path:
    """Real traffic of the published SDK, byte for byte (`tests/data/recorded/README.md` tells what each folder holds)."""
    return Path(__file__).parent / "data" / "recorded" / "openai_agents"


@pytest.fixture
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio: grpc.aio knows no other loop."""
    return "asyncio"
