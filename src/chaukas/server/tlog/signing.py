"""Signing: checkpoints as their log, cosignatures as a witness. What may be signed is decided by the caller.

A log must never sign two heads that are not consistent, so the caller signs only a head that it read back after its commit and
compared with the last one that it signed.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaukas.server.tlog.keys import SigningKey
from chaukas.verify.checkpoints import Checkpoint, checkpoint_text, parse_checkpoint
from chaukas.verify.cosignatures import TIMESTAMP_BYTES, cosignature_message
from chaukas.verify.errors import VerificationError
from chaukas.verify.notes import SignatureLine, SignedNote

__all__ = ["cosign", "sign_checkpoint"]


def sign_checkpoint(origin: str, size: int, root: bytes, keys: Sequence[SigningKey]) -> Checkpoint:
    """A checkpoint of the log `origin` with one signature by each key, in their order (C2SP tlog-checkpoint).

    `bytes()` of the result is the note to store and serve. While a key is replaced, the checkpoint that covers the change is
    signed by the old and the new key. Raises `ValueError` without a key, `VerificationError` if origin, size or root fit no
    checkpoint.
    """
    if not keys:
        raise ValueError("a checkpoint needs at least one key")
    text = checkpoint_text(origin, size, root)
    message = text.encode()
    lines = [SignatureLine(origin, key.log_key(origin).key_id, key.sign(message)) for key in keys]
    # Read back what is about to leave the house: a note that our own verifier refuses must not be signed away.
    return parse_checkpoint(bytes(SignedNote(text, tuple(lines))))


def cosign(checkpoint: Checkpoint, name: str, key: SigningKey, time_s: int) -> SignatureLine:
    """The cosignature (type 0x04) of the witness `name` at the POSIX time `time_s` (C2SP tlog-cosignature).

    The caller has checked that the checkpoint continues the one it cosigned before, and has stored it. `str()` of the result is
    the line without its newline. Raises `VerificationError` if the name is no key name.
    """
    if not 0 < time_s < 1 << 63:
        raise VerificationError("a cosignature needs a time after 1970")
    signature = key.sign(cosignature_message(time_s, checkpoint.note.text))
    return SignatureLine(name, key.witness_key(name).key_id, time_s.to_bytes(TIMESTAMP_BYTES, "big") + signature)
