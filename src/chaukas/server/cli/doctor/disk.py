"""Where the data lies: what kind of file system, and how much room is left."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chaukas.server.cli.doctor.directories import existing_part
from chaukas.server.cli.doctor.finding import Finding, ok, problem, warning
from chaukas.server.config import Settings

__all__ = ["Mount", "check_disk", "check_file_system", "mount_of"]

_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
#: SQLite's write-ahead log needs memory that all processes share and locks that hold (sqlite.org/wal.html, "Overview").
_NETWORK: Final = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"),
        *("ocfs2", "gfs2", "orangefs", "pvfs2", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone"),
        *("fuse.gcsfuse", "fuse.juicefs", "fuse.davfs"),
    )
)
#: Folders of the host that a virtual machine sees; their locks and their memory maps are known to fail.
_SHARED: Final = frozenset(
    {"vboxsf", "vmhgfs", "fuse.vmhgfs-fuse", "prl_fs", "drvfs", "fakeowner", "fuse.osxfs", "fuse.grpcfuse"}
)
_VOLATILE: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_GIB: Final = 1024**3
#: The write-ahead log grows to this while a long question holds it open, and beyond what the settings bound.
_LOG_BYTES: Final = 256 * 1024**2
_INODES_MIN: Final = 1_000


class Mount:
    """The file system that a path lies on."""

    def __init__(self, point: str, kind: str, *, read_only: bool) -> None:
        self.point = point
        self.kind = kind
        self.read_only = read_only


def mount_of(path: Path, listing: str) -> Mount | None:
    """The mount that holds `path`, which is absolute and free of links; `listing` is a mountinfo (proc(5))."""
    found: Mount | None = None
    for line in listing.splitlines():
        before, separator, after = line.partition(" - ")
        fields, described = before.split(), after.split()
        if not separator or len(fields) < 6 or not described:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # A later line hides an earlier one that has the same place.
        if path.is_relative_to(point) and (found is None or len(point) >= len(found.point)):
            found = Mount(point, described[0], read_only="ro" in fields[5].split(","))
    return found


def check_file_system(settings: Settings) -> Iterator[Finding]:
    """Whether SQLite can be trusted there."""
    check, path = "file system", existing_part(settings.data_dir.absolute()).resolve()
    try:
        mount = mount_of(path, _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        mount = None
    if mount is None:
        yield ok(check, "its kind can not be told on this system; it must be local, not a network mount")
    elif mount.read_only:
        yield problem(check, f"{mount.point} ({mount.kind}) is mounted read-only", "mount it for writing, or set data_dir")
    elif mount.kind in _NETWORK or mount.kind in _SHARED:
        yield problem(
            check,
            f"{path} lies on {mount.kind} ({mount.point}), where SQLite's locks and shared memory can not be trusted",
            "set data_dir to a directory on a local disk",
        )
    elif mount.kind in _VOLATILE:
        yield warning(
            check,
            f"{path} lies in memory ({mount.kind}); a restart of the machine loses it",
            "set data_dir to a directory on a disk",
        )
    elif mount.kind == "overlay" and mount.point == "/":
        yield warning(check, f"{path} lies in the container's own layer and goes with it", "mount a volume there")
    else:
        yield ok(check, f"{mount.kind} at {mount.point}")


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Whether what the settings allow to be kept beside the record fits, and some days of record."""
    check, path = "disk", existing_part(settings.data_dir.absolute())
    free = shutil.disk_usage(path).free
    least = int(settings.queue_bytes_max) + _LOG_BYTES
    wanted = least + int(settings.quarantine_bytes_max) + _GIB
    text = f"{_gib(free)} GiB free at {path}"
    if free < least:
        yield problem(check, f"{text}; the queue and the write-ahead log alone may take {_gib(least)} GiB", "make room")
    elif free < wanted:
        yield warning(
            check, f"{text}; with a full quarantine {_gib(wanted)} GiB are wanted", "make room, or lower quarantine_bytes_max"
        )
    else:
        yield ok(check, f"{text}, {_gib(wanted)} GiB are wanted at least")
    inodes = os.statvfs(path)
    if inodes.f_files and inodes.f_favail < _INODES_MIN:
        yield warning(
            check, f"only {inodes.f_favail} more files can be made at {path}", "remove files, or use another file system"
        )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.1f}"
