"""Reading the fields of a JSON object of a format of ours: each field has one type, and no other fields are taken."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from chaukas.verify.encodings import SIZE_MAX, parse_base64, parse_hash
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.merkle import PROOF_HASHES_MAX

__all__ = ["JsonFields"]


class JsonFields:
    """The fields of one object. A value of another type is a `VerificationError` that names object and field."""

    def __init__(self, value: object, what: str, names: Collection[str]) -> None:
        """`names` are all the fields that the object has; it must have each of them and no others."""
        if not isinstance(value, dict):
            raise VerificationError(f"{what} is not a JSON object")
        self._fields: dict[str, Any] = value
        self._what = what
        for name in sorted({*names} ^ {*value}):
            raise VerificationError(f"{what} has {'no' if name in names else 'an unknown'} field {name!r}")

    @staticmethod
    def check_format(value: dict[str, Any], what: str, expected: str) -> None:
        """That the field `format` names the expected format and version. `UnsupportedError` for another version of it."""
        found = value.get("format")
        if found == expected:
            return
        family = expected.partition("@")[0] + "@"
        if isinstance(found, str) and found.startswith(family):
            raise UnsupportedError(f"{what} has the format {found[:80]!r}; this verifier reads {expected!r}")
        raise VerificationError(f"{what} is not of the format {expected!r}")

    def text(self, name: str) -> str:
        """A string that can be written in UTF-8."""
        value = self._fields[name]
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise self._wrong(name, "Unicode text")
        return value

    def number(self, name: str) -> int:
        """A whole number from 0 to 2^63 - 1."""
        value = self._fields[name]
        if type(value) is not int or not 0 <= value <= SIZE_MAX:
            raise self._wrong(name, "a whole number from 0 to 2^63 - 1")
        return value

    def data(self, name: str) -> bytes:
        """Bytes in base64."""
        return parse_base64(self.text(name), f"{self._what}: {name}")

    def data_or_none(self, name: str) -> bytes | None:
        """Bytes in base64, or null."""
        return None if self._fields[name] is None else self.data(name)

    def hashes(self, name: str) -> tuple[bytes, ...]:
        """The hashes of a proof: an array of base64 texts."""
        value = self._fields[name]
        if not isinstance(value, list) or len(value) > PROOF_HASHES_MAX or not all(isinstance(one, str) for one in value):
            raise self._wrong(name, f"an array of at most {PROOF_HASHES_MAX} strings")
        return tuple(parse_hash(one, f"{self._what}: a hash in {name}") for one in value)

    def value(self, name: str) -> object:
        """Whatever stands there, for a nested object."""
        return self._fields[name]

    def _wrong(self, name: str, expected: str) -> VerificationError:
        return VerificationError(f"{self._what}: {name} is not {expected}")
