"""Events as a table that fits the terminal: fixed columns, so that page after page lines up, coloured by status and severity.

When words were searched for, the places where they stand follow each event, each on a line of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaukas.server.cli.enums import EVENT_STATUSES, EVENT_TYPES, SEVERITIES
from chaukas.server.cli.event_line import describe, printable
from chaukas.server.cli.snippet_lines import snippet_lines
from chaukas.server.cli.times import shown_time
from chaukas.server.text.expression import TextQuery
from chaukas.spec.common.v1.events_pb2 import Event, EventStatus, Severity

__all__ = ["EventTable"]

_CONTENT_WIDTH_MIN = 16
_GAP = 2
_STATUS_STYLE: dict[int, str] = {
    EventStatus.EVENT_STATUS_STARTED: "cyan",
    EventStatus.EVENT_STATUS_IN_PROGRESS: "cyan",
    EventStatus.EVENT_STATUS_COMPLETED: "green",
    EventStatus.EVENT_STATUS_FAILED: "bold red",
    EventStatus.EVENT_STATUS_CANCELLED: "yellow",
}
_SEVERITY_STYLE: dict[int, str] = {
    Severity.SEVERITY_DEBUG: "dim",
    Severity.SEVERITY_WARN: "yellow",
    Severity.SEVERITY_ERROR: "bold red",
}


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    #: The narrowest terminal, in characters, that shows the column.
    terminal_min: int
    value: Callable[[Event], str]
    style: Callable[[Event], str] = lambda _: ""


_COLUMNS = (
    _Column("TIME (UTC)", 23, 0, lambda event: shown_time(event.timestamp), lambda _: "dim"),
    _Column("TYPE", 22, 0, lambda event: EVENT_TYPES.shown(event.type)),
    _Column("STATUS", 11, 0, lambda event: EVENT_STATUSES.shown(event.status), lambda event: _STATUS_STYLE.get(event.status, "")),
    _Column(
        "SEVERITY", 8, 100, lambda event: SEVERITIES.shown(event.severity), lambda event: _SEVERITY_STYLE.get(event.severity, "")
    ),
    _Column("AGENT", 18, 120, lambda event: event.agent_name or event.agent_id),
    _Column("SESSION", 36, 160, lambda event: event.session_id),
    _Column("EVENT ID", 36, 200, lambda event: event.event_id),
)


class EventTable:
    """Prints pages of events under one heading."""

    def __init__(self, console: Console, query: TextQuery | None = None) -> None:
        """`query` is what was searched for; its words are highlighted."""
        self._console = console
        self._query = query
        self._columns = [column for column in _COLUMNS if console.width >= column.terminal_min]
        taken = sum(column.width + _GAP for column in self._columns)
        self._content_width = max(_CONTENT_WIDTH_MIN, console.width - taken)
        self._heading_printed = False

    def print(self, events: Iterable[Event]) -> None:
        """One line per event; the heading stands above the first page only."""
        if self._query is None:
            self._print_rows(events)
            return
        for event in events:
            self._print_rows([event])
            for line in snippet_lines(event, self._query, self._console.width):
                self._console.print(line, no_wrap=True, overflow="ellipsis")

    def _print_rows(self, events: Iterable[Event]) -> None:
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=not self._heading_printed)
        for column in self._columns:
            table.add_column(column.title, width=column.width, no_wrap=True, overflow="ellipsis")
        table.add_column("CONTENT", width=self._content_width, no_wrap=True, overflow="ellipsis")
        for event in events:
            cells = [Text(printable(column.value(event)), style=column.style(event)) for column in self._columns]
            table.add_row(*cells, Text(describe(event)))
        self._heading_printed = True
        # A terminal that is too narrow for the smallest table wraps lines rather than hide what they say.
        self._console.print(table, soft_wrap=True, crop=False)
