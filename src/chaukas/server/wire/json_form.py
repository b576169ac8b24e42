"""The contract's messages in JSON. Answers always have the public OpenAPI form; requests may have protobuf's, or a mixture.

What can be said and what is lost stands in `docs/json.md`. No stored event can make an answer fail. An event that can not be
read is a `JsonProblem` with its own text, so that the good ones around it can be stored and it can be kept aside; a request
that is wrong as a whole raises `InvalidRequestError`, with the path of the field.

Keys that the contract does not know are refused: an event is evidence, and a part of it that is dropped without a word
(`sesion_id`) would be missed only when it is too late.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from google.protobuf.message import Message

from chaukas.server.errors import InvalidRequestError, ValidationError, Violation
from chaukas.server.wire.cut import too_many_events
from chaukas.server.wire.frames import BATCH_EVENTS_MAX
from chaukas.server.wire.json_fields import form_of
from chaukas.server.wire.json_problem import JsonMismatch, JsonProblem, Unusable, describe
from chaukas.server.wire.json_text import JsonText, json_bytes, parse_json
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import GetEventStatsResponse

__all__ = [
    "EVENT_TEXT_BYTES_MAX",
    "JsonBatch",
    "JsonProblem",
    "batch_from_text",
    "batch_to_openapi",
    "capabilities_from_json",
    "capabilities_to_openapi",
    "event_from_json",
    "event_from_text",
    "event_to_openapi",
    "is_json",
    "json_bytes",
    "page_to_openapi",
    "query_request_from_json",
    "query_request_from_text",
    "query_request_to_openapi",
    "query_response_from_json",
    "query_response_to_openapi",
    "stats_from_json",
    "stats_to_openapi",
]

_M = TypeVar("_M", bound=Message)
_EVENT = form_of(Event.DESCRIPTOR)
_ID_CHARACTERS_MAX = 256
#: The longest text of one event that is read: JSON may need six bytes where protobuf needs one, and so an event of 2 MiB
#: with its names and quotation marks stays below this.
EVENT_TEXT_BYTES_MAX = 16 * 1024 * 1024


class JsonBatch:
    """The events of a batch in their order, each decoded when it is asked for: never all of them at once in memory."""

    def __init__(self, batch_id: str, body: bytes, spans: list[tuple[int, int]], path: str) -> None:
        self.batch_id = batch_id
        self._body = body
        self._spans = spans
        self._path = path

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[Event | JsonProblem]:
        for index, (start, end) in enumerate(self._spans):
            yield _event_or_problem(self._body[start:end], f"{self._path}[{index}]")


def event_to_openapi(event: Event) -> dict[str, object]:
    """The event in the public OpenAPI form. Never fails; unknown fields, which have no form, are left out."""
    return _EVENT.write(event)


def event_from_json(value: object) -> Event:
    """The event of a decoded JSON object, in the OpenAPI form, protobuf's, or a mixture; also inside `{"event": …}`.

    Raises `ValidationError` with the path of everything that is wrong. Whether the event may be stored (a tenant, a type) is
    not asked here.
    """
    try:
        return _read_event(value)
    except JsonMismatch as mismatch:
        raise ValidationError(mismatch.violations()) from None


def event_from_text(body: bytes) -> Event | JsonProblem:
    """The event of a whole text, or what is wrong with it. Raises `InvalidRequestError` if the text is no JSON.

    Text of more than `EVENT_TEXT_BYTES_MAX` bytes is not read.
    """
    return _event_or_problem(body.removeprefix(codecs.BOM_UTF8).strip(b" \t\r\n"))


def batch_from_text(body: bytes, *, events_max: int = BATCH_EVENTS_MAX) -> JsonBatch:
    """The events of `{"batch_id": …, "events": […]}`, also inside `{"event_batch": …}`; each is read on its own.

    Raises `InvalidRequestError` if the text is no JSON, or what stands beside the events is wrong; `RequestTooLargeError`
    above `events_max` events.
    """
    return _BatchReader(body, events_max).read()


def is_json(raw: bytes) -> bool:
    """Whether kept bytes are the JSON text of an event (`JsonProblem.raw`) and no serialised `Event`.

    No white space is skipped: a serialised event begins with the byte of a line feed, the tag of `event_id`.
    """
    return raw.startswith(b"{")


def batch_to_openapi(batch: EventBatch) -> dict[str, object]:
    """The batch in the public form; `events` is always there."""
    return {"events": [], **form_of(EventBatch.DESCRIPTOR).write(batch)}


def query_request_from_text(body: bytes) -> QueryRequest:
    """The request of a whole text. Raises `InvalidRequestError`."""
    return query_request_from_json(parse_json(body))


def query_request_from_json(value: object) -> QueryRequest:
    """The request of a decoded object, also inside `{"query": …}`. Nothing in it is required. Raises `InvalidRequestError`."""
    return _read(QueryRequest(), _unwrapped(value, "query"))


def query_request_to_openapi(request: QueryRequest) -> dict[str, object]:
    """The request in the public form; `filter` is always there."""
    return {"filter": {}, **form_of(QueryRequest.DESCRIPTOR).write(request)}


def page_to_openapi(events: Iterable[Event], next_page_token: str, total_count: int | None = None) -> dict[str, object]:
    """An answer to a query: events, token and `has_more` always, `total_count` (a number) when it is not None."""
    page: dict[str, object] = {
        "events": [_EVENT.write(event) for event in events],
        "next_page_token": next_page_token,
        "has_more": bool(next_page_token),
    }
    if total_count is not None:
        page["total_count"] = total_count
    return page


def query_response_to_openapi(response: QueryResponse) -> dict[str, object]:
    """`page_to_openapi` of the message. It can not tell a total of 0 from one that was not asked for: 0 is left out."""
    return page_to_openapi(response.events, response.next_page_token, getattr(response, "total_count", 0) or None)


def query_response_from_json(value: object) -> QueryResponse:
    """For clients: the message of an answer. Raises `InvalidRequestError`."""
    return _read(QueryResponse(), _unwrapped(value, "response"))


def capabilities_to_openapi(capabilities: Capabilities) -> dict[str, object]:
    """Every capability that the message declares, those that the server does not have included."""
    return {field.name: getattr(capabilities, field.name) for field in Capabilities.DESCRIPTOR.fields}


def capabilities_from_json(value: object) -> Capabilities:
    """For clients: the message of an answer. Raises `InvalidRequestError`."""
    return _read(Capabilities(), _unwrapped(value, "capabilities"))


def stats_to_openapi(stats: GetEventStatsResponse) -> dict[str, object]:
    """All four figures, also zeros. The keys of `events_by_type` are full names (`EVENT_TYPE_SESSION_START`)."""
    empty: dict[str, object] = {"total_events": 0, "total_sessions": 0, "events_by_type": {}, "avg_session_duration_ms": 0}
    return empty | form_of(GetEventStatsResponse.DESCRIPTOR).write(stats)


def stats_from_json(value: object) -> GetEventStatsResponse:
    """For clients: the message of an answer. Raises `InvalidRequestError`."""
    return _read(GetEventStatsResponse(), value)


def _read_event(value: object) -> Event:
    event = Event()
    _EVENT.fill(event, _unwrapped(value, "event"))
    return event


def _read(message: _M, value: object) -> _M:
    try:
        # So that events inside an answer stand at level 0, as they do everywhere.
        form_of(message.DESCRIPTOR).fill(message, value, level=-1)
    except JsonMismatch as mismatch:
        raise _invalid_request(mismatch) from None
    return message


def _unwrapped(value: object, *names: str) -> object:
    """Protobuf's JSON of a request holds the message under one key; the public form is the message itself."""
    if isinstance(value, dict) and len(value) == 1 and (name := next(iter(value))) in names:
        return value[name]
    return value


def _invalid_request(mismatch: JsonMismatch, path: str = "") -> InvalidRequestError:
    first, *others = mismatch.violations(path, root="")
    return InvalidRequestError(first.field, "; ".join([first.message, *map(str, others)]))


def _event_or_problem(text: bytes, path: str = "") -> Event | JsonProblem:
    if len(text) > EVENT_TEXT_BYTES_MAX:
        return JsonProblem(
            text, (Violation(path or "event", f"has {len(text)} bytes of JSON; at most {EVENT_TEXT_BYTES_MAX} are read"),)
        )
    value = parse_json(text)
    try:
        return _read_event(value)
    except JsonMismatch as mismatch:
        event_id, tenant_id, project_id = _ids(value)
        return JsonProblem(text, mismatch.violations(path), event_id, tenant_id, project_id)


def _ids(value: object) -> tuple[str, ...]:
    """Event, tenant and project of an event that can not be read, as far as they can be."""
    members = _unwrapped(value.partial if isinstance(value, Unusable) else value, "event")
    if not isinstance(members, dict):
        return "", "", ""
    return tuple(
        _id(members, *names) for names in (("event_id", "eventId"), ("tenant_id", "tenantId"), ("project_id", "projectId"))
    )


def _id(members: dict[str, object], *names: str) -> str:
    text = next((members[name] for name in names if name in members), "")
    if not isinstance(text, str) or len(text) > _ID_CHARACTERS_MAX:
        return ""
    return text.encode("utf-8", "replace").decode()


class _BatchReader:
    """Walks the structure of a batch: finds where each event stands and reads what stands beside them."""

    def __init__(self, body: bytes, events_max: int) -> None:
        self._body = body
        self._events_max = events_max
        self._text = JsonText(body)
        self._members: dict[str, object] = {}
        self._outer = ""
        self._spans: list[tuple[int, int]] = []

    def read(self) -> JsonBatch:
        self._text.expect_end(self._object(self._text.start, self._outer_member))
        batch = EventBatch()
        try:
            form_of(EventBatch.DESCRIPTOR).fill(batch, self._members, level=-1)
        except JsonMismatch as mismatch:
            raise _invalid_request(mismatch, self._outer) from None
        if "events" not in self._members:
            raise InvalidRequestError(self._path("events"), "is required; a single event belongs to /v1/events")
        return JsonBatch(batch.batch_id, self._body, self._spans, self._path("events"))

    def _path(self, key: str) -> str:
        return f"{self._outer}.{key}" if self._outer else key

    def _object(self, position: int, take: Callable[[str, int], int]) -> int:
        if self._text.at(position) != "{":
            end, _ = self._text.skip(position)
            kind = describe(parse_json(self._body[position:end]))
            raise InvalidRequestError(self._outer, f"expected a batch as an object, got {kind}")
        return self._text.members(position, take)

    def _outer_member(self, key: str, position: int) -> int:
        if key not in ("event_batch", "eventBatch") or self._outer:
            if self._outer:
                raise InvalidRequestError(key, f"unknown key beside {self._outer}")
            return self._member(key, position)
        if self._members:
            raise InvalidRequestError(key, "a batch stands either inside event_batch or beside nothing of that name")
        self._outer = key
        return self._object(position, self._member)

    def _member(self, key: str, position: int) -> int:
        if key in self._members:
            raise InvalidRequestError(self._path(key), "stands twice")
        if key == "events" and self._text.at(position) == "[":
            self._members[key] = None
            return self._text.elements(position, self._event)
        end, following = self._text.skip(position)
        self._members[key] = parse_json(self._body[position:end])
        return following

    def _event(self, position: int) -> int:
        end, following = self._text.skip(position)
        if len(self._spans) == self._events_max:
            raise too_many_events(self._events_max)
        self._spans.append((position, end))
        return following
