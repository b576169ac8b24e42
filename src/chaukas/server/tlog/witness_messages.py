"""The messages of `add-checkpoint` (C2SP tlog-witness), from both sides: the request, and reading a witness's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.encodings import base64_text, parse_decimal, parse_hash
from chaukas.verify.errors import VerificationError
from chaukas.verify.merkle import PROOF_HASHES_MAX
from chaukas.verify.notes import SignatureLine, parse_signature_lines
from chaukas.verify.signed_checkpoints import verify_witnesses
from chaukas.verify.verifier_keys import VerifierKey

__all__ = [
    "REQUEST_BYTES_MAX",
    "AddCheckpoint",
    "Conflict",
    "Refusal",
    "build_add_checkpoint",
    "parse_add_checkpoint",
    "read_answer",
]

#: A request may have this many bytes: a note of 1 MiB and 63 hashes before it.
REQUEST_BYTES_MAX = (1 << 20) + 4096
_ANSWER_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size that the witness is thought to know, the consistency proof from it, the new checkpoint."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Conflict:
    """The witness knows the log at another size (409): ask again with a proof from `size`."""

    size: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The witness has not cosigned, and says why.

    404: it does not know the log. 403: it does not trust the key. 422: it knows a different log under this origin; either the
    proof is wrong or the log was rewritten. 400 and others: a fault in one of the two programs.
    """

    status: int
    reason: str


def build_add_checkpoint(old_size: int, proof: Sequence[bytes], checkpoint: Checkpoint) -> bytes:
    """The body to POST to `<submission prefix>/add-checkpoint`. From size 0, and between equal sizes, `proof` is empty."""
    head = "".join(f"{line}\n" for line in (f"old {old_size}", *map(base64_text, proof), ""))
    return head.encode() + bytes(checkpoint)


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """Read a request. Raises `VerificationError` if it is malformed, which is answered with 400."""
    if len(body) > REQUEST_BYTES_MAX:
        raise VerificationError(f"the request has more than {REQUEST_BYTES_MAX} bytes")
    head, separator, note = body.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise VerificationError("the lines before the checkpoint are not ASCII") from error
    if not separator or not lines[0].startswith("old "):
        raise VerificationError("the request does not consist of an old size, a proof, an empty line and a checkpoint")
    if len(lines) - 1 > PROOF_HASHES_MAX:
        raise VerificationError(f"the request has more than {PROOF_HASHES_MAX} proof lines")
    old_size = parse_decimal(lines[0].removeprefix("old "), "the old size")
    return AddCheckpoint(old_size, tuple(parse_hash(line, "a proof line") for line in lines[1:]), parse_checkpoint(note))


def read_answer(
    status: int, content_type: str, body: bytes, checkpoint: Checkpoint, witness_keys: Sequence[VerifierKey]
) -> tuple[SignatureLine, ...] | Conflict | Refusal:
    """What a witness answered to `checkpoint`: its valid cosignatures, or why there are none.

    Cosignatures are to be added to the checkpoint's note: `checkpoint.note.with_signatures(lines)`.

    1. 409 with the right content type is a conflict, any other status but 200 a refusal.
    2. With 200, lines by unknown keys are dropped, and one by a known key that is not valid makes the answer worthless.
    3. At least one cosignature by a known key is left.

    Raises `VerificationError` if the answer is malformed or worthless; it then counts as no answer.
    """
    if len(body) > _ANSWER_BYTES_MAX:
        raise VerificationError(f"the answer of the witness has more than {_ANSWER_BYTES_MAX} bytes")
    # 1.
    if status == 409 and content_type.partition(";")[0].strip().lower() == "text/x.tlog.size":
        if not body.endswith(b"\n"):
            raise VerificationError("the size that the witness answers does not end with a newline")
        return Conflict(parse_decimal(body[:-1].decode("utf-8", "replace"), "the size that the witness answers"))
    if status != 200:
        return Refusal(status, body[:1000].decode("utf-8", "replace").strip())
    # 2.
    lines = tuple(line for line in parse_signature_lines(body) if any(map(line.is_by, witness_keys)))
    answered = Checkpoint(
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        checkpoint.extensions,
        type(checkpoint.note)(checkpoint.note.text, lines),
    )
    cosigned, _ = verify_witnesses(answered, witness_keys)
    # 3.
    if not cosigned:
        raise VerificationError("the witness answered without a cosignature by a known key")
    return lines
