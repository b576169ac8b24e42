"""`chaukas doctor`, beside a running server and without one."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import apsw

from tests.acceptance.command_line import CommandLine
from tests.acceptance.started_server import StartedServer, running_server


def examined(chaukas: CommandLine, *arguments: object) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and the worst finding of each check."""
    done = chaukas.run("doctor", "--json", *arguments)
    order = ["ok", "warning", "problem"]
    found: dict[str, dict[str, Any]] = {}
    for finding in json.loads(done.output)["findings"]:
        before = found.get(finding["check"])
        if before is None or order.index(finding["verdict"]) >= order.index(before["verdict"]):
            found[finding["check"]] = finding
    assert done.remarks == []
    return done.status, found


def flags_of(server: StartedServer) -> list[object]:
    ports = ["--grpc", server.grpc_target, "--http", f"127.0.0.1:{server.http_port}"]
    return ["--data", server.directory / "data", "--state", server.directory / "state", *ports]


def everything_in(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_a_healthy_server_has_no_problem(tmp_path: Path) -> None:
    """Beside a running server every check passes, its process, version, format and amounts are told; after it, too."""
    chaukas = CommandLine(tmp_path)
    with running_server(tmp_path / "server") as server:
        chaukas.output("demo", "--server", server.http_url)
        status, found = examined(chaukas, *flags_of(server))
        assert status == 0, found
        assert server.process is not None
        assert str(server.process.pid) in found["lock"]["text"]
        assert "471 events" in found["record"]["text"]
        assert "held by the running server" in found["HTTP port"]["text"]
        assert "held by the running server" in found["gRPC port"]["text"]
        assert "takes requests" in found["server"]["text"]
        server.stop()
        before = everything_in(tmp_path)
        status, found = examined(chaukas, *flags_of(server))
        assert status == 0, found
        assert "no server runs" in found["lock"]["text"]
        assert "is free" in found["HTTP port"]["text"]
        assert everything_in(tmp_path) == before
        server.start()


def test_after_a_crash_it_says_that_nothing_is_lost(tmp_path: Path) -> None:
    """A server that was killed leaves a log for the next start; that is no problem, and looking at it changes nothing."""
    chaukas = CommandLine(tmp_path)
    with running_server(tmp_path / "server") as server:
        chaukas.output("demo", "--server", server.http_url)
        server.kill()
        before = everything_in(tmp_path)
        status, found = examined(chaukas, *flags_of(server))
        assert status == 0, found
        assert "loses nothing" in found["record"]["text"]
        assert everything_in(tmp_path) == before
        server.start()
        assert chaukas.output("query", "--count", "--server", server.http_url) == "471\n"


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    """Before the first start everything is told as it will be, and nothing is created."""
    status, found = examined(CommandLine(tmp_path), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    assert status == 0, found
    assert "first start makes it" in found["data directory"]["text"]
    assert "none yet" in found["record"]["text"]
    assert list(tmp_path.iterdir()) == []


def test_problems_are_told_with_what_to_do(tmp_path: Path) -> None:
    """A newer format, a taken port and another server name are problems with advice, and the exit status is 1."""
    chaukas = CommandLine(tmp_path)
    chaukas.output("demo", "--data", "store")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        arguments = ["--data", "store", "--state", "state", "--http", "127.0.0.1:0", "--grpc", address]
        status, found = examined(chaukas, *arguments, "--server-name", "other.example.com")
    assert status == 1
    assert [check for check, finding in found.items() if finding["verdict"] == "problem"] == ["record", "gRPC port"]
    assert "set server_name to chaukas.localhost" in found["record"]["advice"]
    database = apsw.Connection(str(tmp_path / "store" / "record.db"))
    database.pragma("user_version", 999)
    database.close()
    status, found = examined(chaukas, *arguments[:4], "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    assert status == 1
    assert "format 999" in found["record"]["text"]


def test_settings_that_are_refused_end_with_2(tmp_path: Path) -> None:
    """When the configuration can not be read, what depends on it is not checked, and the status says so."""
    status, found = examined(CommandLine(tmp_path), "--set", "hold_s=-1")
    assert status == 2
    assert found["configuration"]["verdict"] == "problem"
    assert "hold_s" in found["configuration"]["text"]
    assert "record" not in found


def test_people_read_one_line_for_each_check(tmp_path: Path) -> None:
    """Without `--json` each finding is one line that begins with its verdict, and a last line counts them."""
    lines = CommandLine(tmp_path).output("doctor", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0").splitlines()
    *findings, blank, summary = lines
    assert blank == ""
    assert {line.split()[0] for line in findings} <= {"ok", "warning"}
    assert summary.startswith(f"{len(findings)} checks, no problems")
