"""The content of an entry of kind `key`: which key of the log follows which.

Three lines of UTF-8 text, each ended by a newline: `chaukas-key-change@v1`, the old verifier key, the new one, both named after
the origin. The entry's envelope is empty. The checkpoint that covers the entry is signed by both keys: whoever trusts the old
key and sees this entry proven by it may go on with the new one.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.verify.errors import VerificationError
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["KeyChange"]

_HEADER = "chaukas-key-change@v1"


@dataclass(frozen=True, slots=True)
class KeyChange:
    """`new` signs the log from the next checkpoint on; `old` does so no longer."""

    old: VerifierKey
    new: VerifierKey

    def __bytes__(self) -> bytes:
        return f"{_HEADER}\n{self.old}\n{self.new}\n".encode()

    @classmethod
    def parse(cls, data: bytes) -> KeyChange:
        """Read the content of a `key` entry. Raises `VerificationError` for everything else."""
        try:
            lines = data.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise VerificationError("the content of the key entry is not UTF-8") from error
        if len(lines) != 4 or lines[0] != _HEADER or lines[3]:
            raise VerificationError(f"the content of the key entry is not {_HEADER} and two verifier keys")
        change = cls(VerifierKey.parse(lines[1]), VerifierKey.parse(lines[2]))
        if change.old.name != change.new.name or change.old == change.new:
            raise VerificationError("a key change names two different keys of one log")
        return change
