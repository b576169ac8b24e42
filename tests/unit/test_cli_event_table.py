"""Tables of events, with the places where words were found."""

from __future__ import annotations

import io

from rich.console import Console

from chaukas.server.cli.event_table import EventTable
from chaukas.server.cli.snippet_lines import snippet_lines
from chaukas.server.text.expression import TextQuery
from chaukas.spec.common.v1.events_pb2 import Event, EventType, MessageContent


def printed(text: str, query: str, *, terminal: bool, width: int = 100) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=width, color_system="standard" if terminal else None)
    event = Event(type=EventType.EVENT_TYPE_INPUT_RECEIVED, message=MessageContent(role="user", text=text))
    EventTable(console, TextQuery.parse(query)).print([event])
    return output.getvalue()


def test_found_words_are_highlighted_on_a_terminal() -> None:
    """The words that were searched for stand out, in the words around them, on a line of their own."""
    text = "x " * 200 + "the Straße in 東京 is closed" + " y" * 200
    shown = printed(text, 'strasse "東京"', terminal=True)
    line = next(line for line in shown.splitlines() if "message.text" in line)
    assert "Straße\x1b[0m" in line
    assert "東京\x1b[0m" in line
    assert line.count("…") == 2


def test_without_a_terminal_there_are_no_escapes() -> None:
    """What goes to a file or a program holds the same words and no escapes."""
    shown = printed("please refund me", "refund", terminal=False)
    assert "\x1b" not in shown
    assert shown.splitlines()[-1].rstrip() == "    message.text: please refund me"


def test_a_recorded_text_can_not_command_the_terminal() -> None:
    """Control characters around and within what was found are replaced."""
    shown = printed("a\x1b[2J\r\nrefund\x9b31m now", "refund", terminal=False)
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "\r" not in shown


def test_a_line_stays_a_line() -> None:
    """On a narrow terminal a long piece is cut rather than wrapped."""
    shown = printed("word " * 30 + "refund" + " word" * 30, "refund", terminal=False, width=70)
    assert len([line for line in shown.splitlines() if "message.text" in line]) == 1
    assert all(len(line) <= 70 for line in shown.splitlines() if "message.text" in line)


def test_each_line_shows_something_new() -> None:
    """Words that stand in many texts are shown where most of them stand together, and not again and again."""
    event = Event(agent_id="Team Lead", agent_name="Team Lead", tags=["team"])
    event.llm_invocation.request.update({"messages": ["a team lead must approve this", "no approval of the team", "team lead"]})
    lines = [line.plain.strip() for line in snippet_lines(event, TextQuery.parse('approv* "team lead"'), 100)]
    assert lines == [
        "llm_invocation.request.messages[0]: a team lead must approve this",
        "llm_invocation.request.messages[1]: no approval of the team",
    ]
