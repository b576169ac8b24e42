"""A client of transparency logs, written from the C2SP texts (signed-note, tlog-checkpoint, tlog-tiles) and RFC 6962 alone.

It knows nothing of the package: urllib, hashlib, and `cryptography` for the signature.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import urllib.error
import urllib.request
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["SeenCheckpoint", "TileClient", "merkle_root"]

# Tests talk to their own machine, whatever proxy the environment names.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class SeenCheckpoint:
    """A checkpoint whose signature is valid."""

    note: bytes
    origin: str
    size: int
    root: bytes


class TileClient:
    """Reads one log below its prefix, `http://…/log/<hash>/`."""

    def __init__(self, prefix: str, verifier_key: str) -> None:
        self._prefix = prefix
        self._name, key_id, key = verifier_key.split("+", 2)
        self._key_id = bytes.fromhex(key_id)
        material = base64.b64decode(key, validate=True)
        assert material[0] == 1, "signature type Ed25519"
        assert hashlib.sha256(self._name.encode() + b"\n" + material).digest()[:4] == self._key_id
        self._public_key = Ed25519PublicKey.from_public_bytes(material[1:])

    def get(self, path: str) -> bytes:
        """The body of a 200. Raises `urllib.error.HTTPError`."""
        with _OPENER.open(self._prefix + path, timeout=30) as answer:
            return bytes(answer.read())

    def status(self, path: str) -> int:
        """The status of an answer."""
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    def checkpoint(self) -> SeenCheckpoint:
        """The signed tree head, its signature checked."""
        note = self.get("checkpoint")
        text, separator, signatures = note.partition(b"\n\n")
        assert separator
        text += b"\n"
        valid = 0
        for line in signatures.decode().splitlines():
            dash, name, blob = line.split(" ")
            data = base64.b64decode(blob, validate=True)
            if (dash, name, data[:4]) == ("—", self._name, self._key_id):
                self._public_key.verify(data[4:], text)
                valid += 1
        assert valid == 1
        origin, size, root, *_ = text.decode().split("\n")
        assert origin == self._name
        return SeenCheckpoint(note, origin, int(size), base64.b64decode(root, validate=True))

    def entries(self, size: int) -> list[bytes]:
        """All entries of a tree, from the entry bundles."""
        found: list[bytes] = []
        for number in range((size + 255) // 256):
            width = min(256, size - number * 256)
            data = self.get(tile_path("entries", number, width))
            at = 0
            for _ in range(width):
                (length,) = struct.unpack_from(">H", data, at)
                found.append(data[at + 2 : at + 2 + length])
                at += 2 + length
            assert at == len(data)
        return found

    def level(self, level: int, size: int) -> list[bytes]:
        """All hashes of one level of tiles."""
        count = size // 256**level
        found: list[bytes] = []
        for number in range((count + 255) // 256):
            width = min(256, count - number * 256)
            data = self.get(tile_path(str(level), number, width))
            assert len(data) == 32 * width
            found += [data[at : at + 32] for at in range(0, len(data), 32)]
        return found

    def levels(self, size: int) -> list[list[bytes]]:
        """All levels; each full tile must have its root in the level above."""
        found = [self.level(0, size)]
        while len(found[-1]) >= 256:
            below = found[-1]
            above = self.level(len(found), size)
            assert above == [merkle_root(below[at : at + 256]) for at in range(0, len(below) // 256 * 256, 256)]
            found.append(above)
        return found


def tile_path(level: str, number: int, width: int) -> str:
    """tlog-tiles, "Merkle Tree": `tile/<L>/<N>[.p/<W>]`, N in groups of three digits."""
    digits = str(number)
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{path}" + ("" if width == 256 else f".p/{width}")


def merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1 over leaf hashes, level by level: a node without a sibling goes up as it is."""
    level = leaves
    while len(level) > 1:
        paired = [hashlib.sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) // 2 * 2 :]
    return level[0]
