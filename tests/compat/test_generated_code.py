"""The committed generated code: where it comes from, and what it asks of its users."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import environments
import pytest

from chaukas.audit.v1.log_entry_pb2 import LogEntry, LogEntryKind

SOURCE = environments.ROOT / "src" / "chaukas"
GENERATED = sorted(path for package in ("spec", "audit") for path in (SOURCE / package).rglob("*_pb2*.py"))


def _required(distribution: str) -> tuple[int, ...]:
    """The lowest version that our requirements admit."""
    project = tomllib.loads((environments.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (floor,) = (found[1] for line in project["dependencies"] if (found := re.match(rf"{distribution}>=([\d.]+)", line)))
    return tuple(map(int, floor.split(".")))


def test_generated_code_is_that_of_the_sources() -> None:
    """Nobody edits generated code, and nobody forgets to generate it: it equals what proto/ gives."""
    script = environments.ROOT / "scripts" / "generate_contract.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_code_runs_on_the_lowest_versions_we_admit(path: Path) -> None:
    """An installation that our requirements allow can import the stubs: they ask for no newer protobuf or grpcio."""
    text = path.read_text(encoding="utf-8")
    if path.name.endswith("_pb2_grpc.py"):
        found = re.search(r"^GRPC_GENERATED_VERSION = '(\d+)\.(\d+)\.(\d+)'$", text, re.MULTILINE)
        admitted = _required("grpcio")
    else:
        found = re.search(r"^# Protobuf Python Version: (\d+)\.(\d+)\.(\d+)$", text, re.MULTILINE)
        admitted = _required("protobuf")
    assert found is not None
    assert tuple(map(int, found.groups())) <= (*admitted, 0, 0)[:3]


def test_log_entry_bytes_stay() -> None:
    """Every log entry ever written stays readable: the format's bytes are fixed, a session's first event included."""
    entry = LogEntry(
        version=1,
        kind=LogEntryKind.LOG_ENTRY_KIND_EVENT,
        received_at_ns=1_700_000_000_000_000_001,
        envelope_commitment=b"\x01" * 32,
        content_commitment=b"\x02" * 32,
        session_commitment=b"\x03" * 32,
        session_sequence=0,
        principal_key=2**64 - 1,
    )
    fixed = "08011001188180a8b1e39fe7cb1722" + "20" + "01" * 32 + "2a20" + "02" * 32 + "3220" + "03" * 32 + "3800"
    assert entry.SerializeToString(deterministic=True).hex() == fixed + "40" + "ff" * 9 + "01"
    assert not LogEntry().HasField("session_sequence")
