"""Being a witness (C2SP tlog-witness, `add-checkpoint`): what is answered to a request.

A pure function of the request and of what the witness remembers of the log. Storing and cosigning are the caller's, in that order
and under one lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaukas.server.tlog.witness_messages import AddCheckpoint, parse_add_checkpoint
from chaukas.verify.checkpoints import Checkpoint
from chaukas.verify.errors import VerificationError
from chaukas.verify.merkle import check_empty_root, verify_consistency
from chaukas.verify.notes import verify_note
from chaukas.verify.verifier_keys import ED25519, VerifierKey, is_key_name

__all__ = ["SIZE_CONTENT_TYPE", "Decision", "TrustedLogs", "WitnessedHead", "decide", "origin_of_request"]

#: Content type of the answer 409, whose body is the size that the witness knows.
SIZE_CONTENT_TYPE = "text/x.tlog.size"
_PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class WitnessedHead:
    """What a witness remembers of a log: size and root of the latest checkpoint that it cosigned."""

    size: int
    root: bytes


class TrustedLogs:
    """The logs that a witness knows, by verifier keys of type 0x01.

    A key whose name ends with `/` stands for all logs whose origin begins with it: `server.example/events/+…` covers every
    tenant's and project's log of that server, since projects appear on the fly. The more exact entries come first: a key named
    like the origin rules out prefixes, a longer prefix a shorter one. Several keys under one name are all trusted.
    """

    def __init__(self, keys: Iterable[VerifierKey]) -> None:
        self._keys: dict[str, list[VerifierKey]] = {}
        for key in keys:
            if key.signature_type != ED25519:
                raise VerificationError(f"{key.name}: a witness trusts keys of logs, of type 0x01")
            self._keys.setdefault(key.name, []).append(key)

    def keys_of(self, origin: str) -> tuple[VerifierKey, ...]:
        """The keys that may sign for this origin; none for an unknown log."""
        exact = self._keys.get(origin)
        if exact is not None and not origin.endswith("/"):
            return tuple(exact)
        prefixes = [name for name in self._keys if name.endswith("/") and origin.startswith(name) and origin != name]
        longest = max(prefixes, key=len, default=None)
        if not is_key_name(origin):
            return ()
        return () if longest is None else tuple(VerifierKey(origin, ED25519, key.public_key) for key in self._keys[longest])


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and what the caller must do.

    With status 200:

    1. store `head` for the checkpoint's origin, if what is stored is still what `decide` was given (else ask again),
    2. cosign `checkpoint` (`signing.cosign`) and answer with the line, a newline after it, as the body.

    With any other status nothing is stored and `body` is the answer. `checkpoint` is set with 422 as well: it is validly signed
    and yet contradicts what the witness knows, so it may be the proof of a rewritten log and should be kept and reported.
    """

    status: int
    body: bytes = b""
    content_type: str = _PLAIN
    checkpoint: Checkpoint | None = None
    head: WitnessedHead | None = None


def _refuse(status: int, reason: object, checkpoint: Checkpoint | None = None) -> Decision:
    return Decision(status, f"{reason}\n".encode(), checkpoint=checkpoint)


def origin_of_request(body: bytes) -> str | None:
    """The origin that a request is about, for finding what to remember; None if the request is malformed."""
    try:
        return parse_add_checkpoint(body).checkpoint.origin
    except VerificationError:
        return None


def decide(body: bytes, logs: TrustedLogs, known: WitnessedHead | None) -> Decision:
    """Answer the body of a POST to `add-checkpoint`. `known` is what was stored for the origin, None if nothing was.

    In the order of tlog-witness:

    1. 400 if the request is malformed.
    2. 404 if the origin is unknown.
    3. 403 if no trusted key of that origin has signed, or a signature by one of them is not valid.
    4. 400 if the old size is larger than the checkpoint's.
    5. 409 with the known size if the old size is not the size of the latest cosigned checkpoint (0 if there is none).
    6. 422 if an empty tree has another root than the empty one; if the proof is not empty from size 0; if it does not lead from
       the known root to the new one; if the sizes are equal and the roots are not.
    7. 200.
    """
    # 1.
    try:
        request = parse_add_checkpoint(body)
    except VerificationError as error:
        return _refuse(400, error)
    checkpoint = request.checkpoint
    # 2.
    keys = logs.keys_of(checkpoint.origin)
    if not keys:
        return _refuse(404, "this witness does not know the log")
    # 3.
    try:
        verify_note(checkpoint.note, keys)
    except VerificationError as error:
        return _refuse(403, error)
    # 4.
    if request.old_size > checkpoint.size:
        return _refuse(400, "the old size is larger than the size of the checkpoint")
    # 5.
    known_size = known.size if known else 0
    if request.old_size != known_size:
        return Decision(409, f"{known_size}\n".encode(), SIZE_CONTENT_TYPE)
    # 6.
    try:
        _check_growth(request, known)
    except VerificationError as error:
        return _refuse(422, error, checkpoint)
    # 7.
    return Decision(200, checkpoint=checkpoint, head=WitnessedHead(checkpoint.size, checkpoint.root))


def _check_growth(request: AddCheckpoint, known: WitnessedHead | None) -> None:
    """That the checkpoint continues what is known. Raises `VerificationError`."""
    new = request.checkpoint
    check_empty_root(new.size, new.root)
    if known is not None:
        verify_consistency(known.size, known.root, new.size, new.root, request.proof)
    elif request.proof:
        raise VerificationError("from size 0 the consistency proof must be empty")
