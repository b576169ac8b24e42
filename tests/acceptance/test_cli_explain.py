"""`chaukas sessions`, `explain` and `why`, against a started server and against a directory, with the demonstration's data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command_line import CommandLine
from tests.acceptance.started_server import running_server

_DENIED = "019c1006-b140-7850-9e1b-a823688404eb"


@pytest.fixture(scope="module")
def chaukas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    directory = tmp_path_factory.mktemp("explain")
    with running_server(directory / "server") as server:
        command_line = CommandLine(directory, server.http_url)
        command_line.output("demo")
        yield command_line


def test_sessions_are_listed_in_every_form(chaukas: CommandLine) -> None:
    """The table, the lines and the array have the same sessions, newest first; a limit that was not asked for is said."""
    lines = [json.loads(text) for text in chaukas.output("sessions", "-f", "jsonl").splitlines()]
    assert len(lines) == 11
    assert lines == json.loads(chaukas.output("sessions", "-f", "json", "--all"))
    assert [line["last_time"] for line in lines] == sorted((line["last_time"] for line in lines), reverse=True)
    table = chaukas.output("sessions", "--project", "support").splitlines()
    assert len(table) == 4
    assert table[1].split()[-1] == _DENIED
    assert len(chaukas.output("sessions", "-n", "2", "-f", "jsonl").splitlines()) == 2


def test_a_session_is_explained_in_every_form(chaukas: CommandLine) -> None:
    """Text by default; Markdown, JSON and Mermaid by name; into a file with `-o`."""
    text = chaukas.output("explain", _DENIED)
    assert "Policy “refund-limits” denied" in text
    assert "\x1b" not in text
    page = chaukas.output("explain", _DENIED, "--format", "markdown")
    assert page.startswith(f"# Session {_DENIED} of demo/support\n")
    assert "Policy “refund-limits” denied" in page
    assert json.loads(chaukas.output("explain", _DENIED, "-f", "json"))["events"] == 35
    assert chaukas.output("explain", _DENIED, "-f", "mermaid").startswith("flowchart TD")
    done = chaukas.run("explain", _DENIED, "-f", "markdown", "-o", "page.md")
    assert (done.status, done.output, done.remarks) == (0, "", ["written to page.md"])
    assert (chaukas.directory / "page.md").read_text(encoding="utf-8") == page


def test_why_tells_what_an_answer_rests_on(chaukas: CommandLine) -> None:
    """The refund number of the answer leads back to the tool that gave it."""
    found = json.loads(chaukas.output("query", "--session", _DENIED, "--type", "OUTPUT_EMITTED", "-f", "json"))
    text = chaukas.output("why", found[0]["event_id"])
    assert "What led to it" in text
    assert any(line.lstrip().startswith("content") and "RF-70311" in line for line in text.splitlines())
    assert json.loads(chaukas.output("why", found[0]["event_id"], "-f", "json"))["why"]["links"]


def test_questions_that_cannot_be_answered_end_in_one_line(chaukas: CommandLine) -> None:
    """No id, two ids and an unknown one are told apart, with the exit status of a command that could not run."""
    for arguments, words in (
        (("explain",), "name one SESSION"),
        (("explain", "a", "--trace", "b"), "name one SESSION"),
        (("explain", "no-such"), "there is no session with this id"),
        (("why", "no-such"), "there is no event with this id"),
        (("explain", ""), "the id is empty"),
    ):
        done = chaukas.run(*arguments)
        assert done.status == 2
        assert len(done.remarks) == 1
        assert words in done.remarks[0]


def test_a_directory_answers_as_its_server_does(chaukas: CommandLine, tmp_path: Path) -> None:
    """With `--data` the same operations give the same words."""
    alone = CommandLine(tmp_path)
    alone.output("demo", "--data", "data")
    assert alone.output("explain", _DENIED, "--data", "data", "-f", "markdown").count("## ") > 4
    mine = alone.output("sessions", "--data", "data", "-f", "jsonl")
    assert mine == chaukas.output("sessions", "-f", "jsonl")
    assert alone.output("explain", _DENIED, "--data", "data") == chaukas.output("explain", _DENIED)
