"""`chaukas query --text`, against a started server that holds the demonstration."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from chaukas.server.demo import demo_sessions
from chaukas.server.text.expression import TextQuery
from chaukas.spec.common.v1.events_pb2 import Event
from tests.acceptance.command_line import CommandLine
from tests.acceptance.started_server import running_server

_AT_NS = 1_769_796_000 * 10**9


@pytest.fixture(scope="module")
def chaukas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    directory = tmp_path_factory.mktemp("text")
    with running_server(directory / "server") as server:
        command_line = CommandLine(directory, server.http_url)
        command_line.output("demo")
        yield command_line


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return [event for session in demo_sessions(_AT_NS) for event in session.events]


@pytest.mark.parametrize(
    "words", ["refund", 'approv* "team lead"', "東京", "जलरोधन", "wasserschaden", "48213", "🎉", "strasse", "nothing-like-this"]
)
def test_words_find_what_they_say(chaukas: CommandLine, events: list[Event], words: str) -> None:
    """`--text` selects exactly the events that hold the words, in any script, and counts them."""
    query = TextQuery.parse(words)
    expected = sorted(event.event_id for event in events if query.matches(event.SerializeToString()))
    found = chaukas.output("query", "--all", "--format", "jsonl", "--text", words).splitlines()
    assert sorted(json.loads(line)["event_id"] for line in found) == expected
    assert chaukas.output("query", "--count", "--text", words) == f"{len(expected)}\n"


def test_words_go_together_with_other_filters(chaukas: CommandLine, events: list[Event]) -> None:
    """An event must match the words and every other filter."""
    query = TextQuery.parse("refund")
    expected = [each.event_id for each in events if each.project_id == "support" and query.matches(each.SerializeToString())]
    flags = ["--text", "refund", "--project", "support", "--all", "--format", "jsonl"]
    assert sorted(json.loads(line)["event_id"] for line in chaukas.output("query", *flags).splitlines()) == sorted(expected)


def test_the_table_shows_where_the_words_stand(chaukas: CommandLine) -> None:
    """Under each event stand the words as they were recorded, without escapes where the output is no terminal."""
    output = chaukas.output("query", "--text", "TORINO", "-n", "1", "--oldest-first")
    heading, row, *places = output.splitlines()
    assert heading.startswith("TIME")
    assert "TOOL_CALL_END" in row
    assert [place.strip() for place in places] == ["tool_response.output.item: Espresso machine Torino X2"]
    assert "\x1b" not in output


def test_what_can_not_be_looked_for_is_told(chaukas: CommandLine) -> None:
    """Words without a letter, and too many of them, are one line that names the flag."""
    assert chaukas.refused("query", "--text", '"" *').startswith("--text: ")
    assert "at most" in chaukas.refused("query", "--text", "x" * 2000)
