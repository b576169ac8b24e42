"""Who may look at which log: the one place where that is decided for everything that the transparency log hands out."""

from __future__ import annotations

import re
from hashlib import sha256

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import NotFoundError
from chaukas.server.operations.services import Services, TransparencyLog
from chaukas.server.storage.entry import log_id_of
from chaukas.server.storage.log_contract import LogInfo, LogSnapshot

__all__ = ["log_in", "log_of_hash", "log_of_origin", "log_path", "logs_for", "may_audit"]

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


def logs_for(services: Services, principal: Principal) -> TransparencyLog:
    """The logs, for a caller who may audit at all. Raises `NotFoundError` where the server keeps none.

    Callers have no roles yet, so whoever reaches the server may audit what is in his scope; a role `audit` is asked for here.
    """
    del principal
    if services.log is None:
        raise NotFoundError("this server keeps no transparency log")
    return services.log


def may_audit(principal: Principal, log: LogInfo) -> bool:
    """Whether a log is within the caller's scope."""
    return principal.tenant_id in (None, log.tenant_id) and principal.project_id in (None, log.project_id)


def log_in(snapshot: LogSnapshot, principal: Principal, origin: str) -> LogInfo:
    """The log of this origin. Raises `NotFoundError`, also for one outside the caller's scope."""
    log = snapshot.log(log_id_of(origin))
    if log is None or log.origin != origin or not may_audit(principal, log):
        raise NotFoundError(f"there is no log with the origin {origin[:300]!r}; /v1/logs lists them")
    return log


async def log_of_origin(services: Services, principal: Principal, origin: str) -> LogInfo:
    """As `log_in`, from the newest state of the store."""
    return await logs_for(services, principal).store.read(lambda snapshot: log_in(snapshot, principal, origin))


async def log_of_hash(services: Services, principal: Principal, origin_hash: str) -> LogInfo:
    """The log whose HTTP prefix has this part: SHA-256 of its origin in hex. Raises as `log_of_origin`."""
    logs = logs_for(services, principal)
    log = None
    if _HASH.fullmatch(origin_hash):
        # The number of a log is the beginning of the same hash (`entry.log_id_of`).
        log = await logs.store.log(int(origin_hash[:16], 16) & 0x7FFF_FFFF_FFFF_FFFF)
    if log is None or _hash_of(log.origin) != origin_hash or not may_audit(principal, log):
        raise NotFoundError(f"there is no log under /log/{origin_hash[:80]}/; /v1/logs lists them")
    return log


def log_path(origin: str) -> str:
    """The HTTP prefix of a log (DESIGN "Origin")."""
    return f"/log/{_hash_of(origin)}/"


def _hash_of(origin: str) -> str:
    return sha256(origin.encode()).hexdigest()
