"""A process of its own that opens a store, appends the small workload, tells of each acknowledgement, and waits to be killed.

Arguments: the data directory, the number of commits, the number of the change of a file at which it kills itself (0: never), and
the user it becomes before it touches the directory (0: it stays who it is), because the superuser may write everywhere.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite import SqliteStore
from tests.faults.disk import Change, Disk, mounted
from tests.faults.workload import commits

__all__: list[str] = []


def _kill_at(disk: Disk, number: int) -> None:
    """Half of the change is done when the process dies."""
    perform = disk.change

    def change(wanted: Change, work: object) -> None:
        if disk.changes + 1 == number:
            disk.set_fault(None)
            os.kill(os.getpid(), signal.SIGKILL)
        perform(wanted, work)  # type: ignore[arg-type]

    disk.change = change  # type: ignore[method-assign]


async def _serve(directory: Path, count: int, kill_at: int) -> None:
    with mounted() as disk:
        if kill_at:
            _kill_at(disk, kill_at)
        store = SqliteStore(directory, vfs=disk.name)
        await store.open()
        print("open", flush=True)
        for items in commits(count, events=40):
            await store.append(items)
            print("acknowledged", flush=True)
        print("waiting", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await store.close()


async def _become(user: int) -> None:
    """A store is opened elsewhere first: what Python loads late may stand where the other user cannot read."""
    with TemporaryDirectory() as elsewhere:
        store = SqliteStore(Path(elsewhere))
        await store.open()
        await store.close()
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


if __name__ == "__main__":
    try:
        if int(sys.argv[4]):
            asyncio.run(_become(int(sys.argv[4])))
        asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    except CannotServeError as error:
        sys.exit(f"refused: {error}")
