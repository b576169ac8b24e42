"""Checkpoints (C2SP tlog-checkpoint): a signed note whose text is origin, size and root hash, and perhaps extension lines."""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.verify.encodings import SIZE_MAX, base64_text, parse_decimal, parse_hash
from chaukas.verify.errors import VerificationError
from chaukas.verify.notes import SignedNote, parse_note

__all__ = ["Checkpoint", "checkpoint_text", "parse_checkpoint", "read_checkpoint"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says. `note` is what it says it in, with all signatures; nothing of it is verified yet."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...]
    note: SignedNote

    def __bytes__(self) -> bytes:
        return bytes(self.note)


def checkpoint_text(origin: str, size: int, root: bytes, extensions: tuple[str, ...] = ()) -> str:
    """The text that is signed. Raises `VerificationError` if no checkpoint can say this."""
    lines = (origin, *extensions)
    if any(not line or any(char < " " or "\ud800" <= char <= "\udfff" for char in line) for line in lines):
        raise VerificationError("origin and extension lines must be non-empty single lines without control characters")
    if not 0 <= size <= SIZE_MAX or len(root) != 32:
        raise VerificationError("a checkpoint needs a size from 0 to 2^63 - 1 and a root of 32 bytes")
    return "".join(f"{line}\n" for line in (origin, str(size), base64_text(root), *extensions))


def read_checkpoint(note: SignedNote) -> Checkpoint:
    """What a note says as a checkpoint. Raises `VerificationError` if it is none."""
    lines = note.text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise VerificationError("a checkpoint has at least three lines, none of them empty: origin, size, root hash")
    return Checkpoint(
        origin=lines[0],
        size=parse_decimal(lines[1], "the size in the checkpoint"),
        root=parse_hash(lines[2], "the root hash in the checkpoint"),
        extensions=tuple(lines[3:]),
        note=note,
    )


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Take a checkpoint apart. Raises `VerificationError` for anything else."""
    return read_checkpoint(parse_note(data))
