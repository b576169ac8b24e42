"""Numbers in JSON: what is written whole, and what is taken for a number."""

from __future__ import annotations

import math

import pytest

from chaukas.server.wire.json_number import INT32, INT64, double_from_json, double_to_json, integer_from_json
from chaukas.server.wire.json_problem import JsonMismatch


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (3.0, "3"),
        (0.0, "0"),
        (-0.0, "-0.0"),
        (-7.0, "-7"),
        (0.1, "0.1"),
        (2.0**53, "9007199254740992"),
        (2.0**54, "1.8014398509481984e+16"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
    ],
)
def test_doubles_are_written_shortest(number: float, written: str) -> None:
    """A whole number has no fraction as long as it is exact, and every text is read back as the same double."""
    assert repr(double_to_json(number)) == written
    assert math.copysign(1, double_from_json(float(written))) == math.copysign(1, number)
    assert double_from_json(float(written)) == number


def test_doubles_that_are_not_finite() -> None:
    """JSON has no literal for them: protobuf's three words stand for them in both directions."""
    for number, word in ((math.inf, "Infinity"), (-math.inf, "-Infinity"), (math.nan, "NaN")):
        assert double_to_json(number) == word
        assert repr(double_from_json(word)) == repr(number)


@pytest.mark.parametrize(
    "value", [None, True, [], {}, "", " 1", "1 ", "nan", "inf", "1e999", "0x1", "1_000", "\u0661", math.inf, 10**400]
)
def test_what_is_no_double(value: object) -> None:
    """Python reads more as a number than JSON does; a number beyond the range is no infinity."""
    with pytest.raises(JsonMismatch):
        double_from_json(value)


@pytest.mark.parametrize(("value", "number"), [(5, 5), (5.0, 5), ("5", 5), ("-5", -5), (-(2**31), -(2**31))])
def test_whole_numbers(value: object, number: int) -> None:
    """JSON has one kind of number, and protobuf writes 64-bit ones as text."""
    assert integer_from_json(value, INT32) == number


@pytest.mark.parametrize("value", [None, True, 1.5, "1.5", "", "+5", " 5", "five", [5], 2**31, 1e300, math.inf, "9" * 21])
def test_what_is_no_whole_number(value: object) -> None:
    """Nothing is rounded or cut off."""
    with pytest.raises(JsonMismatch):
        integer_from_json(value, INT32)


def test_64_bits() -> None:
    """The ends of the range are exact."""
    for number in INT64:
        assert integer_from_json(number, INT64) == integer_from_json(str(number), INT64) == number
