"""Cursors: positions that a caller carries and cannot make, read or use for anything but the answer they were given with.

A token is base64url of payload ‖ HMAC-SHA-256; the signature covers the kind of cursor and a binding, 32 bytes that the query and
the caller's scope decide.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

__all__ = ["CURSOR_SECRET_BYTES", "CursorSeal"]

CURSOR_SECRET_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 32


class CursorSeal:
    """Signs and opens the cursors of one kind (`page`, `tail`), with the server's secret of `CURSOR_SECRET_BYTES`."""

    def __init__(self, secret: bytes, kind: str) -> None:
        if len(secret) != CURSOR_SECRET_BYTES:
            raise ValueError(f"the cursor secret must have {CURSOR_SECRET_BYTES} bytes")
        self._secret = secret
        self._prefix = f"chaukas {kind} cursor 1\n".encode("ascii")

    def token(self, payload: bytes, binding: bytes) -> str:
        """The cursor that carries a payload."""
        return _armour(payload + self._signature(payload, binding))

    def payload(self, token: str, binding: bytes) -> bytes | None:
        """What a cursor carries; None for every way to be wrong, because more would tell something to somebody who tries."""
        raw = _unarmour(token)
        payload, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
        return payload if hmac.compare_digest(signature, self._signature(payload, binding)) else None

    def _signature(self, payload: bytes, binding: bytes) -> bytes:
        return hmac.digest(self._secret, self._prefix + binding + payload, "sha256")


def _armour(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _unarmour(token: str) -> bytes:
    """The bytes of a token, empty for a text that is none: one cursor has one spelling."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if _armour(raw) == token else b""
