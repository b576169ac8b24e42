"""Numbers and enum values in JSON, in both directions.

JSON has one kind of number, the contract has four. Whole numbers are written without a fraction, 64-bit ones too: they
count events, and a client that reads them as doubles is exact up to 2^53.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from google.protobuf.descriptor import EnumDescriptor

from chaukas.server.wire.json_problem import JsonMismatch, describe, shorten

__all__ = [
    "INT32",
    "INT64",
    "double_from_json",
    "double_to_json",
    "enum_reader",
    "enum_writer",
    "integer_from_json",
    "number_of_value",
]

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)
#: Every whole number up to here is a double of its own, so that writing 3.0 as 3 loses nothing.
_EXACT_MAX = 2.0**53
_INTEGER_TEXT = re.compile(r"-?\d{1,20}", re.ASCII)
_NUMBER_TEXT = re.compile(r"-?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,4})?", re.ASCII)
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def double_to_json(number: float) -> object:
    """A number, whole ones as 3 and not 3.0, as protobuf's C++ writes them; or "NaN", "Infinity", "-Infinity"."""
    if number.is_integer():
        if not -_EXACT_MAX <= number <= _EXACT_MAX:
            return number
        # Minus zero has no whole number and stays -0.0.
        return int(number) if number or math.copysign(1.0, number) > 0 else number
    if number - number == 0:
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"  # noqa: PLR0124 - only NaN differs from itself


def number_of_value(value: object) -> float:
    """A JSON number (not text) as a double. Raises `JsonMismatch` for one beyond the range of doubles."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise JsonMismatch("the number is beyond the range of doubles")
    return number


def double_from_json(value: object) -> float:
    """A double from a number, or from text as protobuf's JSON allows it: "1.5", "NaN", "Infinity", "-Infinity"."""
    if isinstance(value, str):
        if value in _NOT_FINITE:
            return _NOT_FINITE[value]
        if _NUMBER_TEXT.fullmatch(value):
            return number_of_value(value)
        raise JsonMismatch(f"expected a number, got the string {shorten(value)}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise JsonMismatch(f"expected a number, got {describe(value)}")
    return number_of_value(value)


def integer_from_json(value: object, bounds: tuple[int, int]) -> int:
    """A whole number within `bounds` from 5, 5.0, or "5" (as protobuf's JSON writes 64-bit numbers)."""
    if (isinstance(value, str) and _INTEGER_TEXT.fullmatch(value)) or (isinstance(value, float) and value.is_integer()):
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float):
        raise JsonMismatch(
            "expected a whole number, got one with a fraction" if math.isfinite(value) else "the number is out of range"
        )
    else:
        raise JsonMismatch(f"expected a whole number, got {describe(value)}")
    if not bounds[0] <= number <= bounds[1]:
        raise JsonMismatch(f"the number is not between {bounds[0]} and {bounds[1]}")
    return number


def enum_writer(enum: EnumDescriptor) -> Callable[[int], object]:
    """From a number to the short name (`SESSION_START`); a number without a name stays a number."""
    names: dict[int, object] = {number: _short(enum, name) for name, number in _numbers(enum).items()}

    def write(number: int) -> object:
        return names.get(number, number)

    return write


def enum_reader(enum: EnumDescriptor) -> Callable[[object], int]:
    """From the short name, the full name (`EVENT_TYPE_SESSION_START`) or a number, a number without a name included."""
    numbers = _numbers(enum)
    by_name = numbers | {_short(enum, name): number for name, number in numbers.items()}

    def read(value: object) -> int:
        if isinstance(value, str):
            if (number := by_name.get(value)) is None:
                raise JsonMismatch(f"unknown value {shorten(value)} for {enum.name}")
            return number
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise JsonMismatch(f"expected a name or number of {enum.name}, got {describe(value)}")
        return integer_from_json(value, INT32)

    return read


def _numbers(enum: EnumDescriptor) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def _short(enum: EnumDescriptor, name: str) -> str:
    """The name without the prefix that all values of the enum share: what stands before UNSPECIFIED in the first one."""
    return name.removeprefix(enum.values[0].name.removesuffix("UNSPECIFIED"))
