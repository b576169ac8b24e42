"""Texts, words and values, and the index that finds what stood before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.explain.matching import SourceIndex, WordMatch, pieces_of
from chaukas.server.explain.ordering import record_of
from chaukas.server.explain.sources import Passage, PassageRole, passages_of
from chaukas.server.explain.spelling import sentence_spans, span_of_words, values_of, weight_of, word_spans, words_of
from chaukas.spec.common.v1.events_pb2 import Event, EventType

SENTENCE = "The courier left the parcel with a neighbour called Okafor in flat seven"


def keys_of(text: str) -> dict[str, str]:
    return {value.key: text[value.start : value.end] for value in values_of(text)}


def index_of(*texts: str, **options: int) -> SourceIndex:
    index = SourceIndex(**options)
    for position, text in enumerate(texts):
        index.add(position, 0, position, Passage("message.text", text, PassageRole.GIVEN), pieces_of(text))
    return index


def matches(index: SourceIndex, text: str) -> list[WordMatch]:
    return index.word_matches(pieces_of(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Order RF-70311, please!", ["order", "rf", "70311", "please"]),
        ("STRASSE straße ﬁne", ["strasse", "strasse", "fine"]),
        ("東京 tower", ["東", "京", "tower"]),
        (r"{'text': 'first\nsecond it\'s'}", ["text", "first", "second", "it", "s"]),
        (r"{\"name\": \"M\u00fc\u00dfig\"}", ["name", "müssig"]),
        ("पानी का रंग", ["पानी", "का", "रंग"]),
    ],
)
def test_words(text: str, words: list[str]):
    """Words are compared folded, also behind the escapes of a printed text, and each has its range in the recorded text."""
    assert words_of(text) == words
    assert [words_of(text[start:end])[0] for start, end in word_spans(text)] == words


@given(
    st.text(st.sampled_from("aB9_é\u00dfП京の✓—… .,-\n\u00a0\u0301"), max_size=40)
    | st.text(st.characters(exclude_characters="\\"))
)
def test_words_and_their_places_agree(text: str):
    """Whichever way a text is read, every word has the range that it stands in, one by one and all at once."""
    words, spans = words_of(text), list(word_spans(text))
    assert [words_of(text[start:end]) for start, end in spans] == [[word] for word in words]
    for first in range(len(words)):
        assert span_of_words(text, first, len(words)) == (spans[first][0], spans[-1][1])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Paid. Refunding Maria Lopez now.", {"~refunding maria lopez", "~maria lopez"}),
        ("Paid. Okafor", {"~okafor"}),
        ("Paid. Okafor waits for Ines.", {"~ines"}),
        ("Paid. Anna-Maria waits", set()),
        ("Paid. Maria Lopez left.", {"~maria lopez"}),
    ],
)
def test_names_at_the_beginning_of_a_sentence(text: str, names: set[str]):
    """A capital that a sentence begins with makes no name, and a name behind it is not lost."""
    assert set(keys_of(text)) == names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("289.90 EUR", "289.9"),
        ("1,840,233 rows", "1840233"),
        ("3.480 EUR", "3480"),
        ("12,50 €", "12.5"),
        ("RF-70311.", "(rf-70311)"),
    ],
)
def test_values_have_one_key(one: str, other: str):
    """A value is the same however it is written."""
    assert set(keys_of(one)) & set(keys_of(other))


def test_values():
    """Numbers, ids, addresses, paths and names are found as they stand."""
    text = "Ines Ferreira <ines@example.com> paid 64.50 for ch_882 on 2026-01-26; see docs/terms.md and call 000168."
    assert keys_of(text) == {
        "~ines ferreira": "Ines Ferreira",
        "=ines@example.com": "ines@example.com",
        "#64.5": "64.50",
        "=ch_882": "ch_882",
        "=2026-01-26": "2026-01-26",
        "=docs/terms.md": "docs/terms.md",
        "=000168": "000168",
    }


@pytest.mark.parametrize(
    "text", ["Thank you for your help", "it is 5", "in 2026", "100 of 500", "Please Contact Support", "and/or"]
)
def test_what_proves_nothing(text: str):
    """Small and round numbers, years and words of courtesy are no evidence on their own."""
    assert sum(value.weight for value in values_of(text)) < 1
    assert weight_of(words_of(text)) < 2.5


def test_escaped_values_keep_their_places():
    """A value behind escapes is read for what it says and cited where it stands."""
    text = r'{"name": "\u00d6zt\u00fcrk Kaya", "id": "RF-70311\u0021"}'
    assert keys_of(text) == {"~öztürk kaya": r"\u00d6zt\u00fcrk Kaya", "=rf-70311": "RF-70311"}


def test_sentences():
    """A stop inside a number or an address ends no sentence; lines and the stops of other scripts do."""
    text = 'It costs 3.5 EUR. See https://a.example/b.html! "Really?"\n- 東京です。はい'
    assert [text[start:end] for start, end in sentence_spans(text)] == [
        "It costs 3.5 EUR.",
        "See https://a.example/b.html!",
        '"Really?"',
        "東京です。",
        "はい",
    ]


def test_longest_match_with_exact_ranges():
    """A copied sentence is one match, as long as it is, and both ranges cut out the same words."""
    index = index_of(f"Before it. {SENTENCE}. After it.")
    text = f"He said: {SENTENCE.upper()}!"
    (match,) = matches(index, text)
    spans = word_spans(text)
    source_start, source_end = index.source_span(match)
    assert text[spans[match.start][0] : spans[match.end - 1][1]] == SENTENCE.upper()
    assert index.sources.text[0][source_start:source_end] == SENTENCE


def test_match_inside_long_texts():
    """Long texts are indexed in part, and six words in a row are found wherever they stand."""
    words = [f"w{number}x" for number in range(900)]
    index = index_of(" ".join(words))
    for place in range(0, 890, 7):
        (match,) = matches(index, "so " + " ".join(words[place : place + 6]) + " then")
        assert (match.source_start, match.end - match.start) == (place, 6)


def test_places_and_shingles_are_bounded():
    """A text that stands everywhere keeps a few places; an index that is full says so and goes on with values."""
    index = index_of(*[SENTENCE] * 100)
    assert len(matches(index, SENTENCE)) <= 8
    full = index_of(SENTENCE, "Four other words RF-70311 stand here in this text", shingles_max=5)
    assert not full.complete
    assert full.origins("=rf-70311")


def test_echoes_are_no_origins():
    """A value that an event was given is remembered as its echo."""
    index = SourceIndex()
    passage = Passage("tool_response.output.id", "RF-70311", PassageRole.GIVEN, leaf=True)
    index.add(3, 0, 1, passage, pieces_of(passage.text), echoed={"=rf-70311"})
    assert not index.origins("=rf-70311")
    assert [index.sources.position[number] for number in index.echoes("=rf-70311")] == [3]


@pytest.mark.parametrize(
    "piece", ["a", "1,", "1.2.", "Aa de ", "the ", "a b c d ", "東京", ".!", '.")', "\\", "a/", "- a\n", "'\""]
)
def test_texts_of_one_piece_end(piece: str):
    """Texts that invite an expression to go back over them again and again are read in one go, whatever they are made of."""
    text = "RunResult:\n" + piece * 20_000
    event = Event(message={"text": text}, type=EventType.EVENT_TYPE_OUTPUT_EMITTED)
    (passage,) = passages_of(record_of([event]).rows[0])
    assert passage.text == text
    assert len(list(word_spans(text))) == len(pieces_of(text).words)
    assert all(start < end for start, end in sentence_spans(text))
