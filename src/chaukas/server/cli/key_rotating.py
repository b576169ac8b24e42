"""`chaukas key rotate`: another key for the logs of a stopped server."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.terminal import output_console
from chaukas.server.config import Settings
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.storage.sqlite.connection import DATABASE_NAME
from chaukas.server.tlog.rotation import Rotation, rotate_key
from chaukas.verify.verifier_keys import ED25519, VerifierKey

__all__ = ["rotate"]


def rotate(settings: Settings, *, as_json: bool) -> None:
    """Rotate, with a progress bar on a terminal, and tell the new keys.

    Raises `CommandError` when there is no record, `CannotServeError` when a server uses it or it contradicts what was signed,
    `ConfigurationError` for keys that cannot be read or written, `StorageError`.
    """
    if not (settings.data_dir / DATABASE_NAME).exists():
        raise CommandError(f"--data: there is no event store in {settings.data_dir}")
    done = asyncio.run(_rotate(settings))
    output = output_console().file
    if as_json:
        output.write(f"{json_text(_to_json(done), indent=2)}\n")
        return
    output.write("# the rest of an interrupted rotation is done\n" if done.resumed else "# the key is replaced\n")
    for log, index in done.logs:
        output.write(f"{VerifierKey(log.origin, ED25519, done.new)}\n# from entry {index} on\n")


async def _rotate(settings: Settings) -> Rotation:
    store = SqliteStore(
        settings.data_dir,
        settings.server_name,
        quarantine_items_max=settings.quarantine_items_max,
        quarantine_bytes_max=int(settings.quarantine_bytes_max),
    )
    console = Console(stderr=True)
    columns = (TextColumn("rotate"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("logs"))
    try:
        await store.open()
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("rotate", total=None)
            return await rotate_key(
                store.log_store,
                settings.state_dir,
                settings.log_key_file,
                on_log=lambda number, logs: progress.update(task, completed=number, total=logs),
            )
    finally:
        await store.close()


def _to_json(done: Rotation) -> dict[str, object]:
    return {
        "resumed": done.resumed,
        "logs": [
            {
                "origin": log.origin,
                "index": index,
                "old_key": str(VerifierKey(log.origin, ED25519, done.old)),
                "new_key": str(VerifierKey(log.origin, ED25519, done.new)),
            }
            for log, index in done.logs
        ],
    }
