"""Events on standard output: a table for people, JSON Lines or one JSON array for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import BinaryIO, Protocol

from rich.console import Console

from chaukas.server.cli.event_table import EventTable
from chaukas.server.cli.flags import ListingFormat
from chaukas.server.text.expression import TextQuery
from chaukas.server.wire.json_form import event_to_openapi
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["EventOutput", "event_output", "json_text"]

#: DEL and the C1 controls: JSON allows them as they are, some terminals obey them.
_UNSAFE = re.compile("[\x7f-\x9f]")


def json_text(value: object, indent: int | None = None) -> str:
    """JSON that is readable in every language and safe to show on a terminal; escapes change nothing of what it says."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class EventOutput(Protocol):
    """Takes events page by page."""

    def write(self, events: Sequence[Event]) -> None:
        """Show them now: a long answer is seen while it comes."""
        ...

    def finish(self) -> None:
        """Nothing follows."""
        ...


def event_output(form: ListingFormat, console: Console, query: TextQuery | None = None) -> EventOutput:
    """The output of a form: tables on `console`, JSON as UTF-8 on standard output, whatever the locale.

    A table also shows where the words of `query` stand.
    """
    if form is ListingFormat.TABLE:
        return _TableOutput(console, query)
    return _JsonLinesOutput(sys.stdout.buffer) if form is ListingFormat.JSONL else _JsonArrayOutput(sys.stdout.buffer)


class _TableOutput:
    def __init__(self, console: Console, query: TextQuery | None) -> None:
        self._table = EventTable(console, query)

    def write(self, events: Sequence[Event]) -> None:
        if events:
            self._table.print(events)

    def finish(self) -> None:
        pass


class _JsonLinesOutput:
    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def write(self, events: Sequence[Event]) -> None:
        for event in events:
            self._output.write(f"{json_text(event_to_openapi(event))}\n".encode())
        self._output.flush()

    def finish(self) -> None:
        pass


class _JsonArrayOutput:
    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._before = "[\n"

    def write(self, events: Sequence[Event]) -> None:
        for event in events:
            self._output.write(f"{self._before}{json_text(event_to_openapi(event))}".encode())
            self._before = ",\n"
        self._output.flush()

    def finish(self) -> None:
        self._output.write(b"[]\n" if self._before == "[\n" else b"\n]\n")
        self._output.flush()
