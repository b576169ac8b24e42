"""GetConsistencyProof: that a log only grew from one size to another (RFC 6962 §2.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import InvalidRequestError, StorageError
from chaukas.server.operations.log_access import log_in, logs_for
from chaukas.server.operations.log_checkpoint import signed_checkpoint
from chaukas.server.operations.services import Services, TransparencyLog
from chaukas.server.storage.log_contract import LogInfo, LogSnapshot, SignedHead
from chaukas.server.tlog.proving import consistency_plan, root_plan
from chaukas.verify.checkpoints import Checkpoint
from chaukas.verify.consistency_proofs import ConsistencyProof
from chaukas.verify.errors import VerificationError
from chaukas.verify.merkle import verify_consistency

__all__ = ["Consistency", "get_consistency_proof"]


@dataclass(frozen=True, slots=True)
class Consistency:
    """A consistency proof, and the signed head of its larger size where that is kept."""

    proof: ConsistencyProof
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class _Parts:
    """What one state of the store says of two sizes."""

    log: LogInfo
    #: A signed head that covers both, and the one of the larger size if it is kept.
    head: SignedHead
    kept: SignedHead | None
    to_size: int
    from_root: bytes
    to_root: bytes
    #: The proof from the smaller size to the larger one, and the one from there to `head`.
    hashes: list[bytes]
    onward: list[bytes]


async def get_consistency_proof(
    services: Services, principal: Principal, origin: str, from_size: int, to_size: int = 0
) -> Consistency:
    """The proof between two sizes of a log; `to_size` 0 means that of the newest signed head.

    1. A signed head covers both sizes; if none does, one is signed now.
    2. The tree of the larger size is the beginning of that of the signed head.
    3. The tree of the smaller size is the beginning of that of the larger one.

    Raises `NotFoundError` for an unknown log, `InvalidRequestError` for sizes that are none, `StorageError` when something does
    not fit: a damaged store gives no wrong proofs.
    """
    logs, sizes = logs_for(services, principal), (from_size, to_size)
    # 1.
    found = await logs.store.read(lambda snapshot: _read(snapshot, logs, log_in(snapshot, principal, origin), sizes))
    if isinstance(found, LogInfo):
        log, head = found, await logs.sequencer.head_of(found)
        found = await logs.store.read(lambda snapshot: _parts(snapshot, logs, log, sizes, head))
    try:
        # 2.
        verify_consistency(found.to_size, found.to_root, found.head.size, found.head.root, found.onward)
        # 3.
        verify_consistency(from_size, found.from_root, found.to_size, found.to_root, found.hashes)
    except VerificationError as error:
        logs.tiles.forget(found.log.log_id)
        raise StorageError(
            f"the record is damaged: the tree of the log {origin} does not lead to the head that was signed; no proof is "
            "given. `chaukas verify` tells where"
        ) from error
    proof = ConsistencyProof(origin, from_size, found.to_size, tuple(found.hashes))
    return Consistency(proof, None if found.kept is None else signed_checkpoint(found.log, found.kept))


def _read(snapshot: LogSnapshot, logs: TransparencyLog, log: LogInfo, sizes: tuple[int, int]) -> _Parts | LogInfo:
    """The parts of the proof under the newest signed head; the log alone where that covers too little."""
    if min(sizes) < 0:
        raise InvalidRequestError("from" if sizes[0] < 0 else "to", "is a number of entries, from 0 on")
    head = snapshot.head(log.log_id)
    if head is None or head.size < max(*sizes, 1):
        return log
    return _parts(snapshot, logs, log, sizes, head)


def _parts(snapshot: LogSnapshot, logs: TransparencyLog, log: LogInfo, sizes: tuple[int, int], head: SignedHead) -> _Parts:
    from_size, to_size = sizes[0], sizes[1] or head.size
    if to_size > head.size:
        raise InvalidRequestError("to", f"the log has {head.size} entries")
    if from_size > to_size:
        raise InvalidRequestError("from", f"{from_size} is larger than the other size, {to_size}")
    hashes, [from_root], [to_root], onward = logs.tiles.hashes(
        snapshot,
        log.log_id,
        consistency_plan(from_size, to_size),
        root_plan(from_size),
        root_plan(to_size),
        consistency_plan(to_size, head.size),
    )
    kept = head if head.size == to_size else snapshot.head(log.log_id, to_size)
    return _Parts(log, head, kept, to_size, from_root, to_root, hashes, onward)
