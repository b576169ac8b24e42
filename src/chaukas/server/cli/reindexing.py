"""`chaukas reindex`: the text index of a stopped server, made anew."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from chaukas.server.cli.failure import CommandError
from chaukas.server.storage.sqlite.connection import DATABASE_NAME
from chaukas.server.storage.sqlite.lock import DirectoryLock
from chaukas.server.storage.sqlite.text_index.file import TEXT_INDEX_NAME
from chaukas.server.storage.sqlite.text_index.follower import TextFollower

__all__ = ["reindex_directory"]


def reindex_directory(data_dir: Path, *, quiet: bool) -> None:
    """Drop the index and build it from the record, with a progress bar on a terminal; then tell what it holds.

    Interrupted, it is continued by the server, or by the next call, which begins anew. Raises `CommandError` when there is no
    record, `CannotServeError` when a server uses the directory, `StorageError` when record or index cannot be read or written.
    """
    if not (data_dir / DATABASE_NAME).exists():
        raise CommandError(f"--data: there is no event store in {data_dir}")
    lock = DirectoryLock(data_dir)
    lock.acquire()
    try:
        began = time.monotonic()
        events = _rebuild(data_dir, quiet=quiet)
    finally:
        lock.release()
    if not quiet:
        size = (data_dir / TEXT_INDEX_NAME).stat().st_size
        seconds = max(time.monotonic() - began, 0.001)
        print(f"indexed {events:,} events in {seconds:.1f} s ({events / seconds:,.0f}/s); the index has {size / 2**20:.1f} MiB")


def _rebuild(data_dir: Path, *, quiet: bool) -> int:
    follower = TextFollower(data_dir)
    try:
        follower.drop()
        console = Console(stderr=True)
        columns = (
            TextColumn("reindex"), BarColumn(bar_width=30), TaskProgressColumn(), TextColumn("{task.completed:,.0f} events"),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
            task = progress.add_task("reindex", total=follower.missing())
            while added := follower.step():
                progress.advance(task, added)
        follower.settle()
        return follower.indexed_events
    finally:
        follower.close()
