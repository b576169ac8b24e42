"""Where a command's requests go: to a running server, or into the directory of one that is not running.

Both ways end in the same operations of the server, so a command behaves alike on either. Every method may be called again
after a failure: storing is idempotent, the others only read, and handing an item in again ends in `duplicate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chaukas.server.cli.line_result import LineResult
from chaukas.server.cli.session_line import Asked, SessionLine
from chaukas.server.explain.rendering.forms import AnswerForm
from chaukas.server.operations.explained_events import Subject
from chaukas.server.storage.contract import Outcome, QuarantineRow
from chaukas.server.wire.json_form import JsonProblem
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest, GetEventStatsResponse

__all__ = ["Connection"]


class Connection(Protocol):
    """What the commands ask for. Methods raise `ChaukasError`; used by one thread at a time."""

    def ingest(self, items: Sequence[Event | JsonProblem]) -> list[LineResult]:
        """Store the events, set aside what is no good one; one result each, in order, once they are durable."""
        ...

    def query(self, request: QueryRequest) -> QueryResponse:
        """One page."""
        ...

    def stats(self, request: GetEventStatsRequest) -> GetEventStatsResponse:
        """Exact counts."""
        ...

    def quarantine_list(
        self, tenant_id: str | None, project_id: str | None, limit: int, after: str
    ) -> tuple[list[QuarantineRow], str]:
        """What is kept aside, oldest first, and the id to list on from; None means any tenant or project, "" nobody's."""
        ...

    def quarantine_show(self, quarantine_id: str) -> QuarantineRow:
        """One item with its bytes."""
        ...

    def quarantine_resubmit(self, quarantine_id: str, tenant_id: str, project_id: str) -> Outcome:
        """Hand an item in again; it has left the quarantine if it is stored now."""
        ...

    def sessions(self, tenant_id: str, project_id: str, page_size: int, page_token: str) -> tuple[list[SessionLine], str]:
        """One page of sessions, newest first, and the token of the next one."""
        ...

    def explained(self, what: Asked, subject: Subject, form: AnswerForm) -> str:
        """The text of an answer about a session, trace or event."""
        ...

    def close(self) -> None:
        """Let go of the server or of the directory. Idempotent."""
        ...
