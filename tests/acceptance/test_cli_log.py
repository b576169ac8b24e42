"""`chaukas log list`, `key show`, `proof` and `checkpoint`, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chaukas.verify.__main__ import main as verify
from tests.acceptance.command_line import CommandLine
from tests.acceptance.log_events import ORIGIN, add_events
from tests.acceptance.started_server import StartedServer, running_server

_OTHER = "chaukas.localhost/events/acme/other"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedServer]:
    with running_server(tmp_path_factory.mktemp("cli-log"), text_index="false") as started:
        with httpx.Client(base_url=started.http_url, trust_env=False) as http:
            add_events(http, 0, 20)
            add_events(http, 7, 8, "other")
        yield started


@pytest.fixture
def chaukas(server: StartedServer, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, server.http_url)


def test_what_an_auditor_takes_home(chaukas: CommandLine, tmp_path: Path) -> None:
    """Keys, checkpoint, proof and evidence that the commands write are what the offline verifier reads."""
    keys = chaukas.output("key", "show")
    assert [line.partition("+")[0] for line in keys.splitlines()] == [ORIGIN, _OTHER]
    (tmp_path / "keys").write_text(keys)
    chaukas.output("checkpoint", ORIGIN, "-o", "checkpoint")
    chaukas.output("proof", "event-8", "--tenant", "acme", "-o", "proof")
    (tmp_path / "evidence").write_text(chaukas.output("proof", "--origin", ORIGIN, "--index", "8", "--evidence"))
    for kind in ("checkpoint", "evidence"):
        assert verify([kind, str(tmp_path / kind), "--key-file", str(tmp_path / "keys")]) == 0
    # Without the event, a proof file shows its commitments only.
    assert verify(["proof", str(tmp_path / "proof"), "--key-file", str(tmp_path / "keys")]) == 2
    assert json.loads((tmp_path / "evidence").read_text())["index"] == 8


def test_log_list(chaukas: CommandLine) -> None:
    """Every log is listed with its size, for people and for programs."""
    table = chaukas.output("log", "list").splitlines()
    assert table[0].split() == ["ORIGIN", "ENTRIES", "PATH"]
    assert [line.split()[:2] for line in table[1:]] == [[ORIGIN, "20"], [_OTHER, "1"]]
    [listed] = json.loads(chaukas.output("log", "list", "--project", "other", "--format", "json"))["logs"]
    assert (listed["origin"], listed["size"], listed["tenant_id"]) == (_OTHER, 1, "acme")


def test_refusals_say_what_to_do(chaukas: CommandLine) -> None:
    """A log or an entry that is not named, not there or not unique is one line with a way out."""
    assert "log list" in chaukas.refused("checkpoint")
    assert "no log" in chaukas.refused("checkpoint", "else.where/events/acme")
    assert f"{_OTHER}#0" in chaukas.refused("proof", "event-7")
    assert "no event" in chaukas.refused("proof", "nobody")
    assert "--origin and --index" in chaukas.refused("proof")
    assert "--origin and --index" in chaukas.refused("proof", "event-7", "--origin", ORIGIN)
    assert "--origin and --index" in chaukas.refused("proof", "--origin", ORIGIN)
    assert "20 entries" in chaukas.refused("proof", "--origin", ORIGIN, "--index", "20")
    assert "cannot be written" in chaukas.refused("checkpoint", ORIGIN, "-o", "no/such/place")
    assert "--data" in chaukas.refused("key", "show", "--state", "state")


def test_keys_and_logs_of_a_stopped_server(tmp_path: Path) -> None:
    """The key is read from the files of a server that does not run, and is the one that it signs with; nothing is made."""
    with running_server(tmp_path / "served", text_index="false") as started:
        with httpx.Client(base_url=started.http_url, trust_env=False) as http:
            add_events(http, 0, 3)
        running = CommandLine(tmp_path, started.http_url).output("key", "show")
    offline = CommandLine(tmp_path)
    place = ("--data", tmp_path / "served" / "data", "--state", tmp_path / "served" / "state")
    assert offline.output("key", "show", *place) == running
    assert offline.output("log", "list", *place).splitlines()[1].split()[:2] == [ORIGIN, "3"]
    assert "no event store" in offline.refused("key", "show", "--data", tmp_path / "empty")
    empty = tmp_path / "another state"
    assert "does not exist" in offline.refused("key", "show", "--data", tmp_path / "served" / "data", "--state", empty)
    assert not empty.exists()
