"""`chaukas demo`: something to look at, in a running server and in a directory."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command_line import CommandLine
from tests.acceptance.started_server import running_server


@pytest.fixture(scope="module")
def chaukas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    directory = tmp_path_factory.mktemp("demo")
    with running_server(directory / "server") as server:
        yield CommandLine(directory, server.http_url)


def test_loading_twice_stores_once(chaukas: CommandLine) -> None:
    """The first run stores every event, the second says that nothing is new, another moment adds the same number."""
    loaded = json.loads(chaukas.output("demo", "--json"))
    assert (loaded["accepted"], loaded["duplicate"]) == (loaded["events"], 0)
    assert loaded["events"] >= 250
    again = chaukas.output("demo")
    assert "nothing is new" in again.splitlines()[0]
    assert chaukas.output("query", "--count", "--tenant", "demo") == f"{loaded['events']}\n"
    assert chaukas.output("quarantine", "list", "--format", "jsonl") == ""
    later = json.loads(chaukas.output("demo", "--json", "--at", "2026-02-28"))
    assert later["accepted"] == loaded["events"]
    counted = json.loads(chaukas.output("stats", "--tenant", "demo", "--until", "2026-02-01", "--format", "json"))
    assert counted["total_events"] == loaded["events"]


def test_what_it_proposes_works(chaukas: CommandLine) -> None:
    """Each command under "Try next" shows something, as it stands there."""
    output = chaukas.output("demo")
    commands = [shlex.split(line) for line in output.split("Try next:\n")[1].splitlines()]
    assert [command[:2] for command in commands] == [["chaukas", "query"], ["chaukas", "tail"], ["chaukas", "stats"]]
    for command in commands:
        if command[1] != "tail":
            assert chaukas.output(*command[1:]).count("\n") > 5


def test_a_directory_is_loaded_without_a_server(tmp_path: Path) -> None:
    """With `--data` the sessions go into the directory of a stopped server, and the proposals name it."""
    chaukas = CommandLine(tmp_path)
    output = chaukas.output("demo", "--data", "store")
    commands = [shlex.split(line)[1:] for line in output.split("Try next:\n")[1].splitlines()]
    assert all(command[-2:] == ["--data", "store"] for command in commands)
    query, serve, stats = commands
    assert serve[0] == "serve"
    assert "refund_order" in chaukas.output(*query)
    assert "471" in chaukas.output(*stats)
    assert "nothing is new" in chaukas.output("demo", "--data", "store")


@pytest.mark.parametrize(("at", "said"), [("yesterday", "is not a time"), ("1970-01-01", "too early")])
def test_a_wrong_moment_is_told(tmp_path: Path, at: str, said: str) -> None:
    """A time that is none, or that the sessions do not fit before, is one line."""
    assert said in CommandLine(tmp_path).refused("demo", "--data", "store", "--at", at)


def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    """Nobody to load into is one line that says what to do."""
    assert "chaukas serve" in CommandLine(tmp_path).refused("demo")
