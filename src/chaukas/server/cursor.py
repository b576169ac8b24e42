"""Cursors: positions that a caller carries and cannot make, read or use for anything but the answer they were given with.

A token is base64url of payload ‖ HMAC-SHA-256; the signature covers the kind of cursor and a binding, 32 bytes that the query and
the caller's scope decide.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from chaukas.server.errors import CannotServeError

__all__ = ["CURSOR_SECRET_BYTES", "CursorSeal", "kept_cursor_secret"]

CURSOR_SECRET_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 32
_KEY_FILE: Final = "cursor.key"


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


def kept_cursor_secret(state_dir: Path) -> bytes:
    """The secret that signs cursors: made by the first start, readable for the server's user only.

    A crash leaves either no file or a whole one. Losing it makes running queries start again, and nothing else. Raises
    `CannotServeError`.
    """
    path = state_dir / _KEY_FILE
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            draft = state_dir / f"{_KEY_FILE}.{os.getpid()}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, secrets.token_bytes(CURSOR_SECRET_BYTES))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            draft.replace(path)
        secret = path.read_bytes()
    except OSError as error:
        raise CannotServeError(f"state_dir: {path} cannot be read or made: {error.strerror}") from error
    if len(secret) != CURSOR_SECRET_BYTES:
        raise CannotServeError(f"state_dir: {path} must have {CURSOR_SECRET_BYTES} bytes; remove it, and a new one is made")
    return secret
