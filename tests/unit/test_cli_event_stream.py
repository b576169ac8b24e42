"""The reader of server-sent events, by the rules of WHATWG HTML §9.2.6."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.cli.event_stream import EventStreamParser, StreamMessage

_LINES = st.sampled_from(
    ["", "", "data: one", "data:two", "data:  three", "data", "event: event", "id: c-1", "id: 2", "id", "id: a\0b", ": beat",
     "retry: 1500", "retry: x", "other: y", "data: 東京 🎉", "event"]
)  # fmt: skip
_ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def naive(stream: str, last_id: str = "") -> tuple[list[StreamMessage], str]:
    """The standard's algorithm, word for word, over the whole stream at once."""
    messages, data, kind, here = [], [], "", last_id
    *lines, _ = re.split("\r\n|\n|\r", stream.removeprefix("\ufeff"))
    for line in lines:
        if line == "":
            last_id = here
            if data:
                messages.append(StreamMessage(kind or "message", "\n".join(data), here))
            data, kind = [], ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            here = value
    return messages, last_id


@given(st.lists(st.tuples(_LINES, _ENDS)), st.booleans(), st.data())
def test_pieces_of_any_size_give_the_same_messages(lines: list[tuple[str, str]], bom: bool, data: st.DataObject) -> None:
    """However the network cuts the stream, its messages and its last id are those of the whole."""
    # A last CR may still become CR LF, so the stream ends with a comment that ends in LF.
    text = ("\ufeff" if bom else "") + "".join(line + end for line, end in lines) + ":\n"
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    parser = EventStreamParser()
    messages = []
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        messages += parser.feed(raw[begin:end])
    assert (messages, parser.last_id) == naive(text)


def test_a_message_that_is_not_finished_is_none() -> None:
    """What stands behind the last blank line when the stream ends is not shown, and does not move the position."""
    parser = EventStreamParser("c-0")
    assert parser.feed(b"id: c-1\ndata: half\n") == []
    assert parser.last_id == "c-0"


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    """`retry` is a number of milliseconds; anything else in it is passed over."""
    parser = EventStreamParser()
    parser.feed(b"retry: 2000\nretry: soon\n")
    assert parser.retry_ms == 2000


@pytest.mark.parametrize("size", [1, 1000])
def test_a_large_message_is_put_together(size: int) -> None:
    """An event of two megabytes comes through in pieces."""
    raw = b"data: " + b"x" * (2000 * size) + b"\n\n"
    parser = EventStreamParser()
    found = [message for at in range(0, len(raw), 65_536) for message in parser.feed(raw[at : at + 65_536])]
    assert [len(message.data) for message in found] == [2000 * size]
