"""Who signed a checkpoint: the log itself, and which witnesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaukas.verify.checkpoints import Checkpoint
from chaukas.verify.cosignatures import check_cosignature
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.merkle import check_empty_root
from chaukas.verify.notes import verify_note
from chaukas.verify.verifier_keys import ED25519, VerifierKey

__all__ = ["Cosigned", "Signers", "verify_checkpoint", "verify_witnesses"]


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A witness has signed: `timestamp` in POSIX seconds, 0 for "says nothing of the time"."""

    key: VerifierKey
    timestamp: int


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose signatures on a checkpoint are valid, what could not be checked (a sentence each), lines by unknown keys."""

    log: tuple[VerifierKey, ...]
    witnesses: tuple[Cosigned, ...]
    not_checked: tuple[str, ...]
    unknown_lines: int


def verify_witnesses(checkpoint: Checkpoint, keys: Sequence[VerifierKey]) -> tuple[tuple[Cosigned, ...], tuple[str, ...]]:
    """The cosignatures by `keys`, and what could not be checked. A bad one by a known key is an error (signed-note).

    A witness that signed twice counts once, with its latest time.
    """
    latest: dict[VerifierKey, int] = {}
    not_checked: list[str] = []
    for line in checkpoint.note.signatures:
        for key in filter(line.is_by, keys):
            try:
                timestamp = check_cosignature(key, line, checkpoint)
            except UnsupportedError as error:
                not_checked.append(f"the cosignature of {key.name}: {error}")
            else:
                latest[key] = max(timestamp, latest.get(key, 0))
    return tuple(Cosigned(key, timestamp) for key, timestamp in latest.items()), tuple(not_checked)


def verify_checkpoint(
    checkpoint: Checkpoint,
    log_keys: Sequence[VerifierKey],
    witness_keys: Sequence[VerifierKey] = (),
    *,
    origin: str | None = None,
    witnesses_min: int = 0,
) -> Signers:
    """Authenticity of a checkpoint.

    1. Its origin is the one expected: `origin`, or else the name of one of the log's keys.
    2. The log has signed it: at least one valid signature by `log_keys` for that origin, and no invalid one.
    3. Cosignatures of known witnesses are valid, and at least `witnesses_min` different witnesses have signed.
    4. A tree of size 0 has the empty root.

    `log_keys` are of type 0x01, `witness_keys` of 0x04 or 0x06. Raises `VerificationError`.
    """
    # 1. Without an explicit origin, a key speaks only for the log that it is named after.
    if origin is None:
        log_keys = [key for key in log_keys if key.name == checkpoint.origin]
        if not log_keys:
            raise VerificationError(f"no key was given for the origin {checkpoint.origin!r} of this checkpoint")
    elif checkpoint.origin != origin:
        raise VerificationError(f"the checkpoint is of the log {checkpoint.origin!r}, not of {origin!r}")
    # 2.
    if any(key.signature_type != ED25519 for key in log_keys):
        raise UnsupportedError("a key of a log must be of type 0x01 (Ed25519)")
    signers = verify_note(checkpoint.note, log_keys)
    # 3.
    if any(not key.is_witness for key in witness_keys):
        raise UnsupportedError("a key of a witness must be of type 0x04 or 0x06")
    witnesses, not_checked = verify_witnesses(checkpoint, witness_keys)
    # Names count, not keys: one witness may sign with several.
    names = {cosigned.key.name for cosigned in witnesses}
    if len(names) < witnesses_min:
        raise VerificationError(f"{len(names)} known witnesses have signed, {witnesses_min} are required")
    # 4.
    check_empty_root(checkpoint.size, checkpoint.root)
    known = (*log_keys, *witness_keys)
    unknown = sum(not any(map(line.is_by, known)) for line in checkpoint.note.signatures)
    return Signers(signers, witnesses, not_checked, unknown)
