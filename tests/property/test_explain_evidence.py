"""Evidence does not depend on the order of arrival, finds every planted copy, and cites ranges that say the same."""

from __future__ import annotations

import string
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaukas.server.demo import demo_sessions
from chaukas.server.explain.evidence import EvidenceType
from chaukas.server.explain.evidence_graph import evidence_of, evidenced
from chaukas.server.explain.explaining import explain
from chaukas.server.explain.grounding import ground, groundable
from chaukas.server.explain.sources import passages_of
from chaukas.server.explain.spelling import values_of, word_spans, words_of
from chaukas.server.explain.why import why
from chaukas.spec.common.v1.events_pb2 import Event
from tests.unit.explain.recordings import events_of
from tests.unit.explain.stories import START_NS, Story

_WORD = st.text(string.ascii_lowercase, min_size=5, max_size=12)
#: Words that no filler of the tests has.
_PLANTED = st.lists(_WORD.map(lambda word: f"q{word}x"), min_size=6, max_size=30, unique=True)
_FILLER = st.lists(_WORD.map(lambda word: f"z{word}"), max_size=400)
_HEAD = st.lists(_WORD.map(lambda word: f"y{word}"), max_size=400)
_ANY = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=60)


def _told(events: list[Event]) -> object:
    explanation = explain(events)
    known = evidenced(explanation)
    outputs = [row.position for row in explanation.record.rows if groundable(row)]
    slices = [why(explanation, known.graph, position) for position in outputs]
    return known.graph.edges, known.graph.prompts, slices, [ground(known, position) for position in outputs]


@pytest.mark.parametrize("name", ["agent_as_tool", "errors_retry", "handoff", "mcp_tools"])
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers())
def test_recordings_in_any_order(recorded_dir: Path, name: str, seed: int):
    """Real traffic, shuffled and with copies, has the same edges, slices and groundings."""
    events = events_of(recorded_dir / name)
    expected = _told(events)
    Random(seed).shuffle(events)
    assert _told(events + events[:9]) == expected


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(), number=st.integers(0, 10))
def test_demo_in_any_order(seed: int, number: int):
    """The same for the demonstration."""
    events = list(demo_sessions(START_NS)[number].events)
    expected = _told(events)
    Random(seed).shuffle(events)
    assert _told(events) == expected


@settings(max_examples=60, deadline=None)
@given(planted=_PLANTED, before=_FILLER, after=_FILLER, head=_HEAD, seed=st.integers())
def test_planted_copy_is_found(planted: list[str], before: list[str], after: list[str], head: list[str], seed: int):
    """A sentence of random words that document and answer share is found whole, with exact ranges, whatever is around."""
    random = Random(seed)
    sentence = " ".join(planted)
    copied = "".join(character.upper() if random.random() < 0.2 else character for character in sentence).replace(" ", ",  ", 1)
    document = f"{' '.join(before)}. {sentence}. {' '.join(after)}"
    told = Story()
    told.session_start()
    told.input("Tell me")
    told.tool("read", "t", output=document)
    told.output(f"{' '.join(head)}: {copied}; so it is.", id="out")
    explanation = explain(told.events)
    edges = evidence_of(explanation).causes_of(explanation.record.by_event_id["out"])
    quotes = [basis for edge in edges if edge.type is EvidenceType.CONTENT for basis in edge.bases if basis.by == "quote"]
    answer = told.events[-1].message.text
    assert copied in [answer[basis.effect.start : basis.effect.end] for basis in quotes]
    assert sentence in [document[basis.cause.start : basis.cause.end] for basis in quotes]


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.one_of(_ANY, _FILLER.map(" ".join)), min_size=2, max_size=8), data=st.data())
def test_ranges_say_the_same(texts: list[str], data: st.DataObject):
    """Whatever texts there are, both ranges of an edge of content cut out the same words, or the same value."""
    joined = [
        text
        + " "
        + data.draw(st.sampled_from(texts))
        + data.draw(st.sampled_from([" RF-70311", " 64.50 EUR", " Ines Ferreira", ""]))
        for text in texts
    ]
    told = Story()
    told.session_start()
    for number, text in enumerate(joined):
        if number % 2:
            told.output(text)
        else:
            told.tool("read", f"t{number}", output=text)
    explanation = explain(told.events)
    fields = {(row.position, passage.field): passage.text for row in explanation.record.rows for passage in passages_of(row)}
    for edge in evidence_of(explanation).edges:
        for basis in edge.bases:
            if edge.type is not EvidenceType.CONTENT or basis.by == "text":
                continue
            cause = fields[basis.cause.position, basis.cause.field][basis.cause.start : basis.cause.end]
            effect = fields[basis.effect.position, basis.effect.field][basis.effect.start : basis.effect.end]
            if basis.by == "quote":
                assert words_of(cause) == words_of(effect)
            else:
                assert {value.key for value in values_of(cause)} & {value.key for value in values_of(effect)}


@settings(max_examples=200, deadline=None)
@given(text=_ANY)
def test_spans_cut_out_words(text: str):
    """Every word stands where its span says, in order."""
    spans = word_spans(text)
    assert len(spans) == len(words_of(text))
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    for value in values_of(text):
        assert 0 <= value.start < value.end <= len(text)
