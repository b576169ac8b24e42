"""The page about a session: what it must say, that it can be trusted with hostile contents, and that it stays a page."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from chaukas.server.explain.citations import short_id
from chaukas.server.explain.explaining import explain
from chaukas.server.explain.narrative import NarrativeLimits, narrative
from chaukas.server.explain.rendering.markdown import markdown_of
from chaukas.spec.common.v1.events_pb2 import Event
from tests.unit.explain.pages import DATA, GOLDEN, page_of
from tests.unit.explain.recordings import events_of, folders

_SENTENCE_END = re.compile(r"\[[A-Za-z0-9._-]+(?:(?:, | to )(?:and )?[A-Za-z0-9._ -]+)*\]\.$")


def sentences_of(page: str) -> list[str]:
    """Every line of the page that states something."""
    body = page.partition("## Events referred to")[0]
    return [line for line in body.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("name", GOLDEN)
def test_recorded_sessions_are_told_as_their_script_would_tell_them(recorded_dir: Path, name: str) -> None:
    """The page of a recording is, word for word, the one that was read by somebody who knows what the program did."""
    expected = (DATA / "golden" / "explain" / f"{name}.md").read_text(encoding="utf-8")
    assert page_of(events_of(recorded_dir / name), f"Recording {name}") == expected


def test_every_sentence_of_every_recording_names_its_events(recorded_dir: Path) -> None:
    """No sentence of a page stands without a reference, and every reference leads to an event of the list at its end."""
    for folder in folders(recorded_dir):
        events = events_of(folder)
        if not events:
            continue
        page = page_of(events, folder.name)
        for sentence in sentences_of(page):
            assert _SENTENCE_END.search(sentence), f"{folder.name}: {sentence}"
        listed = set(re.findall(r"^\| ([A-Za-z0-9._-]+) \|", page, re.MULTILINE)) - {"reference"}
        named = {
            word
            for sentence in sentences_of(page)
            for part in [_SENTENCE_END.search(sentence).group().strip("[].")]
            for word in re.split(r", | to ", part)
            if not word.startswith("and ")
        }
        assert named <= listed


def test_the_order_of_arrival_changes_nothing(recorded_dir: Path) -> None:
    """The same events give the same page, whatever the order and the number of copies in which they come."""
    events = events_of(recorded_dir / "handoff")
    expected = page_of(events, "x")
    shuffled = [*events, *events[:7]]
    random.Random(3).shuffle(shuffled)
    assert page_of(shuffled, "x") == expected


def test_a_long_session_stays_a_page() -> None:
    """The length of a page is bounded: of a long run the beginning and the end are told, and what is between is counted."""
    events = [_message(0, "INPUT_RECEIVED", "go on")]
    for number in range(1, 2_001):
        call = Event(
            event_id=f"e{number:05d}", session_id="s", tenant_id="t", project_id="p", span_id=f"w{number}",
            type="EVENT_TYPE_TOOL_CALL_START",
        )  # fmt: skip
        call.timestamp.seconds = 1_700_000_000 + number
        call.tool_call.name = "get_page"
        events.append(call)
    page = page_of(events, "long")
    assert len(page) < 40_000
    assert "steps that are not told here: 1970 tool calls" in page
    assert "Tool “get_page” was called" in page


def test_of_many_runs_those_that_went_wrong_are_told() -> None:
    """Runs that are left out are counted by how they ended, and one that failed goes before those that answered."""
    events = []
    for number in range(40):
        began = number * 10
        events.append(_message(began, "INPUT_RECEIVED", f"question {number}", session=f"s{number}"))
        if number == 33:
            error = Event(event_id=f"x{number}", session_id=f"s{number}", tenant_id="t", project_id="p", type="EVENT_TYPE_ERROR")
            error.timestamp.seconds = 1_700_000_001 + began
            error.error.error_code = "Boom"
            events.append(error)
        else:
            events.append(_message(began + 1, "OUTPUT_EMITTED", f"answer {number}", session=f"s{number}"))
    explanation = explain(events)
    page = markdown_of(narrative(explanation, "many", limits=NarrativeLimits(runs=6)), explanation.record)
    assert page.count("### Who asked what") == 6
    assert "Boom" in page
    assert "34 more runs not told here: answered" in page


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "[click](javascript:alert(1))",
        "![x](http://127.0.0.1/x.png)",
        "`code` ``` fence",
        "# heading\n- list\n| table |",
        "https://example.com/track www.example.com",
        "\x1b[31mred\x1b[0m \u202etxt.exe",
        "*bold* __bold__ ~~gone~~ &lt;b&gt;",
    ],
)
def test_contents_are_shown_and_never_obeyed(hostile: str) -> None:
    """Whatever an event holds, it adds no HTML, link, image, heading, code or control sign to the page."""
    from markdown_it import MarkdownIt

    agent = Event(event_id="a", session_id="s", tenant_id="t", project_id="p", type="EVENT_TYPE_AGENT_START", agent_name=hostile)
    agent.timestamp.seconds = 1_700_000_000
    page = page_of([_message(0, "INPUT_RECEIVED", hostile), agent, _message(3, "OUTPUT_EMITTED", hostile)], hostile)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", page)
    kinds = {
        child.type
        for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(page)
        for child in [token, *(token.children or ())]
    }
    allowed = {
        "heading_open", "heading_close", "inline", "paragraph_open", "paragraph_close", "ordered_list_open", "ordered_list_close",
        "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "text", "softbreak", "table_open",
        "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close", "th_open", "th_close",
        "td_open", "td_close", "text_special",
    }  # fmt: skip
    assert kinds <= allowed


def test_short_ids_depend_on_the_id_alone() -> None:
    """The short form of an event is the same on every page: it does not depend on what else is told."""
    assert short_id("01a20311-a248-7d55-abfa-6ed7d01943c0") == "d01943c0"
    assert short_id("e-1") == "e-1"
    assert short_id("bad | id") == "bad___id"


def test_an_empty_record_is_said_to_be_empty() -> None:
    """A page about no events says so, and claims nothing."""
    assert page_of([], "nothing") == "# nothing\n\nNo event was found.\n"


def _message(at: int, kind: str, text: str, session: str = "s") -> Event:
    event = Event(event_id=f"{kind[:2]}{at}", session_id=session, tenant_id="t", project_id="p", type=f"EVENT_TYPE_{kind}")
    event.timestamp.seconds = 1_700_000_000 + at
    event.message.role = "user"
    event.message.text = text
    return event


def test_a_streamed_answer_is_told_once() -> None:
    """Of an answer that was sent in parts the whole is told, and the parts are counted; without the whole they are joined."""
    parts = [_message(at, "OUTPUT_EMITTED", text) for at, text in ((1, "It is "), (2, "on its way."))]
    for part in parts:
        part.is_partial = True
    whole = _message(3, "OUTPUT_EMITTED", "It is on its way.")
    whole.is_final = True
    asked = _message(0, "INPUT_RECEIVED", "Where is it?")
    page = page_of([asked, *parts, whole], "streamed")
    assert page.count("“It is on its way.”") == 1
    assert "in parts before, of which 2 are recorded [OU1, OU2]." in page
    cut_off = page_of([asked, *parts], "streamed")
    assert "“It is on its way.”; only 2 parts of it are recorded, not the whole [OU1, OU2]." in cut_off


def test_a_denied_action_and_personal_data_are_told() -> None:
    """Who denied what, by which rule and why, and which personal data was read, stand on the page with their events."""
    denied = Event(event_id="p1", session_id="s", tenant_id="t", project_id="p", type="EVENT_TYPE_POLICY_DECISION")
    denied.timestamp.seconds = 1_700_000_001
    denied.policy.policy_id, denied.policy.outcome, denied.policy.rationale = "limits", "deny", "too much"
    denied.policy.rule_ids.append("amount<=150")
    read = Event(event_id="d1", session_id="s", tenant_id="t", project_id="p", type="EVENT_TYPE_DATA_ACCESS")
    read.timestamp.seconds = 1_700_000_002
    read.data_access.datasource = "crm"
    read.data_access.pii_categories.extend(["NAME", "EMAIL"])
    page = page_of([_message(0, "INPUT_RECEIVED", "Refund me"), denied, read], "denied")
    assert "- Policy “limits” denied, by rule “amount\\<=150”: “too much” [p1]." in page
    assert "- Personal data was among it: EMAIL, NAME [d1]." in page
