"""Consistency proofs as `/v1/proof/consistency` answers them.

A JSON object with exactly these fields: `format` (`chaukas-consistency@v1`), `origin`, `old_size`, `new_size`, and `hashes`, an
array of hashes in base64 in the order of RFC 6962 §2.1.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chaukas.verify.encodings import base64_text, parse_json_object
from chaukas.verify.json_fields import JsonFields

__all__ = ["CONSISTENCY_FORMAT", "ConsistencyProof"]

CONSISTENCY_FORMAT = "chaukas-consistency@v1"
_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the log's tree of `new_size` entries begins with its tree of `old_size`. Nothing is verified yet."""

    origin: str
    old_size: int
    new_size: int
    hashes: tuple[bytes, ...]

    def as_json(self) -> dict[str, Any]:
        """The object to answer or to write."""
        return {
            "format": CONSISTENCY_FORMAT,
            "origin": self.origin,
            "old_size": self.old_size,
            "new_size": self.new_size,
            "hashes": [base64_text(one) for one in self.hashes],
        }

    @classmethod
    def parse(cls, data: bytes) -> ConsistencyProof:
        """Read the JSON text. Raises `VerificationError` for everything else, `UnsupportedError` for another version."""
        what = "the consistency proof"
        value = parse_json_object(data, what, _BYTES_MAX)
        JsonFields.check_format(value, what, CONSISTENCY_FORMAT)
        fields = JsonFields(value, what, ("format", "origin", "old_size", "new_size", "hashes"))
        return cls(fields.text("origin"), fields.number("old_size"), fields.number("new_size"), fields.hashes("hashes"))
