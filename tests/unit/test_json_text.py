"""JSON text within limits: what is no JSON is refused with its place, what is too much is refused before it fills memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from chaukas.server.errors import InvalidRequestError
from chaukas.server.wire import json_text
from chaukas.server.wire.json_problem import Unusable
from chaukas.server.wire.json_text import JsonText, json_bytes, parse_json


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "the body is empty; expected a JSON object"),
        (b" \r\n\t", "the body is empty; expected a JSON object"),
        (b"\xef\xbb\xbf", "the body is empty; expected a JSON object"),
        (b"{", "the body is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b'{"a":1,\n "b" 2}', "the body is not JSON: Expecting ':' delimiter at line 2, column 6"),
        (b'{"a":1}{', "the body is not JSON: Extra data at line 1, column 8"),
        (b'"a\nb"', "the body is not JSON: Invalid control character at at line 1, column 3"),
        (b'"\\x"', "the body is not JSON: Invalid \\escape at line 1, column 2"),
        ("{}".encode("utf-16"), "the body is not JSON in UTF-8; it looks like UTF-16 or UTF-32"),
        ("{}".encode("utf-16-be"), "the body is not JSON in UTF-8; it looks like UTF-16 or UTF-32"),
        ("{}".encode("utf-32"), "the body is not JSON in UTF-8; it looks like UTF-16 or UTF-32"),
        (b"[" * 100_000, "the body is not JSON: Brackets are not closed at line 1, column 100001"),
        (b"[" * 100_000 + b"]" * 100_001, "the body is not JSON: Extra data at line 1, column 200001"),
        (b"\x0a\x05hello", None),
        (b"+1", None),
        (b"01", None),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, expected: str | None) -> None:
    """The sentence tells the place, so that a caller finds the mistake in a large body."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_json(body)
    if expected is not None:
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"NaN", "NaN, which is not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "a value that is nested too deeply"),
        (b'{"a":1,"b":2,"a":1}', 'an object in which the key "a" stands twice'),
        (b"1" * 401, None),
        (b"-" + b"1" * 5000, "a number of 5001 digits"),
    ],
)
def test_a_value_that_can_not_be_taken_is_marked(body: bytes, reason: str | None) -> None:
    """JSON that is odd only in one place stays readable around it."""
    value = parse_json(body)
    if reason is None:
        assert value == int(body)
    else:
        assert isinstance(value, Unusable)
        assert value.reason.startswith(reason)


def test_a_byte_order_mark_is_skipped() -> None:
    """Editors write one; RFC 8259 lets a reader pass over it."""
    assert parse_json(b"\xef\xbb\xbf{}") == {}


def test_broken_utf8_stays_in_its_string() -> None:
    """The bytes can be found again, and no field takes the string."""
    assert parse_json(b'["\xff","a"]') == ["\udcff", "a"]


def test_text_is_compact_utf8() -> None:
    """Every character that a field may hold is written, the separators of JavaScript included."""
    assert json_bytes({"a": ["\x00\u2028\U0001f600", 1, 1.5, None]}) == '{"a":["\\u0000\u2028\U0001f600",1,1.5,null]}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes(float("nan"))


def test_too_many_values_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small body of tiny values must not become a large heap."""
    monkeypatch.setattr(json_text, "VALUES_MAX", 10_000)
    body = b'{"metadata":{"a":[' + b"[]," * 300_000 + b"0]}}"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequestError, match="more than 10000 values"):
            parse_json(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(body)


def test_commas_in_strings_are_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prose has commas and brackets; only the structure counts."""
    monkeypatch.setattr(json_text, "VALUES_MAX", 5)
    assert parse_json(b'{"a":"' + b",[{" * 100 + b'","b":"\\",,,,,,"}')
    with pytest.raises(InvalidRequestError, match="more than 5 values"):
        parse_json(b"[1,2,3,4,5,6]")


def test_each_value_is_counted_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is one of events, not of batches."""
    monkeypatch.setattr(json_text, "VALUES_MAX", 5)
    body = b"[" + b",".join([b"[1,2,3]"] * 9) + b"]"
    text = JsonText(body)
    found: list[object] = []

    def take(position: int) -> int:
        end, following = text.skip(position)
        found.append(json.loads(body[position:end]))
        return following

    text.expect_end(text.elements(text.start, take))
    assert found == [[1, 2, 3]] * 9
