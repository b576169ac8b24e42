"""GetCheckpoint: a signed head of a log (C2SP tlog-checkpoint)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import NotFoundError, StorageError
from chaukas.server.operations.log_access import log_of_hash, log_of_origin, logs_for
from chaukas.server.operations.services import Services
from chaukas.server.storage.log_contract import LogInfo, SignedHead
from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.errors import VerificationError

__all__ = ["get_checkpoint", "get_checkpoint_of_hash", "signed_checkpoint"]

#: Notes that are remembered as they were read: many proofs lead to the same head.
_NOTES_KEPT: Final = 256


async def get_checkpoint(services: Services, principal: Principal, origin: str, size: int = 0) -> Checkpoint:
    """The head of that size, or with 0 one that covers everything that is committed now, signed for it if need be.

    Raises `NotFoundError` for an unknown log or a size whose head is not kept, `StorageError` when nothing can be signed.
    """
    log = await log_of_origin(services, principal, origin)
    return await _checkpoint(services, principal, log, size)


async def get_checkpoint_of_hash(services: Services, principal: Principal, origin_hash: str) -> Checkpoint:
    """The newest head of the log under this HTTP prefix; as `get_checkpoint`."""
    log = await log_of_hash(services, principal, origin_hash)
    return await _checkpoint(services, principal, log, 0)


def signed_checkpoint(log: LogInfo, head: SignedHead) -> Checkpoint:
    """The note of a head, which must say what the head says. Raises `StorageError`."""
    try:
        checkpoint = _parsed(head.note)
    except VerificationError as error:
        raise StorageError(f"the signed head of {head.size} entries of the log {log.origin} is damaged") from error
    if (checkpoint.origin, checkpoint.size, checkpoint.root) != (log.origin, head.size, head.root):
        raise StorageError(f"the signed head of {head.size} entries of the log {log.origin} is damaged")
    return checkpoint


@lru_cache(maxsize=_NOTES_KEPT)
def _parsed(note: bytes) -> Checkpoint:
    return parse_checkpoint(note)


async def _checkpoint(services: Services, principal: Principal, log: LogInfo, size: int) -> Checkpoint:
    logs = logs_for(services, principal)
    head = await logs.store.head(log.log_id, size) if size else await logs.sequencer.head_of(log)
    if head is None:
        raise NotFoundError(f"no signed head of {size} entries of the log {log.origin} is kept; ask for the newest one")
    return signed_checkpoint(log, head)
