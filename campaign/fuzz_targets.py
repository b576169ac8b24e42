"""What is fuzzed: each target takes bytes, calls what reads bytes of strangers, and checks what must hold of the result.

A target returns whatever it likes and may raise the project's own errors with a status of 4xx (or the one that makes the SDK send
halves); `Refusal` of `attempt` counts them. Everything else that comes out of a target is a finding.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.errors import ChaukasError, InvalidRequestError, RequestTooLargeError, status_of
from chaukas.server.ingest.prepare import prepare
from chaukas.server.query import CURSOR_SECRET_BYTES, QueryEngine
from chaukas.server.storage.contract import EventFilter, EventRecord, Page, PageRequest, Position, StoredEvent
from chaukas.server.testing import make_event
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.scan import TextScanner
from chaukas.server.text.snippets import snippets_of
from chaukas.server.text.texts import texts_of
from chaukas.server.validation import Limits
from chaukas.server.wire.frames import Frame, parse_batch, parse_single
from chaukas.server.wire.json_form import (
    JsonProblem,
    batch_from_text,
    event_from_text,
    event_to_openapi,
    json_bytes,
    query_request_from_text,
)
from chaukas.server.wire.json_lines import read_json_lines
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryRequest

__all__ = ["TARGETS", "attempt"]

_LIMITS = Limits()
_NAME = "chaukas.localhost"
_NOW_NS = 1_800_000_000_000_000_000
_KEY = Principal("key", tenant_id="acme", project_id="shop")


class _OneEventReader:
    """A store of one event, which every question finds, with more to come."""

    def __init__(self) -> None:
        stored = make_event("one").SerializeToString(deterministic=True)
        position = Position(1_700_000_000_000_000, 0, 1, 0)
        self._page = Page([StoredEvent(position, f"{_NAME}/events/acme", stored, _NOW_NS, b"")], more=True)

    async def query(self, request: PageRequest) -> Page:
        """The same page always."""
        if not 1 <= request.limit <= 1_000:
            raise AssertionError(f"a page of {request.limit} events was asked of the store")
        return self._page

    async def count(self, filter: EventFilter) -> int:
        """One."""
        del filter
        return 1


def _finish(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  whatever the coroutine returns
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a question over a store in memory waited for something")


@cache
def _engine() -> QueryEngine:
    return QueryEngine(_OneEventReader(), bytes(CURSOR_SECRET_BYTES))


def _check_prepared(frame: Frame) -> None:
    """A frame becomes a record that can be answered in both forms, or an item of the quarantine with reasons."""
    if (frame.event is None) != bool(frame.problem):
        raise AssertionError("a frame has both an event and a problem, or neither")
    principal = _KEY if len(frame.raw) % 2 else ANONYMOUS
    made = prepare(frame, principal, _LIMITS, _NAME, _NOW_NS)
    if not isinstance(made, EventRecord):
        if not made.reasons:
            raise AssertionError("something was quarantined without a reason")
        return
    event = Event.FromString(made.stored)
    if not (event.event_id and event.tenant_id and event.type and 0 < made.envelope_bytes <= len(made.stored)):
        raise AssertionError("an event was taken that lacks what is required")
    json.loads(json_bytes(event_to_openapi(event)))
    texts_of(made.stored)


def batch(data: bytes) -> None:
    """A body of `/v1/events/batch`: cut, parsed, prepared."""
    for frame in parse_batch(data, events_max=500).frames:
        _check_prepared(frame)


def single(data: bytes) -> None:
    """A body of `/v1/events`."""
    _check_prepared(parse_single(data))


def json_event(data: bytes) -> None:
    """A JSON event; what was read is written, and read again as the same."""
    event = event_from_text(data)
    if isinstance(event, JsonProblem):
        if not event.violations:
            raise AssertionError("a JSON event is refused without a reason")
        return
    written = json_bytes(event_to_openapi(event))
    again = event_from_text(written)
    if isinstance(again, JsonProblem):
        raise AssertionError(f"an event that was read can not be read again: {again.violations}")  # noqa: TRY004
    if json_bytes(event_to_openapi(again)) != written:
        raise AssertionError("an event that was read is written in two ways")


def json_batch(data: bytes) -> None:
    """A JSON batch."""
    for event in batch_from_text(data, events_max=500):
        if isinstance(event, Event):
            event.SerializeToString(deterministic=True)


def json_lines(data: bytes) -> None:
    """A file of the SDK's file mode."""
    for number, _ in read_json_lines(io.BytesIO(data)):
        if number < 1:
            raise AssertionError("lines are counted from 1")


def query_json(data: bytes) -> None:
    """A question in JSON, to its answer."""
    _finish(_engine().query(query_request_from_text(data), ANONYMOUS))


def query_protobuf(data: bytes) -> None:
    """A question in protobuf, to its answer."""
    try:
        request = QueryRequest.FromString(data)
    except DecodeError:
        return
    _finish(_engine().query(request, _KEY if len(data) % 2 else ANONYMOUS))


@cache
def valid_cursor() -> str:
    """The cursor behind the one event, for the question without a filter."""
    token: str = _finish(_engine().query(QueryRequest(), ANONYMOUS)).next_page_token
    return token


def cursor(data: bytes) -> None:
    """A page token: only the one that was given out opens anything."""
    token = data.decode("utf-8", "replace")
    try:
        _finish(_engine().query(QueryRequest(page_token=token), ANONYMOUS))
    except InvalidRequestError:
        if token == valid_cursor():
            raise AssertionError("a cursor that was given out is refused") from None
        raise
    if token not in ("", valid_cursor()):
        raise AssertionError(f"a forged cursor is taken: {token}")


@cache
def searched_events() -> tuple[bytes, ...]:
    """Stored bytes that expressions are tried on."""
    texts = (
        "refund order 4711 not found",
        "東京タワーの高さは333メートル",
        "नमस्ते दुनिया",
        "naïve Straße \N{ROBOT FACE}",
        "user_id a@example.com",
    )
    return tuple(make_event(f"text-{number}", text=text).SerializeToString() for number, text in enumerate(texts))


def text_query(data: bytes) -> None:
    """An expression: its canonical form is the same query, and the prefilter never hides a match."""
    query = TextQuery.parse(data.decode("utf-8", "replace"))
    if TextQuery.parse(str(query), chars_max=100_000) != query:
        raise AssertionError(f"the canonical form is another query: {query}")
    scanner = TextScanner(query)
    for stored in searched_events():
        found = query.matches(stored)
        if scanner.matches(stored) != found or (found and not scanner.may_match(stored)):
            raise AssertionError(f"the scanner and the definition differ on {query}")
        if found:
            snippets_of(stored, query)


def text_event(data: bytes) -> None:
    """Bytes of an event, searched: each of its tokens finds it."""
    try:
        Event.FromString(data)
    except DecodeError:
        return
    for text in texts_of(data)[:3]:
        try:
            query = TextQuery.parse(text[:200].replace('"', " ").replace("*", " "))
        except InvalidRequestError:
            continue
        scanner = TextScanner(query)
        if query.matches(data) != scanner.matches(data) or (query.matches(data) and not scanner.may_match(data)):
            raise AssertionError(f"the scanner and the definition differ on {query}")


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (batch, single, json_event, json_batch, json_lines, query_json, query_protobuf, cursor, text_query, text_event)
}


def attempt(target: Callable[[bytes], None], data: bytes) -> bool:
    """Whether the target took the input; False when it was refused as a wrong request. Raises what is a finding."""
    try:
        target(data)
    except ChaukasError as error:
        status = status_of(error)
        if not 400 <= status.http < 500 and not isinstance(error, RequestTooLargeError):
            raise
        if not error.public_message:
            raise AssertionError("refused without a word") from error
        return False
    return True
