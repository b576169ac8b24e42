# ruff: noqa: RUF001 - texts of all scripts
from __future__ import annotations

import io
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.text import event_tokens, printing
from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.expression import Clause, TextQuery
from chaukas.server.text.scan import TextScanner
from chaukas.server.text.snippets import highlights_of
from chaukas.server.text.texts import texts_of
from chaukas.server.text.tokens import fold, tokens_of
from chaukas.server.wire.json_lines import read_json_lines
from chaukas.server.wire.json_number import double_to_json
from chaukas.spec.common.v1.events_pb2 import Event
from tests.strategies import events, events_with_unknown_fields, nested_struct_event, unhurried

_ENVELOPE = {
    *("event_id", "tenant_id", "project_id", "session_id", "span_id", "parent_span_id", "trace_id"),
    *("invocation_id", "response_id", "hash_prev", "content_hash", "worm_proof_id"),
}

#: Characters that fold, vanish, combine or separate, and the bytes that lengths and tags look like.
odd_texts = st.text(
    alphabet=st.sampled_from(
        "aAbkiIsfe12 _-.*\"'\\\n\t\x01\x11\x7f+=$éßſıİKﬁ²½＋Ａ𝐚東京가ㄱㅏｶﾞกิर्नä\u00ad\u200d\u0301\u0307\u0327\u0345\u3099\ufe0f"
        "😀🚀🏽“’…\u00a0"
    ),
    max_size=30,
)
words = st.sampled_from(
    ["refund", "Order", "not", "1e", "230", "nan", "infinity", "C++", "user_id", "東京", "été", "ﬁre", "x²", "😀"]
)
sentences = st.lists(st.one_of(words, odd_texts), max_size=6).map(" ".join)


@st.composite
def talking_events(draw: st.DrawFn) -> Event:
    """An event whose texts are made of a few words and odd characters, so that queries find something."""
    event = Event(event_id=draw(odd_texts), agent_name=draw(sentences), tags=draw(st.lists(sentences, max_size=2)))
    event.message.text = draw(sentences)
    numbers = st.one_of(st.floats(), st.sampled_from([230.0, 1e16, 2.5e-7, -30.25, float("nan"), float("-inf")]))
    event.metadata.update(draw(st.dictionaries(sentences, st.one_of(numbers, sentences, st.lists(numbers)), max_size=3)))
    return event


queries = st.one_of(
    sentences,
    odd_texts,
    sentences.map(lambda text: f'"{text}"'),
    st.tuples(words, st.integers(1, 4)).map(lambda pair: pair[0][: pair[1]] + "*"),
).filter(lambda text: tokens_of(text) != [])


def naive_texts(message: Message) -> list[str]:
    """All texts by the descriptors alone: the maps and lists of Structs are ordinary fields to it."""
    found: list[str] = []
    for field, value in message.ListFields():
        if isinstance(message, Event) and field.name in _ENVELOPE:
            continue
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            for key in value:
                found += [key, *naive_texts(value[key])]
        elif inner is not None and inner.full_name != "google.protobuf.Any":
            for item in value if field.is_repeated else [value]:
                found += naive_texts(item)
        elif field.type == FieldDescriptor.TYPE_STRING:
            found += value if field.is_repeated else [value]
        elif field.full_name == "google.protobuf.Value.number_value":
            shown = double_to_json(value)
            found.append(str(shown))
    return [text for text in found if text]


def _counted(tokens: list[list[str]]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(each) for each in tokens if each)


def _check_texts(event: Event, stored: bytes) -> None:
    expected = naive_texts(event)
    assert Counter(texts_of(stored)) == Counter(expected)
    assert _counted(tokens_of_event(stored)) == _counted([tokens_of(text) for text in expected])
    assert all(tokens_of_event(stored))


@unhurried
@given(st.one_of(events(), events_with_unknown_fields(), talking_events()))
def test_texts_and_tokens_are_those_of_the_descriptors(event: Event) -> None:
    """Whatever the contract's fields hold, all its texts are found, by the fast way too, and nothing else is."""
    _check_texts(event, event.SerializeToString(deterministic=True))


@unhurried
@given(events(), events())
def test_fields_in_any_order_on_the_wire(first: Event, second: Event) -> None:
    """Bytes that no good encoder writes (content twice, fields mixed) give the texts of the event that they parse to."""
    stored = second.SerializeToString() + first.SerializeToString()
    parsed = Event.FromString(stored)
    expected = naive_texts(parsed)
    assert Counter(texts_of(stored)) == Counter(expected)
    # The fast way may find more, both values of a key that stands twice, but never less.
    assert {tuple(tokens_of(text)) for text in expected} - {()} <= set(map(tuple, tokens_of_event(stored)))
    _check_texts(parsed, parsed.SerializeToString(deterministic=True))


@unhurried
@given(events())
def test_a_runtime_that_prints_otherwise_is_not_needed(event: Event) -> None:
    """Without the fast way all is found by the walk."""
    stored = event.SerializeToString(deterministic=True)
    fast = tokens_of_event(stored)
    with patch.object(event_tokens, "printed_of", lambda _: None):
        assert _counted(tokens_of_event(stored)) == _counted(fast)


def test_this_runtime_prints_as_it_must() -> None:
    """The fast way is the one that is used here, and a runtime that loses a text or an escape is found out."""
    assert printing._projection() is not None
    for change in (lambda text: text.replace("\\n", "n"), lambda text: text.replace("😀", "?"), lambda text: text[:-400]):
        with patch.object(printing, "str", lambda message, change=change: change(str(message)), create=True):
            assert printing._projection.__wrapped__() is None


def test_recorded_and_deep_and_large_events(recorded_dir: Path) -> None:
    """Real events, Structs as deep as protobuf reads, and strings of 200 kB."""
    found = 0
    for path in sorted(recorded_dir.glob("*/file_mode.jsonl")):
        for _, event in read_json_lines(io.BytesIO(path.read_bytes())):
            assert isinstance(event, Event)
            _check_texts(event, event.SerializeToString(deterministic=True))
            found += 1
    assert found > 0
    _check_texts(deep := nested_struct_event(32), deep.SerializeToString())
    for text in ('a "quoted"\n' * 20_000, "東京" * 30_000, "x" * 200_000, "\\" * 1_000, "é’" * 10_000):
        event = Event(agent_name=text)
        event.metadata.update({"text": text, text[:50]: [text]})
        _check_texts(event, event.SerializeToString(deterministic=True))


@unhurried
@given(st.one_of(st.text(), odd_texts, sentences))
def test_tokens_give_themselves(text: str) -> None:
    """The tokens of a text's tokens are these, whatever form the text was normalised to, and whatever stands around it."""
    found = tokens_of(text)
    assert tokens_of(" ".join(found)) == found
    assert fold(fold(text)) == fold(text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert tokens_of(unicodedata.normalize(form, text)) == found
    assert tokens_of(f"a, {text}\nb") == ["a", *found, "b"]
    assert tokens_of(f"“{text} …") == found


@unhurried
@given(queries)
def test_a_query_has_one_canonical_form(written: str) -> None:
    """What a query is printed as parses to the same query: cursors are bound to it."""
    query = TextQuery.parse(written)
    assert TextQuery.parse(str(query), chars_max=100_000) == query


@unhurried
@given(talking_events(), queries)
def test_a_match_is_what_the_words_say(event: Event, written: str) -> None:
    """Each clause stands in some text, token by token, as a slow comparison of all places finds it."""
    query = TextQuery.parse(written)
    stored = event.SerializeToString(deterministic=True)
    texts = [tokens_of(text) for text in naive_texts(event)]
    expected = all(any(_holds(tokens, clause) for tokens in texts) for clause in query.clauses)
    assert query.matches(stored) == expected


def _holds(tokens: list[str], clause: Clause) -> bool:
    size = len(clause.tokens)
    for place in range(len(tokens) - size + 1):
        window = tokens[place : place + size]
        if clause.prefix:
            window[-1] = window[-1][: len(clause.tokens[-1])]
        if tuple(window) == clause.tokens:
            return True
    return False


@unhurried
@given(st.lists(talking_events(), min_size=1, max_size=3), queries)
def test_the_scanner_passes_nothing_over(found: list[Event], written: str) -> None:
    """What matches is never told apart by its raw bytes, alone or among others, and the scanner's answer is the query's."""
    query = TextQuery.parse(written)
    scanner = TextScanner(query)
    bodies = [event.SerializeToString(deterministic=True) for event in found]
    for body in bodies:
        assert scanner.matches(body) == query.matches(body)
        assert scanner.may_match(body) or not query.matches(body)
    assert scanner.may_match(b"".join(bodies)) or not any(map(query.matches, bodies))


@unhurried
@given(talking_events(), st.data())
def test_the_scanner_finds_each_word_of_an_event(event: Event, data: st.DataObject) -> None:
    """Every token of an event, its beginnings, and neighbours in one text find the event through its raw bytes."""
    stored = event.SerializeToString(deterministic=True)
    texts = tokens_of_event(stored)
    if not texts:
        return
    tokens = data.draw(st.sampled_from(texts))
    place = data.draw(st.integers(0, len(tokens) - 1))
    token = tokens[place]
    begun = token[: data.draw(st.integers(1, len(token)))]
    for clause in (Clause((token,)), Clause(tuple(tokens[place : place + 3])), Clause((begun,), prefix=True)):
        scanner = TextScanner(TextQuery((clause,)))
        assert scanner.may_match(stored)
        assert scanner.matches(stored)


@unhurried
@given(sentences, queries)
def test_highlights_are_what_was_found(text: str, written: str) -> None:
    """A text has highlights exactly if a clause stands in it, and each highlighted piece holds tokens of the query."""
    query = TextQuery.parse(written)
    ranges = highlights_of(text, query)
    assert bool(ranges) == any(clause.matches(tokens_of(text)) for clause in query.clauses)
    assert all(0 <= begin < end <= len(text) for begin, end in ranges)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
