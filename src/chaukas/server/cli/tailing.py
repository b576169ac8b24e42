"""`chaukas tail`: the newest events, and every one that is stored from now on."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import Any, Final

from chaukas.server.cli.enums import EVENT_STATUSES, EVENT_TYPES, SEVERITIES
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.event_stream import StreamMessage
from chaukas.server.cli.event_table import EventTable
from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.http_tail import HttpTail
from chaukas.server.cli.querying import Selection
from chaukas.server.cli.terminal import output_console
from chaukas.server.text.expression import TextQuery
from chaukas.server.wire.json_form import JsonProblem, event_from_text
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryFilter

__all__ = ["follow_events", "tail_parameters"]

_KIND: Final = "event"
#: By the field of the filter: the parameter that `/v1/tail` has for it.
_IDS: Final = ("tenant_id", "project_id", "session_id", "agent_id", "trace_id", "span_id", "text_query")


def follow_events(server_url: str, selection: Selection, *, recent: int, as_json: bool) -> None:
    """Write the `recent` newest matching events, then each one that is stored, until the command is ended.

    Raises `ChaukasError` when the server refuses, or has never been there.
    """
    parameters = tail_parameters(selection.to_request().filter)
    if recent:
        parameters.append(("recent", str(recent)))
    output = _JsonLines() if as_json else _Table(selection.to_text_query())
    # The newest ones have no position of their own: a connection that is lost between two of them brings them once more.
    shown: set[tuple[object, ...]] = set()
    with closing(HttpTail(server_url, parameters, _remark)) as tail:
        tail.open()
        for messages in tail.messages():
            for message in messages:
                if message.event != _KIND:
                    continue
                value = _members(message, server_url)
                key = (value.get("tenant_id"), value.get("project_id"), value.get("event_id"))
                if message.id:
                    shown.clear()
                elif key in shown:
                    continue
                else:
                    shown.add(key)
                output.write(message, value)
            output.flush()


def tail_parameters(wanted: QueryFilter) -> list[tuple[str, str]]:
    """The filter as `/v1/tail` takes it: a parameter for each id, one for each value of a list."""
    given = [(name, str(getattr(wanted, name))) for name in _IDS if getattr(wanted, name)]
    given += [("type", EVENT_TYPES.shown(value)) for value in wanted.types]
    given += [("status", EVENT_STATUSES.shown(value)) for value in wanted.statuses]
    given += [("severity", SEVERITIES.shown(value)) for value in wanted.severities]
    given += [("tag", tag) for tag in wanted.tags]
    return given


class _JsonLines:
    """One event per line, as the server writes it."""

    def write(self, message: StreamMessage, value: dict[str, Any]) -> None:
        del message
        sys.stdout.buffer.write(f"{json_text(value)}\n".encode())

    def flush(self) -> None:
        sys.stdout.buffer.flush()


class _Table:
    """Lines of a table; what has come together is written together."""

    def __init__(self, query: TextQuery | None) -> None:
        self._table = EventTable(output_console(), query)
        self._events: list[Event] = []

    def write(self, message: StreamMessage, value: dict[str, Any]) -> None:
        event = event_from_text(message.data.encode())
        if isinstance(event, JsonProblem):
            _remark(f"event {value.get('event_id')!r} can not be shown here: {event}")
        else:
            self._events.append(event)

    def flush(self) -> None:
        events, self._events = self._events, []
        if events:
            self._table.print(events)


def _members(message: StreamMessage, server_url: str) -> dict[str, Any]:
    try:
        value = json.loads(message.data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CommandError(f"what {server_url} sends does not look like events of a Chaukas server; check --server")
    return value


def _remark(text: str) -> None:
    print(f"chaukas: {text}", file=sys.stderr, flush=True)
