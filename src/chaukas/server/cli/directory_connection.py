"""The data directory of a server that is not running, opened by this process through the server's own operations.

The operations are coroutines; they run on an event loop in a thread of their own, so that a command reads its input and
draws its progress meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chaukas.server.app import open_services
from chaukas.server.auth.principal import Principal
from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.line_result import LEFT_OUT, LineResult
from chaukas.server.cli.session_line import Asked, SessionLine
from chaukas.server.config import Settings
from chaukas.server.errors import InvalidRequestError
from chaukas.server.explain.clock import iso_time
from chaukas.server.explain.rendering.forms import AnswerForm
from chaukas.server.operations.event_stats import get_event_stats
from chaukas.server.operations.explanations import Subject, get_explanation, get_session
from chaukas.server.operations.ingest import ingest_items
from chaukas.server.operations.quarantine import list_quarantine, resubmit_quarantined, show_quarantined
from chaukas.server.operations.query_events import query_events
from chaukas.server.operations.services import Services
from chaukas.server.operations.sessions import SessionQuestion, list_sessions
from chaukas.server.operations.whys import get_why
from chaukas.server.query import CURSOR_SECRET_BYTES
from chaukas.server.storage.contract import Outcome, QuarantineItem, QuarantineRow, SessionRow
from chaukas.server.storage.sqlite.connection import DATABASE_NAME
from chaukas.server.telemetry import Telemetry
from chaukas.server.wire.json_form import JsonProblem, event_from_text
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest, GetEventStatsResponse

__all__ = ["DirectoryConnection"]

#: Whoever may read and write the files of the directory may do everything: there is nobody else to ask.
_OPERATOR = Principal(name="command line")
#: The label of these events in the metrics of this short-lived process.
_TRANSPORT = "cli"

_T = TypeVar("_T")


class DirectoryConnection:
    """Implements `Connection`. The directory is locked from the beginning to `close`."""

    def __init__(self, data_dir: Path, config_file: Path | None, *, create: bool) -> None:
        """Open the directory.

        `create` makes a new store where there is none, which only an import wants. Raises `ConfigurationError` for settings and
        `CannotServeError` for a directory that can not be opened, or that a server is using.
        """
        settings = Settings.load(config_file=config_file, flags={"data_dir": data_dir})
        if not create and not (data_dir / DATABASE_NAME).exists():
            raise CommandError(f"--data: there is no event store in {data_dir}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaukas-operations", daemon=True)
        self._thread.start()
        # Errors reach the user as the one line that the command ends with; a log beside it would say them twice.
        telemetry = Telemetry(log_level="error", log_format=settings.log_format)
        self._opened = contextlib.AsyncExitStack()
        try:
            self._services: Services = self._run(
                self._opened.enter_async_context(
                    # The secret signs cursors, and those of this process end with it.
                    open_services(settings, telemetry, secrets.token_bytes(CURSOR_SECRET_BYTES))
                )
            )
        except BaseException:
            self.close()
            raise

    def ingest(self, items: Sequence[Event | JsonProblem]) -> list[LineResult]:
        """See `Connection`."""
        kept = [item if isinstance(item, Event) else _quarantined(item) for item in items]
        outcomes = iter(
            self._run(ingest_items(self._services, _OPERATOR, _TRANSPORT, [item for item in kept if item is not None]))
        )
        return [
            _line_result(next(outcomes)) if item is not None else LineResult(LEFT_OUT, str(items[place]))
            for place, item in enumerate(kept)
        ]

    def query(self, request: QueryRequest) -> QueryResponse:
        """See `Connection`."""
        return self._run(query_events(self._services, _OPERATOR, request)).to_response()

    def stats(self, request: GetEventStatsRequest) -> GetEventStatsResponse:
        """See `Connection`."""
        return self._run(get_event_stats(self._services, _OPERATOR, request))

    def quarantine_list(
        self, tenant_id: str | None, project_id: str | None, limit: int, after: str
    ) -> tuple[list[QuarantineRow], str]:
        """See `Connection`."""
        listing = self._run(list_quarantine(self._services, _OPERATOR, tenant_id, project_id, limit, after))
        return listing.rows, listing.next_after

    def quarantine_show(self, quarantine_id: str) -> QuarantineRow:
        """See `Connection`."""
        return self._run(show_quarantined(self._services, _OPERATOR, quarantine_id))

    def quarantine_resubmit(self, quarantine_id: str, tenant_id: str, project_id: str) -> Outcome:
        """See `Connection`."""
        return self._run(resubmit_quarantined(self._services, _OPERATOR, quarantine_id, tenant_id, project_id)).outcome

    def sessions(self, tenant_id: str, project_id: str, page_size: int, page_token: str) -> tuple[list[SessionLine], str]:
        """See `Connection`."""
        question = SessionQuestion(tenant_id, project_id, page_size, page_token)
        listing = self._run(list_sessions(self._services, _OPERATOR, question))
        return [_session(row) for row in listing.sessions], listing.next_page_token

    def explained(self, what: Asked, subject: Subject, form: AnswerForm) -> str:
        """See `Connection`."""
        operation = {Asked.SESSION: get_session, Asked.EXPLANATION: get_explanation, Asked.WHY: get_why}[what]
        return self._run(operation(self._services, _OPERATOR, subject, form)).text

    def close(self) -> None:
        """See `Connection`."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._opened.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, operation: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(operation, self._loop).result()


def _quarantined(problem: JsonProblem) -> QuarantineItem | None:
    """What the quarantine keeps of a line that is no event; None for a line that is not even JSON, as over HTTP."""
    try:
        event_from_text(problem.raw)
    except InvalidRequestError:
        return None
    return QuarantineItem(
        problem.tenant_id, problem.project_id if problem.tenant_id else "", problem.event_id, problem.raw, problem.reasons
    )


def _session(row: SessionRow) -> SessionLine:
    first, last = iso_time(row.first_us * 1_000), iso_time(row.place.last_us * 1_000)
    return SessionLine(row.tenant_id, row.project_id, row.place.session_id, row.events, first, last)


def _line_result(outcome: Outcome) -> LineResult:
    return LineResult(outcome.status, outcome.reason, outcome.quarantine_id)
