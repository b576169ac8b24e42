"""The machine under the benchmark: its own speed at the moment, what processes use, what lies on the disk. Linux only (/proc)."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = [
    "Interval",
    "canary_ms",
    "command_line",
    "cpu_seconds",
    "describe",
    "disk_bytes",
    "peak_resident_mib",
    "process_tree",
    "resident_mib",
    "wait_until_quiet",
]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024 * 1024
_PACKAGES = ("grpcio", "protobuf", "apsw", "zstandard", "uvicorn", "uvloop", "starlette")


def canary_ms() -> float:
    """Milliseconds of a fixed piece of pure Python, best of three: how fast the machine is right now."""
    best = 1e9
    for _ in range(3):
        began, value = time.perf_counter(), 0
        for number in range(200_000):
            value = (value * 31 + number) % 1_000_003
        best = min(best, time.perf_counter() - began)
    return round(best * 1_000, 2)


def fdatasync_ms(directory: Path) -> float:
    """Median of 60 small appends made durable, in milliseconds: what a commit has to wait for at least."""
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        took = []
        for _ in range(60):
            os.write(file.fileno(), b"\xa5" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1_000, 3)


def _jiffies() -> tuple[int, int, int]:
    """(busy, idle, stolen) ticks of all processors since the start of the machine; proc(5)."""
    values = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = values[3] + values[4]
    return sum(values) - idle, idle, values[7]


def wait_until_quiet(limit_s: float = 20.0, busy_below: float = 0.10) -> float:
    """Wait for a second in which hardly anything runs; returns the busy share of the last second looked at."""
    end = time.monotonic() + limit_s
    while True:
        busy, idle, _ = _jiffies()
        time.sleep(1.0)
        busy_after, idle_after, _ = _jiffies()
        total = busy_after - busy + idle_after - idle
        share = (busy_after - busy) / max(1, total)
        if share < busy_below or time.monotonic() > end:
            return round(share, 3)


def process_tree(root: int) -> list[int]:
    """The process and all that descend from it, as far as they live."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        children: list[str] = []
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                children += (thread / "children").read_text().split()
        except OSError:
            continue
        found.append(pid)
        todo += [int(child) for child in children]
    return found


def command_line(pid: int) -> str:
    """What the process was started with; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def resident_mib(pids: Iterable[int]) -> float:
    """Resident memory in MiB, summed over processes; shared pages count once for each."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * _PAGE_BYTES / _MIB


def peak_resident_mib(pid: int) -> float:
    """The kernel's own high-water mark of one process in MiB; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor seconds, user and system, that living processes have used."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def disk_bytes(*directories: Path, files: str = "*", without: str = "") -> tuple[int, int]:
    """(allocated, apparent) bytes of the files below the directories: those that `files` names but not `without` (patterns)."""
    allocated = apparent = 0
    for directory in directories:
        for path in directory.rglob(files):
            if without and path.match(without):
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            if path.is_file():
                allocated += status.st_blocks * 512
                apparent += status.st_size
    return allocated, apparent


@dataclass
class Interval:
    """How much processor the server, the senders and everything else used, in cores, between `start` and `stop`."""

    server: int
    _began: float = 0.0
    _server_s: float = 0.0
    _busy: int = 0
    _stolen: int = 0

    def start(self) -> None:
        """Begin to count."""
        self._began, self._server_s = time.monotonic(), cpu_seconds(process_tree(self.server))
        self._busy, _, self._stolen = _jiffies()

    def stop(self, sender_s: float) -> dict[str, float]:
        """`sender_s`: processor seconds that the senders report for themselves."""
        took = max(1e-9, time.monotonic() - self._began)
        server_s = cpu_seconds(process_tree(self.server)) - self._server_s
        busy, _, stolen = _jiffies()
        other_s = max(0.0, (busy - self._busy) / _TICKS_PER_S - server_s - sender_s)
        return {
            "server_s": server_s,
            "server_cores": round(server_s / took, 2),
            "sender_cores": round(sender_s / took, 2),
            "other_cores": round(other_s / took, 2),
            "steal_cores": round((stolen - self._stolen) / _TICKS_PER_S / took, 3),
        }


def describe(directory: Path) -> dict[str, Any]:
    """What the figures depend on; `directory` is where the data will lie."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kib / 1024 / 1024),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "canary_ms": canary_ms(),
        "fdatasync_ms": fdatasync_ms(directory),
    }
