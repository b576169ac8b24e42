"""Part `disk`: the disk runs full under load, with kills while it is full, and starts on a disk without room.

The data lies on a tmpfs whose size is changed while it is in use, which takes the right to mount (root). Without that, a limit on
the size of files (RLIMIT_FSIZE) is put on the running server: then files can not grow, but a start always finds room.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psutil

from campaign.crashes import Crashes
from campaign.outcome import Stage
from tests.acceptance.started_server import StartedServer, running_server

__all__ = ["run"]

_MIB = 1024 * 1024
_ROOM_MIB = 256
_WAIT_S = 60.0
#: Refusals after which the disk counts as full.
_REFUSALS = 5


class _Disk(Protocol):
    #: For the report.
    name: str
    #: Whether a process that starts finds no room either.
    lasts: bool

    def fill(self, server: StartedServer) -> None:
        """Leave next to no room from now on."""

    def empty(self, server: StartedServer) -> None:
        """Give room again."""


class _SmallFileSystem:
    name = "tmpfs, remounted with next to no room"
    lasts = True

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fill(self, server: StartedServer) -> None:
        del server
        # A few pages of a commit can still be written, so that some fail in the middle. The system refuses a size that is in use
        # already, and the server writes meanwhile: then with more room.
        for spare_bytes in range(40 * 1024, 64 * _MIB, 80 * 1024):
            if self._resize(self._used() + spare_bytes):
                return
        raise RuntimeError("the file system could not be made small")

    def empty(self, server: StartedServer) -> None:
        del server
        if not self._resize(self._used() + _ROOM_MIB * _MIB):
            raise RuntimeError("the file system could not be made large")

    def _used(self) -> int:
        status = os.statvfs(self._directory)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def _resize(self, size_bytes: int) -> bool:
        command: list[str | Path] = ["mount", "-o", f"remount,size={size_bytes}", self._directory]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


class _SizeLimit:
    name = "RLIMIT_FSIZE on the running server (no right to mount)"
    lasts = False

    def fill(self, server: StartedServer) -> None:
        largest = max(path.stat().st_size for path in (server.directory / "data").iterdir())
        self._limit(server, largest + 20_000)

    def empty(self, server: StartedServer) -> None:
        self._limit(server, resource.RLIM_INFINITY)

    def _limit(self, server: StartedServer, size_bytes: int) -> None:
        if server.process is not None:
            served = psutil.Process(server.process.pid)
            for process in (served, *served.children()):
                process.rlimit(resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


@contextlib.contextmanager
def _disk(data: Path) -> Iterator[_Disk]:
    data.mkdir(parents=True)
    mount = shutil.which("mount")
    options = f"size={_ROOM_MIB * _MIB},mode=700"
    mounted = mount and subprocess.run([mount, "-t", "tmpfs", "-o", options, "campaign", data], check=False, capture_output=True)
    if not mounted or mounted.returncode:
        yield _SizeLimit()
        return
    try:
        yield _SmallFileSystem(data)
    finally:
        _unmount(data)


def _unmount(data: Path) -> None:
    """What a killed server started may have files open for a moment longer; in the end the mount goes when they do."""
    for _ in range(20):
        if subprocess.run(["umount", data], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.5)
    subprocess.run(["umount", "--lazy", data], check=True)


def run(stage: Stage) -> None:
    """Fill, wait for refusals, kill or recover, and read everything back."""
    with (
        _disk(stage.directory / "data") as disk,
        running_server(stage.directory) as server,
        Crashes(stage, server, patient=True) as crashes,
    ):
        full_starts = recoveries = 0
        for number in range(stage.plan.disk_rounds):
            crashes.begin()
            time.sleep(stage.chance.uniform(0.1, 0.6))
            disk.fill(server)
            _wait_for_refusals(crashes)
            time.sleep(stage.chance.uniform(0, 0.5))
            if number % 2:
                acknowledged = len(crashes.load.acknowledged)
                disk.empty(server)
                recoveries += _acknowledges_again(crashes, acknowledged)
            crashes.kill()
            full_starts += disk.lasts and not number % 2
            if not disk.lasts:
                disk.empty(server)
            crashes.start()
            crashes.read_everything()
            disk.empty(server)
        crashes.check_record()
        stage.figure("requests refused for want of room", crashes.load.refused)
        stage.figure("starts on a full disk", full_starts)
        rounds = stage.plan.disk_rounds // 2
        stage.bounded("goes on by itself with room again", f"{recoveries} of {rounds}", "all", met=recoveries == rounds)
        stage.note(f"how the disk was filled: {disk.name}")


def _wait_for_refusals(crashes: Crashes) -> None:
    before, give_up_at = crashes.load.refused, time.monotonic() + _WAIT_S
    while crashes.load.refused < before + _REFUSALS:
        if time.monotonic() > give_up_at:
            crashes.stage.problem("the disk is full, but nothing was refused")
            return
        time.sleep(0.01)


def _acknowledges_again(crashes: Crashes, acknowledged: int) -> bool:
    give_up_at = time.monotonic() + _WAIT_S
    while len(crashes.load.acknowledged) <= acknowledged + 100:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True
