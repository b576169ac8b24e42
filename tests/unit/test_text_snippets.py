from __future__ import annotations

import pytest

from chaukas.server.errors import StorageError
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.snippets import Snippet, highlights_of, snippets_of
from chaukas.spec.common.v1.events_pb2 import Event


def event_of(text: str) -> bytes:
    event = Event()
    event.message.text = text
    return event.SerializeToString()


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("Order 9501 not found", "found order", ["Order", "found"]),
        ("die Straße nach ﬁre", "strasse fire", ["Straße", "ﬁre"]),
        ("İSTANBUL", "istanbul", ["İSTANBUL"]),
        ("un e\u0301te\u0301 là", "été", ["e\u0301te\u0301"]),
        ("東京タワーの高さ", "京タ", ["京タ"]),
        ("x² ½ K", "x2 2 k", ["x²", "½", "K"]),
        ("ㄱㅏ ｶﾞ", "가 ガ", ["ㄱㅏ", "ｶﾞ"]),
        ("re\u00adfund\u200d", "refund", ["re\u00adfund\u200d"]),
        ("up 👩\u200d🚀!", "🚀", ["🚀"]),
        ("C++ and C", "c++", ["C++"]),
        ("invoices in vain", "invo*", ["invoices"]),
        ('a "b c" a b', '"a b" "b c"', ['a "b c', "a b"]),
        ("i\u200d\u0307x", "ix", ["i\u200d\u0307x"]),
        ("nothing of it", "refund", []),
    ],
)
def test_highlights_stand_where_the_text_was_written(text: str, query: str, shown: list[str]) -> None:
    """Whatever folding does to lengths, the highlighted characters are those of the original text."""
    asked = TextQuery.parse(query)
    assert [text[begin:end] for begin, end in highlights_of(text, asked)] == shown
    assert all(snippet.text == text for snippet in snippets_of(event_of(text), asked))


def test_snippets_name_the_place_and_cut_between_words() -> None:
    """A long text is cut around what was found, and each piece tells where it comes from."""
    event = Event(tags=["late"])
    event.llm_invocation.request.update(
        {"messages": [{"content": "lorem ipsum " * 20 + "the Order was late " + "dolor " * 30 + "order"}], "n": 9501.5}
    )
    found = snippets_of(event.SerializeToString(), TextQuery.parse("order late 9501"), context_chars=12)
    path = "llm_invocation.request.messages[0].content"
    assert found == [
        Snippet("tags[0]", "late", ((0, 4),), cut_before=False, cut_after=False),
        Snippet(path, "ipsum the Order was late dolor dolor", ((10, 15), (20, 24)), cut_before=True, cut_after=True),
        Snippet(path, "dolor dolor order", ((12, 17),), cut_before=True, cut_after=False),
        Snippet("llm_invocation.request.n", "9501.5", ((0, 4),), cut_before=False, cut_after=False),
    ]
    assert snippets_of(event.SerializeToString(), TextQuery.parse("order late 9501"), snippets_max=1) == found[:1]


def test_large_texts_give_small_snippets() -> None:
    """A token of 200,000 characters, and a text of as many without a space, give pieces that fit on a screen."""
    for text, query in (("a" * 200_000, "aa*"), ("高" * 100_000 + "京" + "高" * 100_000, "高京"), ("e\u0301" * 3_000, "é*")):
        (snippet,) = snippets_of(event_of(text), TextQuery.parse(query))
        assert 2 <= len(snippet.text) <= 300
        assert snippet.highlights


def test_bytes_that_are_no_event() -> None:
    """A damaged record is a storage error."""
    with pytest.raises(StorageError):
        snippets_of(b"\xff", TextQuery.parse("a"))
