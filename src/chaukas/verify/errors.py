"""The two errors of the verifier. Whatever the input, nothing else leaves it."""

from __future__ import annotations

__all__ = ["UnsupportedError", "VerificationError"]


class VerificationError(Exception):
    """What was handed in does not prove what it claims, or is malformed. `str(error)` says what is wrong, for people."""


class UnsupportedError(VerificationError):
    """It may be right, but this verifier cannot tell: a newer format, or an algorithm that the installed library lacks."""
