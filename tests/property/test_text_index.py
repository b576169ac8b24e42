"""The index finds what a plain scan finds: whatever the events, the queries, the commits and the restarts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from chaukas.server.storage.sqlite.text_index import TextIndexReader, TextIndexSnapshot, TextIndexWriter, reader, search, writer
from chaukas.server.storage.sqlite.text_index.indexed_text import indexed_text
from chaukas.server.text.event_tokens import tokens_of_event
from chaukas.server.text.expression import Clause, TextQuery
from chaukas.spec.common.v1.events_pb2 import Event
from tests.strategies import events, unhurried

_PIECES = (
    *(
        "a",
        "b",
        "ab",
        " ",
        " ",
        "A",
        "1",
        "1.5",
        "+",
        "<=",
        "_",
        "-",
        "'",
        '"',
        "\\",
        "\\n",
        "\n",
        "\0",
        "\x1f",
        "\u00a0",
        "\u2019",
    ),
    *("é", "e\u0301", "ﬁ", "İ", "東", "京", "か\u3099", "क्", "हि", "😀", "👩\u200d🚀", "\u00ad", "K", "²", "\U00020000"),
)
_wordy = st.lists(st.sampled_from(_PIECES), max_size=8).map("".join)


@st.composite
def _wordy_events(draw: st.DrawFn) -> Event:
    """Events with few words, so that queries and phrases meet them."""
    event = Event(event_id="a", agent_name=draw(_wordy), tags=draw(st.lists(_wordy, max_size=2)))
    event.message.text = draw(_wordy)
    event.metadata.update(draw(st.dictionaries(_wordy, st.one_of(_wordy, st.floats(allow_nan=False), st.booleans()), max_size=2)))
    return event


_bodies = st.one_of(_wordy_events(), events()).map(lambda event: event.SerializeToString(deterministic=True))


@st.composite
def _queries(draw: st.DrawFn, bodies: Sequence[bytes]) -> TextQuery:
    """Clauses that are mostly cut from the tokens of an event."""
    texts = [tokens for body in bodies for tokens in tokens_of_event(body)]
    clauses = set()
    for _ in range(draw(st.integers(1, 3))):
        tokens = draw(st.sampled_from(texts)) if texts and draw(st.integers(0, 4)) else ["a", "東", "京"]
        begin = draw(st.integers(0, len(tokens) - 1))
        phrase = tokens[begin : begin + draw(st.integers(1, 3))]
        prefix = draw(st.booleans())
        if prefix:
            phrase[-1] = phrase[-1][: draw(st.integers(1, len(phrase[-1])))]
        clauses.add(Clause(tuple(phrase), prefix))
    return TextQuery(tuple(sorted(clauses, key=str)))


def _parts(draw: st.DataObject, bodies: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """The events of a log in the pieces in which they arrive."""
    at = 0
    while at < len(bodies):
        piece = bodies[at : at + draw.draw(st.integers(1, 5))]
        yield at, piece
        at += len(piece)


def _check(snapshot: TextIndexSnapshot, query: TextQuery, logs: dict[int, list[bytes]]) -> None:
    asked = snapshot.search(query, logs)
    for log_no, bodies in logs.items():
        matching = [index for index, body in enumerate(bodies) if query.matches(body)]
        candidates = list(asked.in_block(log_no, 0))
        assert candidates == matching if asked.exact else set(candidates) >= set(matching)
        assert asked.count(log_no) == len(candidates)
        blocks = asked.blocks(log_no)
        assert blocks is None or blocks == (frozenset({0}) if candidates else frozenset())


@settings(unhurried, max_examples=50)
@given(st.data())
def test_candidates_agree_with_a_scan(data: st.DataObject):
    """A search never misses an event that `TextQuery.matches` finds, and finds no other one when it says that it is exact."""
    logs = {log_no: data.draw(st.lists(_bodies, max_size=8)) for log_no in (1, 2, 9)}
    limits = {"_LISTED_MAX": data.draw(st.integers(1, 9)), "_LISTED_MAX_IN_SUM": data.draw(st.integers(1, 20))}
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.multiple(search, **limits),
        mock.patch.object(reader, "_PREFIX_TOKENS_MAX", data.draw(st.integers(1, 9))),
        mock.patch.object(writer, "_WAITING_CHARS_MAX", data.draw(st.integers(1, 1_000))),
    ):
        begun = TextIndexWriter(Path(name))
        for log_no, bodies in logs.items():
            for first_index, piece in _parts(data, bodies):
                begun.add(log_no, first_index, piece)
                if data.draw(st.booleans()):
                    begun.commit()
        begun.commit()
        asking = TextIndexReader(Path(name))
        with asking.snapshot() as snapshot:
            assert {log_no: snapshot.indexed(log_no) for log_no in logs} == {
                log_no: len(bodies) for log_no, bodies in logs.items()
            }
            for _ in range(4):
                _check(snapshot, data.draw(_queries([body for bodies in logs.values() for body in bodies])), logs)
        asking.close()
        begun.close()


@settings(unhurried, max_examples=200)
@given(_bodies)
def test_indexed_text_falls_into_the_tokens_of_the_event(body: bytes):
    """Cutting at what FTS5 cuts at gives the tokens of each text, with a boundary between any two texts."""
    kept = "$+<=>|~\x1f"
    text = "".join(c if not c.isascii() or c in kept else c.lower() if c.isalnum() else " " for c in indexed_text(body))
    parts = [part.split() for part in text.split("\x1f")]
    assert sorted(part for part in parts if part) == sorted(tokens_of_event(body))
