"""A server's memory, open files and files on disk over time, watched from outside."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.acceptance.started_server import StartedServer

__all__ = ["Reading", "Vitals", "slope"]

_MIB = 1024 * 1024
_EVERY_S = 1.0
_VERIFICATION = "chaukas.server.storage.sqlite.verification.follower"


class Reading(NamedTuple):
    """One look."""

    at_s: float
    #: Of the server and all processes below it, but for the verification.
    resident_mib: float
    #: Of the verification in the background, which holds the more the further it has come in the record, and lets go of it then.
    verifying_mib: float
    files: int
    threads: int
    #: Of all write-ahead logs.
    wal_mib: float


@dataclass
class Vitals:
    """A thread that looks every second."""

    server: StartedServer
    readings: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """No more."""
        self._stop.set()
        self._thread.join()

    def between(self, since_s: float, until_s: float = float("inf")) -> list[Reading]:
        """What was read in this span of the steady clock."""
        return [reading for reading in self.readings if since_s <= reading.at_s < until_s]

    def standstill_s(self) -> float:
        """The longest time without a look beyond the second that is meant: then the machine stood still, not only the server."""
        gaps = [later.at_s - earlier.at_s for earlier, later in itertools.pairwise(self.readings)]
        return max(0.0, max(gaps, default=0.0) - _EVERY_S)

    def read(self) -> Reading:
        """Look now. Raises `RuntimeError` when no server runs."""
        if self.server.process is None:
            raise RuntimeError("the server does not run")
        main = psutil.Process(self.server.process.pid)
        resident = verifying = files = threads = 0
        for process in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                if _VERIFICATION in process.cmdline():
                    verifying += process.memory_info().rss
                else:
                    resident += process.memory_info().rss
                files += process.num_fds()
                threads += process.num_threads()
        wal_bytes = 0
        for path in (self.server.directory / "data").glob("*-wal"):
            with contextlib.suppress(FileNotFoundError):
                wal_bytes += path.stat().st_size
        return Reading(time.monotonic(), resident / _MIB, verifying / _MIB, files, threads, wal_bytes / _MIB)

    def open_files(self) -> str:
        """What the server itself has open, by name or kind: for reports of files that should not be open any more."""
        if self.server.process is None:
            return ""
        found: Counter[str] = Counter()
        for link in Path(f"/proc/{self.server.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                found[Path(target).name if target.startswith("/") else target.partition(":")[0]] += 1
        return ", ".join(f"{name} {count}" for name, count in sorted(found.items()))

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.readings.append(self.read())


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much the second value rises for 1 of the first."""
    if len(points) < 2:
        return 0.0
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope
