from __future__ import annotations

import pytest

from chaukas.server.errors import InvalidRequestError, StorageError
from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.expression import Clause, TextQuery
from chaukas.server.text.texts import texts_of
from chaukas.spec.common.v1.events_pb2 import Event


@pytest.mark.parametrize(
    ("written", "clauses"),
    [
        ("order", {Clause(("order",))}),
        ("  Order\tORDER ", {Clause(("order",))}),
        ("b a", {Clause(("a",)), Clause(("b",))}),
        ('"order not found"', {Clause(("order", "not", "found"))}),
        ("user_id", {Clause(("user", "id"))}),
        ("C++", {Clause(("c", "+", "+"))}),
        ("東京*", {Clause(("東", "京"), prefix=True)}),
        ("invo*", {Clause(("invo",), prefix=True)}),
        ('"the invo*" "the invo"*', {Clause(("the", "invo"), prefix=True)}),
        ("in*vo a * **", {Clause(("in", "vo")), Clause(("a",))}),
        ('"not closed', {Clause(("not", "closed"))}),
        ('a"b c"d', {Clause(("a",)), Clause(("b", "c")), Clause(("d",))}),
        ("“typographic marks” «too»", {Clause(("typographic", "marks")), Clause(("too",))}),
        ("a -b", {Clause(("a",)), Clause(("b",))}),
    ],
)
def test_what_is_written_and_what_it_means(written: str, clauses: set[Clause]) -> None:
    """Words, phrases, prefixes and words of several tokens become the clauses that the documentation names."""
    query = TextQuery.parse(written)
    assert set(query.clauses) == clauses
    assert len(query.clauses) == len(clauses)
    assert TextQuery.parse(str(query)) == query
    assert hash(TextQuery.parse(str(query))) == hash(query)


@pytest.mark.parametrize(
    ("written", "limits", "words"),
    [
        ("", {}, "no letter, digit or symbol"),
        (" \t", {}, "no letter, digit or symbol"),
        ('"" !!! *', {}, "no letter, digit or symbol"),
        ("x" * 1025, {}, "at most 1024"),
        ("x" * 11, {"chars_max": 10}, "11 characters; at most 10"),
        (" ".join(f"w{number}" for number in range(33)), {}, "33 words and phrases; at most 32"),
        ("a b c", {"clauses_max": 2}, "at most 2"),
    ],
)
def test_what_is_refused(written: str, limits: dict[str, int], words: str) -> None:
    """A query that asks for nothing or for too much is refused by the field's name and the limit."""
    with pytest.raises(InvalidRequestError, match=words) as caught:
        TextQuery.parse(written, **limits)
    assert caught.value.field == "filter.text_query"


@pytest.mark.parametrize(
    ("tokens", "prefix", "text", "places"),
    [
        (("a",), False, "a b a", [0, 2]),
        (("a", "b"), False, "a b a b a", [0, 2]),
        (("a", "a"), False, "a a a", [0, 1]),
        (("a",), True, "ab b abc", [0, 2]),
        (("b", "a"), True, "b abc b b", [0]),
        (("a", "b"), False, "a", []),
        (("a", "b", "c"), True, "", []),
    ],
)
def test_where_a_clause_stands(tokens: tuple[str, ...], prefix: bool, text: str, places: list[int]) -> None:
    """A clause is found wherever its tokens stand side by side, and a prefix only stretches the last one."""
    clause = Clause(tokens, prefix)
    assert list(clause.places(text.split())) == places
    assert clause.matches(text.split()) == bool(places)


def test_bytes_that_are_no_event() -> None:
    """A damaged record is a storage error, not a foreign exception."""
    for ask in (texts_of, tokens_of_event, TextQuery.parse("a").matches):
        with pytest.raises(StorageError):
            ask(b"\xff\xff")


def test_an_event_without_texts() -> None:
    """Ids, times and enums alone hold nothing to be found."""
    event = Event(event_id="word", tenant_id="word", session_id="word", trace_id="word", type=1)
    event.tool_response.http_status = 404
    assert texts_of(event.SerializeToString()) == []
    assert tokens_of_event(event.SerializeToString()) == []
