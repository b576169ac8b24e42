"""Strict readers of the small encodings that the formats are made of: base64, decimal and hexadecimal numbers, JSON.

Each value has exactly one spelling here, so that no byte of a proof can change without a change of meaning or an error.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Any, NoReturn

from chaukas.verify.errors import VerificationError

__all__ = ["HASH_BYTES", "SIZE_MAX", "base64_text", "parse_base64", "parse_decimal", "parse_hash", "parse_json_object"]

#: Bytes of a SHA-256 hash.
HASH_BYTES = 32
#: The largest size of a tree, and with it the largest index: what fits a signed 64-bit integer.
SIZE_MAX = (1 << 63) - 1

_NESTING_MAX = 64
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def base64_text(data: bytes) -> str:
    """Standard base64 with padding, on one line (RFC 4648 §4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def parse_base64(text: str, what: str) -> bytes:
    """The bytes of a standard base64 text (RFC 4648 §4). Raises `VerificationError` naming `what`.

    Only the one canonical spelling is read: padded, without line breaks, and with unused bits of zero.
    """
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True) if text else b""
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are both ValueErrors
        raise VerificationError(f"{what} is not base64") from error
    if base64_text(data) != text:
        raise VerificationError(f"{what} is not canonical base64")
    return data


def parse_hash(text: str, what: str) -> bytes:
    """A base64 SHA-256 hash, 32 bytes."""
    data = parse_base64(text, what)
    if len(data) != HASH_BYTES:
        raise VerificationError(f"{what} has {len(data)} bytes, not {HASH_BYTES}")
    return data


def parse_decimal(text: str, what: str) -> int:
    """A number from 0 to `SIZE_MAX` in ASCII digits without leading zeros."""
    if not _DECIMAL.fullmatch(text):
        raise VerificationError(f"{what} is not a decimal number without leading zeros")
    number = int(text)
    if number > SIZE_MAX:
        raise VerificationError(f"{what} is larger than 2^63 - 1")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _pairs_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def parse_json_object(data: bytes, what: str, bytes_max: int) -> dict[str, Any]:
    """A JSON object in UTF-8 of at most `bytes_max` bytes, in which no object has a key twice.

    Raises `VerificationError` for everything else, nesting beyond what the interpreter's stack takes included.
    """
    if len(data) > bytes_max:
        raise VerificationError(f"{what} has {len(data)} bytes; at most {bytes_max} are read")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_pairs_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise VerificationError(f"{what} is not a JSON object")
    _check_nesting(value, what)
    return value


def _check_nesting(value: object, what: str) -> None:
    """That containers stand in each other at most `_NESTING_MAX` deep, so that what is read can be written again as well."""
    level = [value]
    for _ in range(_NESTING_MAX):
        containers = [one for one in level if isinstance(one, dict | list)]
        level = [inner for one in containers for inner in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return
    raise VerificationError(f"{what} is nested more than {_NESTING_MAX} deep")
