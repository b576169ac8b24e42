"""ListLogs: which logs there are, where their tiles lie, and the key that signs their heads."""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.server.auth.principal import Principal
from chaukas.server.operations.log_access import log_path, logs_for
from chaukas.server.operations.services import Services
from chaukas.server.query import scope_of
from chaukas.server.storage.log_contract import LogInfo

__all__ = ["ListedLog", "list_logs"]


@dataclass(frozen=True, slots=True)
class ListedLog:
    """A log as it is committed."""

    log: LogInfo
    #: HTTP prefix of its checkpoint and tiles, `/log/<hex SHA-256(origin)>/`.
    path: str
    #: C2SP signed-note: `<origin>+<key id>+<base64 of type and public key>`.
    verifier_key: str


async def list_logs(services: Services, principal: Principal, tenant_id: str, project_id: str) -> list[ListedLog]:
    """The logs that the caller may see, ordered by origin; an empty tenant or project means all of them.

    Raises `NotFoundError` where the server keeps none, `PermissionDeniedError` for a foreign tenant or project.
    """
    logs = logs_for(services, principal)
    found = await logs.store.logs(*scope_of(principal, tenant_id, project_id, ""))
    return [ListedLog(log, log_path(log.origin), logs.sequencer.verifier_key(log.origin)) for log in found]
