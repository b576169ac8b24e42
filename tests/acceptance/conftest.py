"""One event loop for all servers in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """As in `tests/conftest.py`, for the whole session."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def _one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Hold the loop: grpc.aio has one poller per process, which stumbles over late events of a loop that was closed."""
    del anyio_backend
    yield  # noqa: PT022  the loop stays as long as the fixture
