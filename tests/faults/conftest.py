"""What the store-level fault tests share: small blocks and generations, so that a small workload seals and merges all the time.

The sizes are patched into the driver's modules: they belong to its format and are no setting.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chaukas.server.storage.sqlite import SqliteStore, appender, blocks, columns, connection, duplicates, postings, reader

EVENTS_PER_BLOCK = 16


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks of 16 events and a checkpoint every few commits; returns the events per block."""
    for module in (appender, blocks, columns, duplicates, reader):
        assert module.EVENTS_PER_BLOCK > EVENTS_PER_BLOCK
        monkeypatch.setattr(module, "EVENTS_PER_BLOCK", EVENTS_PER_BLOCK)
    assert connection._CHECKPOINT_PAGES > 0
    monkeypatch.setattr(connection, "_CHECKPOINT_PAGES", 60)
    return EVENTS_PER_BLOCK


@pytest.fixture
def make_store(small_blocks: int) -> Callable[..., SqliteStore]:  # noqa: ARG001  the patch must stand first
    """Makes stores whose postings are merged in many small steps."""

    def make(directory: Path, vfs: str | None = None) -> SqliteStore:
        return SqliteStore(directory, vfs=vfs, postings=postings.Postings(40, run_postings=80, merge_postings_min=9))

    return make
