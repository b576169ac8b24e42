"""JSON text: bytes to values and back, within limits, and a body cut into the texts of its events.

Strict where RFC 8259 is strict. What is wrong with one event must not cost the others, so a value that can not be taken
(NaN, a key that stands twice, nesting without end) becomes an `Unusable` in its place, and broken UTF-8 stays inside the
string where it stands. Only text that is no JSON at all is refused as a whole, with line and column.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable

from chaukas.server.errors import InvalidRequestError
from chaukas.server.wire.json_problem import Unusable, shorten

__all__ = ["VALUES_MAX", "JsonText", "json_bytes", "parse_json"]

#: Values that one event, or another member of a request, may hold. An event of 2 MiB can not hold as many; text of three
#: bytes per value would otherwise fill memory that is thirty times its size.
VALUES_MAX = 1_000_000
#: Python by itself refuses a text with a number of more than 4,300 digits; a double ends at 309.
_DIGITS_MAX = 400
_SPACE = re.compile(r"[ \t\n\r]*")
_STRUCTURE = re.compile(r'["\[\]{},]')
_WIDE_CHARACTERS = ("\xff\xfe", "\xfe\xff", "\udcff\udcfe", "\udcfe\udcff", "\x00")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def json_bytes(value: object) -> bytes:
    """Compact UTF-8 JSON of what the writers of this package return."""
    return _ENCODER.encode(value).encode("utf-8")


def parse_json(body: bytes) -> object:
    """The value of a whole text. Raises `InvalidRequestError` if it is no JSON, or holds more than `VALUES_MAX` values.

    A byte-order mark is skipped (RFC 8259 §8.1 allows that). Bytes that are no UTF-8 become lone surrogates, which no field
    accepts.
    """
    text = body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    if _may_be_crowded(text):
        structure = JsonText(body)
        structure.skip(structure.start)
    try:
        return _DECODER.decode(text)
    except RecursionError:
        # The depth at which Python gives up depends on its version; whatever it reads, the contract allows less.
        JsonText(body).check_closed()
        return Unusable("a value that is nested too deeply")
    except json.JSONDecodeError as error:
        raise _refusal(text, error.msg, error.pos) from None
    except ValueError:
        return _PATIENT_DECODER.decode(text)


class JsonText:
    """The structure of a body, walked value by value without keeping any.

    The text is read as Latin-1: all that makes the structure is ASCII, so positions are those of the bytes, and the text
    takes one byte per character whatever it holds. Strings come out of `parse_json`, from the bytes between two positions.
    """

    def __init__(self, body: bytes) -> None:
        self._text = body.decode("latin-1")
        self._crowded = _may_be_crowded(self._text)
        self.start = self._skip_space(len(codecs.BOM_UTF8) if body.startswith(codecs.BOM_UTF8) else 0)

    def at(self, position: int) -> str:
        """The character there, "" at the end."""
        return self._text[position : position + 1]

    def skip(self, position: int) -> tuple[int, int]:
        """Where the value at `position` ends, and where the next token begins.

        Raises `InvalidRequestError` if it is no JSON, or holds more than `VALUES_MAX` values.
        """
        if self._crowded:
            self._measure(position, VALUES_MAX)
        try:
            _, end = _STRUCTURE_DECODER.raw_decode(self._text, position)
        except RecursionError:
            end = self._measure(position)
        except json.JSONDecodeError as error:
            raise _refusal(self._text, error.msg, error.pos) from None
        except ValueError:
            _, end = _PATIENT_DECODER.raw_decode(self._text, position)
        return end, self._skip_space(end)

    def check_closed(self) -> None:
        """Raises `InvalidRequestError` if the brackets of the body are not closed, or something follows them."""
        self.expect_end(self._skip_space(self._measure(self.start)))

    def members(self, position: int, take: Callable[[str, int], int]) -> int:
        """Walk the object at `position` and return the place behind it. Raises `InvalidRequestError`.

        `take` gets each key and the place of its value, and returns where the next token begins.
        """
        position = self._skip_space(position + 1)
        if self.at(position) == "}":
            return self._skip_space(position + 1)
        while True:
            if self.at(position) != '"':
                raise _refusal(self._text, "Expecting property name enclosed in double quotes", position)
            end, following = self.skip(position)
            key = str(json.loads(self._text[position:end]))
            position = take(key, self._expect(":", following))
            if self.at(position) == "}":
                return self._skip_space(position + 1)
            position = self._expect(",", position)

    def elements(self, position: int, take: Callable[[int], int]) -> int:
        """Walk the array at `position`, like `members`."""
        position = self._skip_space(position + 1)
        if self.at(position) == "]":
            return self._skip_space(position + 1)
        while True:
            position = take(position)
            if self.at(position) == "]":
                return self._skip_space(position + 1)
            position = self._expect(",", position)

    def expect_end(self, position: int) -> None:
        """Raises `InvalidRequestError` if anything follows."""
        if position != len(self._text):
            raise _refusal(self._text, "Extra data", position)

    def _expect(self, token: str, position: int) -> int:
        if self.at(position) != token:
            raise _refusal(self._text, f"Expecting '{token}' delimiter", position)
        return self._skip_space(position + 1)

    def _skip_space(self, position: int) -> int:
        match = _SPACE.match(self._text, position)
        return match.end() if match else position

    def _measure(self, position: int, values_max: int | None = None) -> int:
        """Where the array or object at `position` ends, found by its brackets alone.

        Raises `InvalidRequestError` when it is not closed, or holds more than `values_max` values.
        """
        depth = values = 0
        while token := _STRUCTURE.search(self._text, position):
            character, position = token[0], token.end()
            if character == '"':
                try:
                    _, position = _STRUCTURE_DECODER.raw_decode(self._text, position - 1)
                except json.JSONDecodeError as error:
                    raise _refusal(self._text, error.msg, error.pos) from None
            elif character in "[{":
                depth += 1
            elif character in "]}":
                depth -= 1
            if depth <= 0:
                return position
            values += character in ",[{"
            if values_max is not None and values > values_max:
                raise InvalidRequestError("", f"the body holds an event, or another part, of more than {values_max} values")
        raise _refusal(self._text, "Brackets are not closed", len(self._text))


def _may_be_crowded(text: str) -> bool:
    # An upper bound of the number of values, because it counts what stands within strings too.
    return sum(map(text.count, ",[{")) > VALUES_MAX


def _refusal(text: str, problem: str, position: int) -> InvalidRequestError:
    if not text.strip(" \t\r\n"):
        return InvalidRequestError("", "the body is empty; expected a JSON object")
    if text.startswith(_WIDE_CHARACTERS) or text[1:2] == "\x00":
        return InvalidRequestError("", "the body is not JSON in UTF-8; it looks like UTF-16 or UTF-32")
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return InvalidRequestError("", f"the body is not JSON: {problem} at line {line}, column {column}")


def _object(pairs: list[tuple[str, object]]) -> object:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return Unusable(f"an object in which the key {shorten(twice)} stands twice", members)


def _constant(name: str) -> Unusable:
    return Unusable(f'{name}, which is not JSON (a number of the contract can be given as the string "{name}")')


def _bounded_int(digits: str) -> object:
    return int(digits) if len(digits) <= _DIGITS_MAX else Unusable(f"a number of {len(digits)} digits")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
#: Calls Python for every whole number, so it is used only where another gave up.
_PATIENT_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_bounded_int)
#: For places, not for values.
_STRUCTURE_DECODER = json.JSONDecoder()
