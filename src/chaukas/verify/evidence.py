"""Evidence of one entry, as `/v1/evidence` answers it: everything that a verifier needs except the key that it trusts.

A JSON object with exactly these fields (bytes in base64, hashes of 32 bytes):

- `format`: `chaukas-evidence@v1`
- `origin`: of the log
- `index`: of the entry in the log
- `entry`: the log entry as it is hashed
- `payload`: the stored bytes of the event (or what an entry of another kind commits to); null if they are not handed out
- `salts`: an object with `envelope`, `content` and `session`, each 16 bytes or null
- `inclusion_proof`: array of hashes from the leaf's sibling to the root's child
- `checkpoint`: the signed note, with cosignatures, for whose size the proof is made
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.encodings import base64_text, parse_json_object
from chaukas.verify.json_fields import JsonFields
from chaukas.verify.payloads import Salts
from chaukas.verify.proofs import ProofExtra, ProofFile

__all__ = ["EVIDENCE_BYTES_MAX", "EVIDENCE_FORMAT", "Evidence"]

EVIDENCE_FORMAT = "chaukas-evidence@v1"
#: Evidence may have this many bytes: an event of several MiB in base64, a note and a proof.
EVIDENCE_BYTES_MAX = 64 << 20

_FIELDS = ("format", "origin", "index", "entry", "payload", "salts", "inclusion_proof", "checkpoint")
_SALTS = ("envelope", "content", "session")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Nothing is verified yet: `reports.check_evidence` does that."""

    origin: str
    index: int
    entry: bytes
    payload: bytes | None
    salts: Salts
    inclusion_proof: tuple[bytes, ...]
    checkpoint: Checkpoint

    def as_json(self) -> dict[str, Any]:
        """The object to answer or to write."""
        return {
            "format": EVIDENCE_FORMAT,
            "origin": self.origin,
            "index": self.index,
            "entry": base64_text(self.entry),
            "payload": _base64_or_none(self.payload),
            "salts": {name: _base64_or_none(getattr(self.salts, name)) for name in _SALTS},
            "inclusion_proof": [base64_text(one) for one in self.inclusion_proof],
            "checkpoint": bytes(self.checkpoint).decode(),
        }

    def __bytes__(self) -> bytes:
        return (json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Evidence:
        """Read the JSON text. Raises `VerificationError` for everything else, `UnsupportedError` for another version."""
        what = "the evidence"
        value = parse_json_object(data, what, EVIDENCE_BYTES_MAX)
        JsonFields.check_format(value, what, EVIDENCE_FORMAT)
        fields = JsonFields(value, what, _FIELDS)
        salts = JsonFields(fields.value("salts"), f"{what}: salts", _SALTS)
        return cls(
            origin=fields.text("origin"),
            index=fields.number("index"),
            entry=fields.data("entry"),
            payload=fields.data_or_none("payload"),
            salts=Salts(*(salts.data_or_none(name) for name in _SALTS)),
            inclusion_proof=fields.hashes("inclusion_proof"),
            checkpoint=parse_checkpoint(fields.text("checkpoint").encode()),
        )

    def proof_file(self) -> ProofFile:
        """The same proof as a file of c2sp.org/tlog-proof@v1, without the payload."""
        return ProofFile(self.index, self.inclusion_proof, self.checkpoint, bytes(ProofExtra(self.entry, self.salts)))


def _base64_or_none(data: bytes | None) -> str | None:
    return None if data is None else base64_text(data)
