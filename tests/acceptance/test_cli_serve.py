"""`chaukas serve`, as an operator meets it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.acceptance.command_line import CommandLine
from tests.acceptance.started_server import running_server

_PATIENCE_S = 60.0


def test_it_says_where_it_listens_and_what_to_set(tmp_path: Path) -> None:
    """The output of a started server is all that a user of the SDK needs; SIGTERM ends it with status 0."""
    chaukas = CommandLine(tmp_path)
    command = chaukas.command("serve", "--data", "data", "--state", "state", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=chaukas.variables(), stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        told = ""
        while "CHAUKAS_ENDPOINT" not in told:
            line = process.stdout.readline()
            assert line, (tmp_path / "log").read_text()
            told += line
        for name in ("CHAUKAS_ENDPOINT=", "CHAUKAS_API_KEY=", "CHAUKAS_TENANT_ID=", "CHAUKAS_PROJECT_ID="):
            assert name in told
        endpoint = re.search(r"CHAUKAS_ENDPOINT=(\S+)", told)
        assert endpoint is not None
        assert httpx.get(f"{endpoint[1]}/healthz", trust_env=False).status_code == 200
        assert str(tmp_path / "data") in told
        # The same address serves the command line.
        assert CommandLine(tmp_path, endpoint[1]).output("query", "--count") == "0\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE_S) == 0
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_one_server_at_a_time_on_a_directory(tmp_path: Path) -> None:
    """A second server, and a command that opens the directory itself, are refused in one line; the first is not disturbed."""
    with running_server(tmp_path / "server") as server:
        chaukas = CommandLine(tmp_path, server.http_url)
        data = tmp_path / "server" / "data"
        elsewhere = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", tmp_path / "state", "--log-level", "error")
        for refusal in (chaukas.refused("serve", "--data", data, *elsewhere), chaukas.refused("stats", "--data", data)):
            assert "in use" in refusal
            assert str(data) in refusal
        assert chaukas.output("query", "--count") == "0\n"


def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    """A port that is taken is one line that names the setting; what was started is stopped again."""
    chaukas = CommandLine(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flag, other in (("--http", "--grpc"), ("--grpc", "--http")):
            refusal = chaukas.refused("serve", flag, address, other, "127.0.0.1:0", "--log-level", "error")
            assert address in refusal
    with running_server(tmp_path) as server:
        assert httpx.get(f"{server.http_url}/healthz", trust_env=False).status_code == 200


@pytest.mark.parametrize("place", ["--data", "--state"])
def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path, place: str) -> None:
    """A path through a file is refused in one line that names it."""
    (tmp_path / "file").write_text("")
    chaukas = CommandLine(tmp_path)
    flags = {"--data": "data", "--state": "state", "--grpc": "127.0.0.1:0", "--http": "127.0.0.1:0", "--log-level": "error"}
    flags[place] = "file/inside"
    assert "file/inside" in chaukas.refused("serve", *(part for flag in flags.items() for part in flag))


def test_ctrl_c_ends_a_server_cleanly(tmp_path: Path) -> None:
    """Whoever tries the server in a terminal leaves it with Ctrl-C, without a traceback; what was taken is kept."""
    with running_server(tmp_path) as server:
        CommandLine(tmp_path, server.http_url).output(
            "import", "-", given='{"event_id": "e", "tenant_id": "acme", "type": "SYSTEM"}'
        )
        process, server.process = server.process, None
        assert process is not None
        process.send_signal(signal.SIGINT)
        give_up_at = time.monotonic() + _PATIENCE_S
        while process.poll() is None and time.monotonic() < give_up_at:
            time.sleep(0.02)
        assert process.returncode == 0
        assert "Traceback" not in server.log
    assert CommandLine(tmp_path).output("query", "--data", tmp_path / "data", "--count") == "1\n"
