"""GetConsistencyProof: that a log only grew from one size to another (RFC 6962 §2.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import InvalidRequestError, StorageError
from chaukas.server.operations.log_access import log_of_origin, logs_for
from chaukas.server.operations.log_checkpoint import newest_head, signed_checkpoint
from chaukas.server.operations.services import Services
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
    log = await log_of_origin(services, principal, origin)
    # 1.
    if min(from_size, to_size) < 0:
        raise InvalidRequestError("from" if from_size < 0 else "to", "is a number of entries, from 0 on")
    logs = logs_for(services, principal)
    head = await newest_head(services, principal, log, max(from_size, to_size))
    to_size = to_size or head.size
    if to_size > head.size:
        raise InvalidRequestError("to", f"the log has {head.size} entries")
    if from_size > to_size:
        raise InvalidRequestError("from", f"{from_size} is larger than the other size, {to_size}")
    plans = (
        consistency_plan(from_size, to_size),
        root_plan(from_size),
        root_plan(to_size),
        consistency_plan(to_size, head.size),
    )
    hashes, [from_root], [to_root], onward = await logs.tiles.hashes(logs.store, log.log_id, *plans)
    try:
        # 2.
        verify_consistency(to_size, to_root, head.size, head.root, onward)
        # 3.
        verify_consistency(from_size, from_root, to_size, to_root, hashes)
    except VerificationError as error:
        logs.tiles.forget(log.log_id)
        raise StorageError(
            f"the record is damaged: the tree of the log {log.origin} does not lead to the head that was signed; no proof is "
            "given. `chaukas verify` tells where"
        ) from error
    kept = head if head.size == to_size else await logs.store.head(log.log_id, to_size)
    proof = ConsistencyProof(log.origin, from_size, to_size, tuple(hashes))
    return Consistency(proof, None if kept is None else signed_checkpoint(log, kept))
