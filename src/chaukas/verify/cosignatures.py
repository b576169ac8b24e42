"""Cosignatures of checkpoints (C2SP tlog-cosignature): type 0x04 (Ed25519) and type 0x06 (ML-DSA-44), both with a timestamp."""

from __future__ import annotations

from chaukas.verify.checkpoints import Checkpoint
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.notes import SignatureLine
from chaukas.verify.verifier_keys import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44, VerifierKey

__all__ = ["TIMESTAMP_BYTES", "check_cosignature", "cosignature_message", "subtree_message"]

#: A big-endian POSIX time in seconds stands before the signature itself.
TIMESTAMP_BYTES = 8
_TIMESTAMP_MAX = (1 << 63) - 1
_SIGNATURE_BYTES = {COSIGNATURE_ED25519: 64, COSIGNATURE_ML_DSA_44: 2420}


def cosignature_message(timestamp: int, text: str) -> bytes:
    """What a cosignature of type 0x04 signs: two header lines and the whole text of the checkpoint."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def subtree_message(cosigner: str, timestamp: int, origin: str, size: int, root: bytes) -> bytes:
    """What a cosignature of type 0x06 signs for a checkpoint: the structure `cosigned_message` with `start` 0."""
    names = [cosigner.encode(), origin.encode()]
    if not all(0 < len(name) < 256 for name in names):
        raise UnsupportedError("a cosignature of type 0x06 covers names of 1 to 255 bytes only")
    name, log = (bytes((len(one),)) + one for one in names)
    return b"subtree/v1\n\x00" + name + timestamp.to_bytes(8, "big") + log + bytes(8) + size.to_bytes(8, "big") + root


def check_cosignature(key: VerifierKey, line: SignatureLine, checkpoint: Checkpoint) -> int:
    """That `line`, which names `key`, is a valid cosignature of `checkpoint`; returns its POSIX time in seconds.

    1. Timestamp and signature have the lengths of the type.
    2. The timestamp is in range (0 is "no statement", and only in type 0x06).
    3. The signature covers timestamp and checkpoint.

    Raises `VerificationError`, or `UnsupportedError` where the library lacks ML-DSA-44.
    """
    # 1.
    expected = _SIGNATURE_BYTES.get(key.signature_type)
    if expected is None:
        raise VerificationError(f"{key.name} is not the key of a witness (type 0x04 or 0x06)")
    if len(line.signature) != TIMESTAMP_BYTES + expected:
        raise VerificationError(
            f"the cosignature of {key.name} has {len(line.signature)} bytes, not {TIMESTAMP_BYTES + expected}"
        )
    # 2.
    timestamp = int.from_bytes(line.signature[:TIMESTAMP_BYTES], "big")
    if timestamp > _TIMESTAMP_MAX or (timestamp == 0 and key.signature_type == COSIGNATURE_ED25519):
        raise VerificationError(f"the cosignature of {key.name} has a time that is out of range")
    # 3.
    if key.signature_type == COSIGNATURE_ED25519:
        message = cosignature_message(timestamp, checkpoint.note.text)
    else:
        message = subtree_message(key.name, timestamp, checkpoint.origin, checkpoint.size, checkpoint.root)
    key.check(message, line.signature[TIMESTAMP_BYTES:])
    return timestamp
