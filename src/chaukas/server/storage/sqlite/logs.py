"""The logs of a store: one per tenant and project, with the head that the next event continues."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from chaukas.server.errors import StorageError
from chaukas.server.storage.entry import log_id_of, origin_of
from chaukas.server.storage.sqlite.connection import fetch

__all__ = ["LogHead", "Logs"]

_REMEMBERED_MAX = 50_000

_SQL_FIND = (
    "SELECT log_no, log_id, origin, next_index, received_at_ns, last_leaf FROM logs WHERE tenant_id = ? AND project_id = ?"
)
_SQL_NEXT = "SELECT coalesce(max(log_no), 0) + 1 FROM logs"
_SQL_INSERT = "INSERT INTO logs VALUES (?, ?, ?, ?, ?, 0, 0, x'', 0, 0, 0, 0, 0)"
_SQL_ADVANCE = (
    "UPDATE logs SET next_index = ?, received_at_ns = ?, last_leaf = ?, sessions = sessions + ?,"
    " session_duration_s = session_duration_s + ?, session_duration_us = session_duration_us + ? WHERE log_no = ?"
)


#: The same for entries that are no events.
_SQL_ADVANCE_OTHERS = (
    "UPDATE logs SET next_index = ?, received_at_ns = ?, last_leaf = ?, other_entries = other_entries + ? WHERE log_no = ?"
)
_SQL_SCOPE = "SELECT tenant_id, project_id FROM logs WHERE log_id = ?"


@dataclass(slots=True)
class LogHead:
    """A log and its head: the next index, the time and the leaf hash of the last entry."""

    log_no: int
    log_id: int
    origin: str
    next_index: int
    received_at_ns: int
    last_leaf: bytes


class Logs:
    """The writer's view of all logs."""

    def __init__(self, server_name: str) -> None:
        self.server_name = server_name
        self._known: dict[tuple[str, str], LogHead] = {}
        self._next_no = 1

    def recover(self, database: apsw.Connection) -> None:
        """Forget everything that memory holds and read the next free number."""
        self._known.clear()
        for (number,) in fetch(database, _SQL_NEXT):
            self._next_no = number

    def head(self, database: apsw.Connection, tenant_id: str, project_id: str, *, create: bool) -> LogHead | None:
        """The head of a log; with `create` it is made when it does not exist, otherwise None is returned then."""
        found = self._known.get((tenant_id, project_id))
        if found is not None:
            return found
        for row in fetch(database, _SQL_FIND, (tenant_id, project_id)):
            found = LogHead(*row)
        if found is None:
            if not create:
                return None
            found = self._create(database, tenant_id, project_id)
        if len(self._known) > _REMEMBERED_MAX:
            self._known.clear()
        self._known[tenant_id, project_id] = found
        return found

    def _create(self, database: apsw.Connection, tenant_id: str, project_id: str) -> LogHead:
        origin = origin_of(self.server_name, tenant_id, project_id)
        log_id = log_id_of(origin)
        try:
            database.execute(_SQL_INSERT, (self._next_no, log_id, origin, tenant_id, project_id))
        except apsw.ConstraintError as error:
            raise StorageError(f"the number of the log {origin} belongs to another log; this tenant cannot be stored") from error
        head = LogHead(self._next_no, log_id, origin, 0, 0, b"")
        self._next_no += 1
        return head

    @staticmethod
    def advance(database: apsw.Connection, head: LogHead, new_sessions: int, added_duration_us: int) -> None:
        """Write the head after a transaction's events."""
        duration = divmod(added_duration_us, 1_000_000)
        row = (head.next_index, head.received_at_ns, head.last_leaf, new_sessions, *duration, head.log_no)
        database.execute(_SQL_ADVANCE, row)

    def head_of(self, database: apsw.Connection, log_id: int) -> LogHead | None:
        """The head of a log that exists, by its number in the contract."""
        for tenant_id, project_id in fetch(database, _SQL_SCOPE, (log_id,)):
            return self.head(database, tenant_id, project_id, create=False)
        return None

    @staticmethod
    def advance_others(database: apsw.Connection, head: LogHead, entries: int) -> None:
        """Write the head after entries that are no events."""
        database.execute(_SQL_ADVANCE_OTHERS, (head.next_index, head.received_at_ns, head.last_leaf, entries, head.log_no))
