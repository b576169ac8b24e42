"""Signed notes (C2SP signed-note): text, an empty line, signature lines. Trusted only by the caller's keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaukas.verify.encodings import base64_text, parse_base64
from chaukas.verify.errors import VerificationError
from chaukas.verify.verifier_keys import ED25519, KEY_ID_BYTES, VerifierKey, is_key_name

__all__ = [
    "NOTE_BYTES_MAX",
    "SIGNATURES_MAX",
    "SignatureLine",
    "SignedNote",
    "parse_note",
    "parse_signature_lines",
    "verify_note",
]

#: A note may have this many bytes and signatures (signed-note: at least 16 must be accepted).
NOTE_BYTES_MAX = 1 << 20
SIGNATURES_MAX = 100

_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One signature as it stands in a note: `— <name> base64(key id ‖ signature)`."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64_text(self.key_id + self.signature)}"

    def is_by(self, key: VerifierKey) -> bool:
        """Whether the line names this key: by name and by id."""
        return self.name == key.name and self.key_id == key.key_id


@dataclass(frozen=True, slots=True)
class SignedNote:
    """`text` ends with a newline, which the signatures cover; `signatures` in the order of the note. Nothing is verified yet."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def __bytes__(self) -> bytes:
        return (self.text + "\n" + "".join(f"{line}\n" for line in self.signatures)).encode()

    def with_signatures(self, more: Iterable[SignatureLine]) -> SignedNote:
        """The note with further signature lines after its own; lines that it has already are not repeated."""
        return SignedNote(self.text, tuple(dict.fromkeys((*self.signatures, *more))))


def _decode(data: bytes, what: str) -> str:
    if len(data) > NOTE_BYTES_MAX:
        raise VerificationError(f"{what} has {len(data)} bytes; at most {NOTE_BYTES_MAX} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise VerificationError(f"{what} is not valid UTF-8") from error
    if any(char < " " and char != "\n" for char in text):
        raise VerificationError(f"{what} contains a control character other than newline")
    return text


def _parse_lines(block: str) -> tuple[SignatureLine, ...]:
    """Signature lines, each ended by a newline; at least one."""
    if not block.endswith("\n"):
        raise VerificationError("the last signature line does not end with a newline")
    lines = block[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise VerificationError(f"{len(lines)} signatures; at most {SIGNATURES_MAX} are read")
    return tuple(map(_parse_line, lines))


def _parse_line(line: str) -> SignatureLine:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator or not is_key_name(name):
        raise VerificationError("a signature line is not of the form: em dash, key name, base64")
    data = parse_base64(encoded, f"the signature of {name}")
    if len(data) <= KEY_ID_BYTES:
        raise VerificationError(f"the signature of {name} is too short")
    return SignatureLine(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


def parse_note(data: bytes) -> SignedNote:
    """Take a note apart. Raises `VerificationError` for anything that signed-note "Format" does not allow."""
    text = _decode(data, "the note")
    body, separator, block = text.rpartition("\n\n")
    if not separator or not body.strip("\n"):
        raise VerificationError("the note has no text, or no empty line before its signatures")
    return SignedNote(body + "\n", _parse_lines(block))


def parse_signature_lines(data: bytes) -> tuple[SignatureLine, ...]:
    """Signature lines alone, as a witness answers them (tlog-witness, "add-checkpoint")."""
    return _parse_lines(_decode(data, "the signatures"))


def verify_note(note: SignedNote, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """The keys among `keys` (type 0x01) that signed the note's text (signed-note, "Signatures").

    1. A line is by a known key if name and id match; all other lines are skipped.
    2. Every line by a known key must be valid: a bad signature of a known key rejects the note.
    3. At least one known key has signed.
    """
    known = [key for key in keys if key.signature_type == ED25519]
    message = note.text.encode()
    signers: dict[VerifierKey, None] = {}
    for line in note.signatures:
        # 1.
        for key in filter(line.is_by, known):
            # 2.
            key.check(message, line.signature)
            signers[key] = None
    # 3.
    if not signers:
        raise VerificationError("the note has no signature by a known key")
    return tuple(signers)
