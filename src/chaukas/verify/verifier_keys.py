"""Verifier keys, `<name>+<8 hex digits of the key id>+<base64 of type and public key>` (C2SP signed-note, "Verifier keys").

A key is known by its name *and* its id. The id is an abbreviation, no proof: what is trusted is the key that the caller brings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chaukas.verify.encodings import base64_text, parse_base64
from chaukas.verify.errors import UnsupportedError, VerificationError

__all__ = [
    "COSIGNATURE_ED25519",
    "COSIGNATURE_ML_DSA_44",
    "ED25519",
    "KEY_ID_BYTES",
    "VerifierKey",
    "is_key_name",
    "key_id_of",
    "parse_verifier_keys",
]

#: Signature type 0x01: Ed25519 over the note's text.
ED25519: Final = 0x01
#: Signature type 0x04: timestamped Ed25519 cosignature of a checkpoint.
COSIGNATURE_ED25519: Final = 0x04
#: Signature type 0x06: timestamped ML-DSA-44 cosignature of a checkpoint or subtree.
COSIGNATURE_ML_DSA_44: Final = 0x06
KEY_ID_BYTES = 4

_PUBLIC_KEY_BYTES = {ED25519: 32, COSIGNATURE_ED25519: 32, COSIGNATURE_ML_DSA_44: 1312}
_HEX_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


def is_key_name(name: str) -> bool:
    """Non-empty, without Unicode spaces, plus signs and control characters (C2SP signed-note, "Format")."""
    return bool(name) and not any(char == "+" or char.isspace() or char < " " or "\ud800" <= char <= "\udfff" for char in name)


def key_id_of(name: str, signature_type: int, public_key: bytes) -> bytes:
    """SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]."""
    return sha256(name.encode() + b"\n" + bytes((signature_type,)) + public_key).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name: of a log (type 0x01; the name is the origin) or of a witness (0x04, 0x06)."""

    name: str
    signature_type: int
    public_key: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise VerificationError("a key name is empty or contains a space, a plus sign or a control character")
        expected = _PUBLIC_KEY_BYTES.get(self.signature_type)
        if expected is None:
            raise UnsupportedError(f"key {self.name}: signature type 0x{self.signature_type:02x} is not supported")
        if len(self.public_key) != expected:
            raise VerificationError(f"key {self.name}: the public key has {len(self.public_key)} bytes, not {expected}")

    @property
    def key_id(self) -> bytes:
        """Four bytes."""
        return key_id_of(self.name, self.signature_type, self.public_key)

    @property
    def is_witness(self) -> bool:
        """Whether its signatures are timestamped cosignatures."""
        return self.signature_type in (COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64_text(bytes((self.signature_type,)) + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read the text form. Raises `VerificationError`, or `UnsupportedError` for a signature type without support here."""
        parts = text.split("+", 2)
        if len(parts) != 3 or not _HEX_ID.fullmatch(parts[1]):
            raise VerificationError("a verifier key is written <name>+<8 hex digits>+<base64>")
        material = parse_base64(parts[2], "the public key of a verifier key")
        if not material:
            raise VerificationError("a verifier key without a public key")
        key = cls(parts[0], material[0], material[1:])
        if key.key_id.hex() != parts[1]:
            raise VerificationError(
                f"key {key.name}: the key id {parts[1]} does not belong to name and public key ({key.key_id.hex()})"
            )
        return key

    def check(self, message: bytes, signature: bytes) -> None:
        """That `signature` (without key id and timestamp) is this key's over `message`. Raises `VerificationError`."""
        verify = _ml_dsa_44 if self.signature_type == COSIGNATURE_ML_DSA_44 else _ed25519
        try:
            verify(self.public_key)(signature, message)
        except InvalidSignature as error:
            raise VerificationError(f"a signature by {self.name} ({self.key_id.hex()}) is not valid") from error
        except ValueError as error:
            raise VerificationError(f"the public key of {self.name} ({self.key_id.hex()}) is not usable") from error


def _ed25519(public_key: bytes) -> Callable[[bytes, bytes], None]:
    return Ed25519PublicKey.from_public_bytes(public_key).verify


def _ml_dsa_44(public_key: bytes) -> Callable[[bytes, bytes], None]:
    try:
        # Only releases of `cryptography` from 47 on have it, and only over some backends.
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey  # noqa: PLC0415
    except ImportError as error:
        raise UnsupportedError("the installed release of `cryptography` has no ML-DSA-44") from error
    try:
        return MLDSA44PublicKey.from_public_bytes(public_key).verify
    except UnsupportedAlgorithm as error:
        raise UnsupportedError("the backend of the installed `cryptography` has no ML-DSA-44") from error


def parse_verifier_keys(text: str) -> tuple[VerifierKey, ...]:
    """Verifier keys one per line; empty lines and lines that begin with `#` are skipped."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(VerifierKey.parse(line) for line in lines if line and not line.startswith("#"))
