"""Origins of logs: `<server name>/events/<tenant>[/<project>]` and `<server name>/access/<tenant>`, each part percent-encoded."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, unquote

from chaukas.verify.errors import VerificationError
from chaukas.verify.stored_events import StoredEvent

__all__ = ["EventLog", "check_event_belongs", "log_path", "read_event_origin"]


@dataclass(frozen=True, slots=True)
class EventLog:
    """Whose events a log holds, as its origin says; `project_id` is empty for a tenant's log without a project."""

    server_name: str
    tenant_id: str
    project_id: str


def log_path(origin: str) -> str:
    """Where a server shows a log, and where an export keeps it: `log/<hex SHA-256 of the origin>`."""
    return f"log/{sha256(origin.encode()).hexdigest()}"


def read_event_origin(origin: str) -> EventLog | None:
    """Take the origin of an event log apart; None for an origin of another form."""
    parts = origin.split("/")
    if len(parts) not in (3, 4) or parts[1] != "events":
        return None
    try:
        names = [unquote(part, errors="strict") for part in (parts[0], *parts[2:])]
    except UnicodeDecodeError:
        return None
    if not all(names) or [quote(name, safe="") for name in names] != [parts[0], *parts[2:]]:
        return None
    return EventLog(names[0], names[1], names[2] if len(names) == 3 else "")


def check_event_belongs(event: StoredEvent, log: EventLog) -> None:
    """That the event names the tenant and the project of the log in which it stands. Raises `VerificationError`."""
    if (event.tenant_id, event.project_id) != (log.tenant_id, log.project_id):
        raise VerificationError(
            f"the event is of tenant {event.tenant_id!r}, project {event.project_id!r}, "
            f"the log of tenant {log.tenant_id!r}, project {log.project_id!r}"
        )
