"""`chaukas query`: the events that match, page by page."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chaukas.server.cli.connection import Connection
from chaukas.server.cli.enums import EVENT_STATUSES, EVENT_TYPES, SEVERITIES
from chaukas.server.cli.event_output import event_output
from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.flags import ListingFormat
from chaukas.server.cli.terminal import output_console
from chaukas.server.cli.times import parse_time
from chaukas.server.errors import InvalidRequestError
from chaukas.server.text.expression import TextQuery
from chaukas.spec.common.v1.query_pb2 import QueryRequest, QueryResponse, SortOrder, TimeRange

__all__ = ["Selection", "count_events", "list_events", "scope_id", "time_range"]

_LIMIT_DEFAULT: Final = 100
#: The largest page of the contract: a thousand events on one page cost half of what they cost on ten.
_PAGE_SIZE_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Selection:
    """The filters as they were typed; None or empty means any."""

    tenant: str | None = None
    project: str | None = None
    session: str | None = None
    agent: str | None = None
    trace: str | None = None
    span: str | None = None
    types: Sequence[str] = ()
    statuses: Sequence[str] = ()
    severities: Sequence[str] = ()
    tags: Sequence[str] = ()
    text: str | None = None
    since: str | None = None
    until: str | None = None

    def to_request(self) -> QueryRequest:
        """The contract's question. Raises `CommandError` that names the flag with a wrong value."""
        request = QueryRequest()
        wanted = request.filter
        wanted.tenant_id = scope_id("--tenant", self.tenant)
        wanted.project_id = scope_id("--project", self.project)
        wanted.session_id = scope_id("--session", self.session)
        wanted.agent_id = scope_id("--agent", self.agent)
        wanted.trace_id = scope_id("--trace", self.trace)
        wanted.span_id = scope_id("--span", self.span)
        wanted.types.extend(EVENT_TYPES.parse("--type", self.types))
        wanted.statuses.extend(EVENT_STATUSES.parse("--status", self.statuses))
        wanted.severities.extend(SEVERITIES.parse("--severity", self.severities))
        wanted.tags.extend(self.tags)
        if self.text is not None and self.to_text_query() is not None:
            wanted.text_query = self.text
        limits = time_range(self.since, self.until)
        if limits is not None:
            wanted.time.CopyFrom(limits)
        return request

    def to_text_query(self) -> TextQuery | None:
        """What `--text` asks for, None without it. Raises `CommandError` for what no server takes."""
        if self.text is None:
            return None
        try:
            return TextQuery.parse(self.text)
        except InvalidRequestError as error:
            raise CommandError(f"--text: {error.public_message.removeprefix(f'{error.field}: ')}") from error


def scope_id(flag: str, text: str | None) -> str:
    """The id of a filter as the contract has it, where empty means any.

    Raises `CommandError` for an empty one: a script whose variable is empty must not be shown everything.
    """
    if text == "":
        raise CommandError(f"{flag}: the id is empty; leave the flag out to ask for all")
    return text or ""


def time_range(since: str | None, until: str | None) -> TimeRange | None:
    """The half-open range between both flags, None when neither is given. Raises `CommandError`."""
    if since is None and until is None:
        return None
    now_ns = time.time_ns()
    limits = TimeRange()
    if since is not None:
        limits.start.CopyFrom(parse_time("--since", since, now_ns))
    if until is not None:
        limits.end.CopyFrom(parse_time("--until", until, now_ns))
    if since is not None and until is not None and limits.start.ToNanoseconds() > limits.end.ToNanoseconds():
        raise CommandError(f"--since {since} is after --until {until}")
    return limits


def list_events(
    connection: Connection,
    selection: Selection,
    form: ListingFormat,
    *,
    limit: int | None,
    follow_pages: bool,
    oldest_first: bool,
) -> None:
    """Write the matching events on standard output, at most `limit` of them (100 when None) unless all pages are followed."""
    request = selection.to_request()
    request.order_by_time = SortOrder.SORT_ORDER_ASC if oldest_first else SortOrder.SORT_ORDER_DESC
    remaining = None if follow_pages else limit or _LIMIT_DEFAULT
    shown = 0
    output = event_output(form, output_console(), selection.to_text_query())
    while remaining is None or shown < remaining:
        missing = None if remaining is None else remaining - shown
        response = _page(connection, request, min(missing or _PAGE_SIZE_MAX, _PAGE_SIZE_MAX))
        events = response.events[:missing]
        output.write(events)
        shown += len(events)
        request.page_token = response.next_page_token
        if not request.page_token:
            break
    output.finish()
    _note_rest(shown, more=bool(request.page_token), limit_given=limit is not None)


def count_events(connection: Connection, selection: Selection) -> int:
    """How many events match, exactly."""
    request = selection.to_request()
    if "include_total" not in QueryRequest.DESCRIPTOR.fields_by_name:
        raise CommandError(
            "--count: the installed chaukas-spec-client has replaced messages of chaukas-spec-server; reinstall the latter"
        )
    request.page_size = 1
    request.include_total = True
    return connection.query(request).total_count


def _page(connection: Connection, request: QueryRequest, page_size: int) -> QueryResponse:
    request.page_size = page_size
    try:
        return connection.query(request)
    except InvalidRequestError as error:
        if not error.public_message.startswith("page_size"):
            raise
    # The operator allows smaller pages only; 0 asks for the size that the server prefers.
    request.page_size = 0
    return connection.query(request)


def _note_rest(shown: int, *, more: bool, limit_given: bool) -> None:
    """Nobody may take the first hundred for everything, and no output of a program may be mixed with the remark."""
    if more and not limit_given:
        print(f"{shown} events shown, more match: use --limit N or --all", file=sys.stderr)
    elif shown == 0 and sys.stderr.isatty():
        print("no event matches", file=sys.stderr)
