"""Proof files, `c2sp.org/tlog-proof@v1` (C2SP tlog-proof), and what ours carry in their line `extra`.

`extra` is: one byte 0x01 (the version of this encoding), one byte of flags, the length of the log entry as a big-endian 16-bit
number, the entry, and the salts, 16 bytes each, that the flags announce in this order: 0x01 envelope, 0x02 content, 0x04 session.
The event itself is not in the file. `extra` is not signed, and need not be: the entry is hashed into the tree, and a salt is
right if the commitment in the entry comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.encodings import base64_text, parse_base64, parse_decimal, parse_hash
from chaukas.verify.entries import SALT_BYTES
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.merkle import PROOF_HASHES_MAX
from chaukas.verify.notes import NOTE_BYTES_MAX
from chaukas.verify.payloads import Salts
from chaukas.verify.tiles import ENTRY_BYTES_MAX

__all__ = ["PROOF_HEADER", "ProofExtra", "ProofFile", "parse_proof_file", "salt_flags", "take_salts"]

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_EXTRA_BYTES_MAX = 4 + ENTRY_BYTES_MAX + 3 * SALT_BYTES
_FILE_BYTES_MAX = NOTE_BYTES_MAX + 2 * _EXTRA_BYTES_MAX
_VERSION = 1
_SALT_NAMES = ("envelope", "content", "session")
_FLAGS_KNOWN = 0x07


@dataclass(frozen=True, slots=True)
class ProofExtra:
    """The log entry that is proven, and those salts that the holder of the proof may have."""

    entry: bytes
    salts: Salts

    def __bytes__(self) -> bytes:
        if len(self.entry) > ENTRY_BYTES_MAX:
            raise VerificationError(f"an entry has at most {ENTRY_BYTES_MAX} bytes")
        flags, salts = salt_flags(self.salts)
        return bytes((_VERSION, flags)) + len(self.entry).to_bytes(2, "big") + self.entry + salts

    @classmethod
    def parse(cls, data: bytes) -> ProofExtra:
        """Read the bytes of `extra`. Raises `VerificationError` for everything else, `UnsupportedError` for another version."""
        if len(data) < 4:
            raise VerificationError("the extra data of the proof is too short")
        if data[0] != _VERSION:
            raise UnsupportedError(f"the extra data of the proof has version {data[0]}, which this verifier does not know")
        end = 4 + int.from_bytes(data[2:4], "big")
        salts, rest = take_salts(data[1], data[end:])
        if end > len(data) or rest:
            raise VerificationError("the extra data of the proof is not an entry and its salts")
        return cls(data[4:end], salts)


def salt_flags(salts: Salts) -> tuple[int, bytes]:
    """(flags, the salts that are there one after another): 0x01 envelope, 0x02 content, 0x04 session."""
    flags, joined = 0, b""
    for bit, salt in enumerate((salts.envelope, salts.content, salts.session)):
        if salt is not None:
            flags |= 1 << bit
            joined += salt
    return flags, joined


def take_salts(flags: int, data: bytes) -> tuple[Salts, bytes]:
    """The salts that `flags` announce at the beginning of `data`, and what follows them. Raises `VerificationError`."""
    if flags & ~_FLAGS_KNOWN:
        raise UnsupportedError(f"flags 0x{flags:02x} announce something that this verifier does not know")
    found: dict[str, bytes] = {}
    for bit, name in enumerate(_SALT_NAMES):
        if flags >> bit & 1:
            found[name], data = data[:SALT_BYTES], data[SALT_BYTES:]
    return Salts(**found), data


@dataclass(frozen=True, slots=True)
class ProofFile:
    """`hashes` from the leaf's sibling to the root's child. Nothing is verified yet."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint
    extra: bytes | None = None

    def __bytes__(self) -> bytes:
        extra = [] if self.extra is None else [f"extra {base64_text(self.extra)}"]
        lines = [PROOF_HEADER, *extra, f"index {self.index}", *map(base64_text, self.hashes), ""]
        return "".join(f"{line}\n" for line in lines).encode() + bytes(self.checkpoint)


def parse_proof_file(data: bytes) -> ProofFile:
    """Take a proof file apart. Raises `VerificationError` for everything else."""
    if len(data) > _FILE_BYTES_MAX:
        raise VerificationError(f"the proof has {len(data)} bytes; at most {_FILE_BYTES_MAX} are read")
    head, separator, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise VerificationError("the lines of the proof are not ASCII") from error
    if lines[0] != PROOF_HEADER:
        known = lines[0].startswith("c2sp.org/tlog-proof@")
        raise (UnsupportedError if known else VerificationError)(f"the first line of a proof is {PROOF_HEADER}")
    if not separator:
        raise VerificationError("the proof has no checkpoint")
    extra = None
    rest = lines[1:]
    if rest and rest[0].startswith("extra "):
        extra = parse_base64(rest[0].removeprefix("extra "), "the extra data of the proof")
        rest = rest[1:]
    if not rest or not rest[0].startswith("index "):
        raise VerificationError("the proof has no line `index`")
    return ProofFile(
        index=parse_decimal(rest[0].removeprefix("index "), "the index in the proof"),
        hashes=_parse_hashes(rest[1:]),
        checkpoint=parse_checkpoint(note),
        extra=extra,
    )


def _parse_hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > PROOF_HASHES_MAX:
        raise VerificationError(f"the proof has more than {PROOF_HASHES_MAX} hashes")
    return tuple(parse_hash(line, "a hash of the proof") for line in lines)
