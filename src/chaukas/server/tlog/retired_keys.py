"""The public keys that a server's logs were signed with before: what old checkpoints are checked with.

The file `retired-keys` in the state directory has one line per key, `<base64 of type and public key> <time of retirement>`, the
oldest first. Nothing in it is secret, and nothing is ever taken out of it. A torn last line is what a crash leaves, and is not
read; the key that stood there still signs then, and its retirement is written again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chaukas.server.errors import CannotServeError
from chaukas.verify.encodings import base64_text, parse_base64
from chaukas.verify.errors import VerificationError
from chaukas.verify.verifier_keys import ED25519, VerifierKey

__all__ = ["RETIRED_KEYS_FILE", "RetiredKey", "read_retired_keys", "retire_key"]

RETIRED_KEYS_FILE = "retired-keys"


@dataclass(frozen=True, slots=True)
class RetiredKey:
    """A public key, 32 bytes, and when its retirement began, RFC 3339."""

    public_key: bytes
    retired_at: str

    def log_key(self, origin: str) -> VerifierKey:
        """Its verifier key for one log."""
        return VerifierKey(origin, ED25519, self.public_key)


def read_retired_keys(state_dir: Path, current: bytes | None = None) -> list[RetiredKey]:
    """The keys that sign no more, oldest first; without `current`, the public key that still signs while it is being replaced.

    Raises `CannotServeError` when the file is damaged or cannot be read.
    """
    path = state_dir / RETIRED_KEYS_FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CannotServeError(f"the file of retired keys {path} cannot be read: {error.strerror}") from error
    # What stands behind the last newline was never complete.
    lines.pop()
    keys: dict[bytes, RetiredKey] = {}
    for number, line in enumerate(lines, 1):
        key = _parse(line)
        if key is None:
            raise CannotServeError(f"the file of retired keys {path} is damaged in line {number}; restore it from a backup")
        keys.setdefault(key.public_key, key)
    return [key for key in keys.values() if key.public_key != current]


def retire_key(state_dir: Path, public_key: bytes, retired_at: datetime) -> None:
    """List a key, on the disk when it returns; one that is listed already is not listed again.

    Raises `CannotServeError` when the file is damaged, `OSError` when it cannot be written.
    """
    known = read_retired_keys(state_dir)
    if any(key.public_key == public_key for key in known):
        return
    path = state_dir / RETIRED_KEYS_FILE
    text = "".join(_line(key) for key in (*known, RetiredKey(public_key, retired_at.isoformat(timespec="seconds"))))
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    # A crash before this leaves the old list, one behind it the new one.
    beside.replace(path)
    directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _line(key: RetiredKey) -> str:
    return f"{base64_text(bytes((ED25519,)) + key.public_key)} {key.retired_at}\n"


def _parse(line: bytes) -> RetiredKey | None:
    encoded, _, retired_at = line.decode("utf-8", "replace").partition(" ")
    try:
        datetime.fromisoformat(retired_at)
        material = parse_base64(encoded, "a retired key")
    except (ValueError, VerificationError):
        return None
    return RetiredKey(material[1:], retired_at) if len(material) == 33 and material[0] == ED25519 else None
