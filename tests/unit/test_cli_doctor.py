"""The checks of `chaukas doctor` whose causes a test can not make on the machine itself."""

from __future__ import annotations

import errno
import socket
import types
from collections.abc import Iterable
from pathlib import Path

import pytest

from chaukas.server.cli.doctor import directories, disk, limits, ports, software, text_index
from chaukas.server.cli.doctor.clock import check_clock
from chaukas.server.cli.doctor.configuration import check_configuration
from chaukas.server.cli.doctor.finding import Finding, Verdict
from chaukas.server.config import Settings
from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite.inspection import RecordFigures

_NOW_NS = 1_769_796_000 * 10**9
_MOUNTS = r"""21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
22 21 0:30 / /srv rw - nfs4 host:/srv rw
23 22 8:2 / /srv/data\040one rw shared:3 - xfs /dev/sdb1 rw
24 21 0:31 / /run rw - tmpfs tmpfs rw
25 21 8:3 / /mnt ro - ext4 /dev/sdc1 ro
26 21 0:40 / /mnt rw - fuse.sshfs me@host: rw
a line of another kind
"""


def verdicts(findings: Iterable[Finding]) -> list[Verdict]:
    return [finding.verdict for finding in findings]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/data", "nfs4"),
        ("/srv/data one/x", "xfs"),
        ("/srvx", "ext4"),
        ("/run/a/b", "tmpfs"),
        ("/mnt/a", "fuse.sshfs"),
    ],
)
def test_a_path_lies_on_its_nearest_mount(path: str, kind: str) -> None:
    """The kind of file system is that of the mount which holds the path, whatever lies above it or was hidden by a later one."""
    mount = disk.mount_of(Path(path), _MOUNTS)
    assert mount is not None
    assert mount.kind == kind


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("1 0 8:1 / / rw - ext4 /dev/sda1 rw", Verdict.OK),
        ("1 0 8:1 / / ro - ext4 /dev/sda1 ro", Verdict.PROBLEM),
        ("1 0 8:1 / / rw - nfs4 host:/ rw", Verdict.PROBLEM),
        ("1 0 8:1 / / rw - 9p host rw", Verdict.PROBLEM),
        ("1 0 8:1 / / rw - vboxsf host rw", Verdict.PROBLEM),
        ("1 0 8:1 / / rw - tmpfs tmpfs rw", Verdict.WARNING),
        ("1 0 8:1 / / rw - overlay overlay rw", Verdict.WARNING),
    ],
)
def test_file_systems_that_sqlite_must_not_use_are_problems(
    line: str, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network mounts and read-only ones are problems; what does not outlive the machine or the container is a warning."""
    listing = tmp_path / "mountinfo"
    listing.write_text(line + "\n")
    monkeypatch.setattr(disk, "_MOUNTS", listing)
    assert verdicts(disk.check_file_system(Settings(data_dir=tmp_path))) == [verdict]


def test_a_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than the queue and the log may take is a problem, less than a full quarantine needs a warning."""
    found = []
    for free in (0, 1024**3, 1024**4):
        monkeypatch.setattr(
            disk.shutil, "disk_usage", lambda _, free=free: disk.shutil._ntuple_diskusage(2**50, 2**50 - free, free)
        )
        found += verdicts(disk.check_disk(Settings(data_dir=tmp_path)))
    assert found == [Verdict.PROBLEM, Verdict.WARNING, Verdict.OK]


@pytest.mark.parametrize(
    ("wall_s", "jump_ms", "newest_s", "verdict"),
    [
        (_NOW_NS // 10**9, 0, None, Verdict.OK),
        (_NOW_NS // 10**9, 0, _NOW_NS // 10**9 - 5, Verdict.OK),
        (_NOW_NS // 10**9, 0, _NOW_NS // 10**9 + 3600, Verdict.PROBLEM),
        (_NOW_NS // 10**9, 500, None, Verdict.WARNING),
        (_NOW_NS // 10**9, -500, None, Verdict.WARNING),
        (5, 0, None, Verdict.PROBLEM),
        (946_684_800, 0, None, Verdict.PROBLEM),
        (2**40, 0, None, Verdict.PROBLEM),
    ],
)
def test_a_clock_that_is_wrong_is_seen(wall_s: int, jump_ms: int, newest_s: int | None, verdict: Verdict) -> None:
    """A clock before its time, behind the record, or one that jumps while it is watched is reported."""
    walls = iter([wall_s * 10**9, (wall_s * 1000 + 100 + jump_ms) * 10**6])
    steady = iter([0, 100 * 10**6])
    newest_ns = None if newest_s is None else newest_s * 10**9
    findings = check_clock(newest_ns, now_ns=lambda: next(walls), monotonic_ns=lambda: next(steady), sleep=lambda _: None)
    assert verdicts(findings) == [verdict]


def test_a_port_of_another_program_is_a_problem() -> None:
    """Port in use by something that is no Chaukas server; port 0 and a free port are fine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0)
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        settings = Settings(grpc_address=taken, http_address="127.0.0.1:0")
        assert verdicts(ports.check_ports(settings, None)) == [Verdict.OK, Verdict.PROBLEM]


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EADDRNOTAVAIL, errno.EINVAL])
def test_an_address_that_can_not_be_opened_is_a_problem(refusal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports below 1024 and addresses of other machines are told apart from taken ones, each with its advice."""
    monkeypatch.setattr(ports, "_refusal", lambda _: refusal)
    findings = list(ports.check_ports(Settings(), None))
    assert verdicts(findings) == [Verdict.PROBLEM, Verdict.PROBLEM]
    assert [name in found.advice for name, found in zip(("http_address", "grpc_address"), findings, strict=True)] == [True, True]


@pytest.mark.parametrize(
    ("soft", "hard", "verdict"),
    [(4096, 4096, Verdict.OK), (-1, -1, Verdict.OK), (256, 4096, Verdict.WARNING), (256, 256, Verdict.WARNING)],
)
def test_too_few_open_files_are_seen(soft: int, hard: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both listeners at their limit must fit into the number of files that a process may open."""
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (soft, hard))
    assert verdicts(limits.check_open_files(Settings())) == [verdict]


def test_a_directory_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    """Evidence that every user may read is worth a line, and so are keys that lie among the data."""
    tmp_path.chmod(0o755)
    state = tmp_path / "state"
    findings = list(directories.check_directories(Settings(data_dir=tmp_path, state_dir=state)))
    assert verdicts(findings) == [Verdict.OK, Verdict.WARNING, Verdict.OK, Verdict.WARNING]
    assert not state.exists()


def test_a_file_in_the_place_of_a_directory_is_a_problem(tmp_path: Path) -> None:
    """A path that is a file is named as such."""
    file = tmp_path / "data"
    file.write_text("x")
    tmp_path.chmod(0o700)
    findings = list(directories.check_directories(Settings(data_dir=file, state_dir=tmp_path)))
    assert verdicts(findings) == [Verdict.PROBLEM, Verdict.OK]


def test_a_misspelt_variable_is_seen(tmp_path: Path) -> None:
    """A variable with the server's prefix that names no setting is a warning when it looks like one, and else left alone."""
    environment = {"CHAUKAS_SERVER_HOLDS": "1", "CHAUKAS_SERVER_PORT_8080_TCP_PROTO": "tcp", "CHAUKAS_SERVER_URL": "http://x"}
    findings = list(check_configuration(Settings(data_dir=tmp_path), None, environment))
    assert verdicts(findings) == [Verdict.OK, Verdict.WARNING]
    assert "CHAUKAS_SERVER_HOLD_S" in findings[1].advice


def test_modules_of_the_published_client_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever wheel was installed last has its modules loaded: an older contract is a problem, a poorer one a warning."""
    published = types.SimpleNamespace(DESCRIPTOR=types.SimpleNamespace(fields_by_name={"event_id": None}))

    def too_old() -> None:
        raise CannotServeError("its Event has no trace_id")

    found = [check_of("contract").verdict]
    monkeypatch.setattr(software, "QueryRequest", published)
    found.append(check_of("contract").verdict)
    monkeypatch.setattr(software, "require_contract", too_old)
    found.append(check_of("contract").verdict)
    assert found == [Verdict.OK, Verdict.WARNING, Verdict.PROBLEM]
    assert "reinstall" in check_of("contract").advice


def test_old_and_slow_libraries_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite without STRICT tables is a problem, protobuf in pure Python a warning."""
    monkeypatch.setattr(software, "library_versions", lambda: {"sqlite": "3.9.4", "apsw": "3.9.2"})
    monkeypatch.setattr(software.api_implementation, "Type", lambda: "python")
    assert [check_of("SQLite").verdict, check_of("protobuf").verdict] == [Verdict.PROBLEM, Verdict.WARNING]


def check_of(name: str) -> Finding:
    return next(finding for finding in software.check_software() if finding.check == name)


def test_an_index_that_is_far_behind_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a running server a great lag is a warning; without one the next start makes it good."""
    figures = RecordFigures(is_record=True, format_version=1, events=1_000_000)
    monkeypatch.setattr(text_index, "indexed_events", lambda *_, **__: 300_000)
    settings = Settings(data_dir=tmp_path)
    assert verdicts(text_index.check_text_index(settings, figures, 4711)) == [Verdict.WARNING]
    assert verdicts(text_index.check_text_index(settings, figures, None)) == [Verdict.OK]
