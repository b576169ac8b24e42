"""The offline verifier: checks evidence, proofs, checkpoints and exports without the server that made them.

It needs the standard library and `cryptography`, and imports nothing of the server, of grpc or of protobuf. Every failure, and
every malformed input, is a `VerificationError`. From the command line: `python -m chaukas.verify`; docs/verify.md explains it.
"""

from __future__ import annotations

from chaukas.verify.errors import UnsupportedError, VerificationError

__all__ = ["UnsupportedError", "VerificationError"]
