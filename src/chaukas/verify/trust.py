"""What an auditor brings: the keys that are trusted, and what is asked of a checkpoint. None of it ever comes from the server."""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.verify.checkpoints import Checkpoint
from chaukas.verify.errors import UnsupportedError
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.signed_checkpoints import Signers, verify_checkpoint
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["Trust"]


@dataclass(frozen=True, slots=True)
class Trust:
    """Keys of logs (type 0x01, named after their origin) and of witnesses (0x04, 0x06).

    `origin` is needed only for a log whose key has another name. At least `witnesses_min` different known witnesses must have
    signed. `followed` are the changes of key through which keys among `log_keys` came to be trusted (`key_chain`); the auditor
    brought the others.
    """

    log_keys: tuple[VerifierKey, ...] = ()
    witness_keys: tuple[VerifierKey, ...] = ()
    origin: str | None = None
    witnesses_min: int = 0
    followed: tuple[KeyChange, ...] = ()

    def check(self, checkpoint: Checkpoint) -> Signers:
        """Who has signed the checkpoint (`verify_checkpoint`). `UnsupportedError` if there is no key to check with."""
        if not self.log_keys:
            raise UnsupportedError("no verifier key of the log was given")
        return verify_checkpoint(
            checkpoint, self.log_keys, self.witness_keys, origin=self.origin, witnesses_min=self.witnesses_min
        )
