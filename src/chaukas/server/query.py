"""Questions about events: from the contract's `QueryRequest` to a page of answers.

The engine checks a request and names what is wrong with it, asks the store for one page, and turns stored events into
answers (DESIGN "Questions"). A cursor (`page_token`) carries the position behind which the next page begins, signed together
with the query and the caller's scope, so that it opens nothing but the rest of the same answer.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from chaukas.server.auth.principal import Principal
from chaukas.server.cursor import CURSOR_SECRET_BYTES, CursorSeal
from chaukas.server.errors import InvalidRequestError, PermissionDeniedError, StorageError
from chaukas.server.storage.contract import EventFilter, EventReader, PageRequest, Position, StoredEvent
from chaukas.server.text.expression import CHARS_MAX, CLAUSES_MAX, TextQuery
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryFilter, QueryRequest, QueryResponse, SortOrder, TimeRange

__all__ = [
    "CURSOR_SECRET_BYTES",
    "Answer",
    "QueryEngine",
    "QueryLimits",
    "answer_event",
    "binding_of",
    "filter_of",
    "scope_of",
    "time_range_ns",
]

#: 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: what a google.protobuf.Timestamp may hold.
_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799
_SESSION_ID_FIELD = 1000
_INCLUDE_TOTAL_FIELD = 1001
# The modules of the published client may lie over ours (wire.md "Who owns chaukas.spec"): then these fields do not exist.
_EVENT_HAS_SERVER_TIMESTAMP = "server_timestamp" in Event.DESCRIPTOR.fields_by_name
_REQUEST_HAS_ADDITIONS = "session_id" in QueryRequest.DESCRIPTOR.fields_by_name
_RESPONSE_HAS_ADDITIONS = "has_more" in QueryResponse.DESCRIPTOR.fields_by_name
#: Tag and length of one event in a QueryResponse, at most 4 bytes of length below 256 MiB.
_FRAME_BYTES = 5
#: timestamp_us, timestamp_sub_ns, log_id, index.
_CURSOR = struct.Struct(">qhqq")

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What a query may ask for."""

    page_events_default: int = 100
    page_events_max: int = 1000
    page_bytes_max: int = 3 * 1024 * 1024
    filter_values_max: int = 1000
    text_query_chars_max: int = CHARS_MAX
    text_clauses_max: int = CLAUSES_MAX


@dataclass(slots=True)
class Answer:
    """One page, with what the published messages have no place for."""

    events: list[Event]
    next_page_token: str
    #: Matches of the whole query; None when it was not asked for.
    total_count: int | None

    @property
    def has_more(self) -> bool:
        """Whether a further page exists."""
        return bool(self.next_page_token)

    def to_response(self) -> QueryResponse:
        """The contract's message; our additions are set where the message has them."""
        response = QueryResponse(events=self.events, next_page_token=self.next_page_token)
        if _RESPONSE_HAS_ADDITIONS:
            response.has_more = self.has_more
            response.total_count = self.total_count or 0
        return response


@dataclass(frozen=True, slots=True)
class _Question:
    filter: EventFilter
    descending: bool
    page_events: int
    page_token: str
    include_total: bool


def answer_event(stored: StoredEvent) -> Event:
    """The event as it is answered: the stored bytes, with the server's values in the integrity fields.

    Raises `StorageError` when the bytes are no event: they were checked before they were written, so the store is damaged.
    """
    try:
        event = Event.FromString(stored.stored)
    except DecodeError as error:
        raise StorageError(f"the stored event {stored.origin}#{stored.position.index} cannot be read") from error
    event.content_hash = hashlib.sha256(stored.stored).hexdigest()
    event.hash_prev = stored.leaf_hash_before.hex()
    event.worm_proof_id = f"{stored.origin}#{stored.position.index}"
    if _EVENT_HAS_SERVER_TIMESTAMP:
        event.server_timestamp.seconds, event.server_timestamp.nanos = divmod(stored.received_at_ns, 1_000_000_000)
    return event


def time_range_ns(field: str, time: TimeRange) -> tuple[int | None, int | None]:
    """Both ends of a half-open range in nanoseconds since 1970, None where an end is not set.

    An empty range (both ends equal) is a question with an empty answer; one that runs backwards is a mistake and raises
    `InvalidRequestError`, as does an end outside the years 1 to 9999.
    """
    start = _time_ns(f"{field}.start", time.start) if time.HasField("start") else None
    end = _time_ns(f"{field}.end", time.end) if time.HasField("end") else None
    if start is not None and end is not None and start > end:
        raise InvalidRequestError(field, "start is after end")
    return start, end


def scope_of(principal: Principal, tenant_id: str, project_id: str, field: str) -> tuple[str | None, str | None]:
    """Tenant and project to look at, None for any: what was asked for within what the caller may see.

    Raises `PermissionDeniedError` when the caller is bound to another tenant or project.
    """
    tenant, project = tenant_id or None, project_id or None
    if principal.tenant_id is not None:
        if tenant is not None and tenant != principal.tenant_id:
            raise PermissionDeniedError(f"{field}tenant_id: the caller may read another tenant only")
        tenant = principal.tenant_id
    if principal.project_id is not None:
        if project is not None and project != principal.project_id:
            raise PermissionDeniedError(f"{field}project_id: the caller may read another project only")
        project = principal.project_id
    return tenant, project


def filter_of(wanted: QueryFilter, principal: Principal, limits: QueryLimits, session_id: str = "") -> EventFilter:
    """The filter within the caller's scope; `session_id` stands for the one that `wanted` may lack.

    Raises `InvalidRequestError` naming the wrong field, `PermissionDeniedError` for a foreign tenant or project.
    """
    tenant_id, project_id = scope_of(principal, wanted.tenant_id, wanted.project_id, "filter.")
    start_ns, end_ns = time_range_ns("filter.time", wanted.time)
    return EventFilter(
        tenant_id=tenant_id,
        project_id=project_id,
        session_id=wanted.session_id or session_id or None,
        agent_id=wanted.agent_id or None,
        span_id=wanted.span_id or None,
        trace_id=wanted.trace_id or None,
        types=frozenset(_few("filter.types", wanted.types, limits)),
        statuses=frozenset(_few("filter.statuses", wanted.statuses, limits)),
        severities=frozenset(_few("filter.severities", wanted.severities, limits)),
        tags=frozenset(_few("filter.tags", wanted.tags, limits)),
        start_ns=start_ns,
        end_ns=end_ns,
        text=_text(wanted.text_query, limits),
    )


def _text(text_query: str, limits: QueryLimits) -> TextQuery | None:
    if not text_query:
        return None
    return TextQuery.parse(text_query, chars_max=limits.text_query_chars_max, clauses_max=limits.text_clauses_max)


def _few(field: str, values: Sequence[_Value], limits: QueryLimits) -> Sequence[_Value]:
    if len(values) > limits.filter_values_max:
        raise InvalidRequestError(field, f"{len(values)} values; at most {limits.filter_values_max} are allowed")
    return values


class QueryEngine:
    """Answers `QueryEvents` from any `EventReader`."""

    def __init__(self, reader: EventReader, cursor_secret: bytes, limits: QueryLimits | None = None) -> None:
        self._reader = reader
        self._seal = CursorSeal(cursor_secret, "page")
        self._limits = limits or QueryLimits()

    async def query(self, request: QueryRequest, principal: Principal) -> Answer:
        """One page.

        Raises `InvalidRequestError` naming the wrong field and its limit, `PermissionDeniedError` for a foreign tenant or
        project, `StorageError` when the store fails.
        """
        question = self._check(request, principal)
        binding = binding_of(question.filter, principal, question.descending)
        after = self._open_cursor(question.page_token, binding) if question.page_token else None
        page = await self._reader.query(
            PageRequest(question.filter, question.page_events, self._limits.page_bytes_max, question.descending, after)
        )
        events = self._within_page_bytes(page.events)
        more = page.more or len(events) < len(page.events)
        # A page is never empty when more follows, so there is a last event whose position the cursor can take.
        token = self._sign_cursor(page.events[len(events) - 1].position, binding) if more and events else ""
        total: int | None = None
        if question.include_total:
            whole = after is None and not token
            total = len(events) if whole else await self._reader.count(question.filter)
        return Answer(events, token, total)

    def _within_page_bytes(self, stored: Sequence[StoredEvent]) -> list[Event]:
        """The answers that fit on the page, the first one always: the fields that are added count too."""
        events: list[Event] = []
        size = 0
        for each in stored:
            event = answer_event(each)
            size += event.ByteSize() + _FRAME_BYTES
            if events and size > self._limits.page_bytes_max:
                break
            events.append(event)
        return events

    def _check(self, request: QueryRequest, principal: Principal) -> _Question:
        limits, wanted = self._limits, request.filter
        session_id, include_total = _additions(request)
        if session_id and wanted.session_id and session_id != wanted.session_id:
            raise InvalidRequestError("session_id", "differs from filter.session_id; set one of them, or both alike")
        if not 0 <= request.page_size <= limits.page_events_max:
            raise InvalidRequestError(
                "page_size",
                f"{request.page_size} is not between 0 and {limits.page_events_max} (0 means {limits.page_events_default})",
            )
        if request.order_by_time not in (
            SortOrder.SORT_ORDER_UNSPECIFIED,
            SortOrder.SORT_ORDER_ASC,
            SortOrder.SORT_ORDER_DESC,
        ):
            raise InvalidRequestError("order_by_time", f"{request.order_by_time} is not an order that this server knows")
        return _Question(
            filter=self.filter_of(wanted, principal, session_id),
            descending=request.order_by_time != SortOrder.SORT_ORDER_ASC,
            page_events=request.page_size or limits.page_events_default,
            page_token=request.page_token,
            include_total=include_total,
        )

    def filter_of(self, wanted: QueryFilter, principal: Principal, session_id: str = "") -> EventFilter:
        """See the function `filter_of`, with the limits of this engine."""
        return filter_of(wanted, principal, self._limits, session_id)

    def _sign_cursor(self, position: Position, binding: bytes) -> str:
        payload = _CURSOR.pack(position.timestamp_us, position.timestamp_sub_ns, position.log_id, position.index)
        return self._seal.token(payload, binding)

    def _open_cursor(self, token: str, binding: bytes) -> Position:
        payload = self._seal.payload(token, binding)
        if payload is None or len(payload) != _CURSOR.size:
            raise InvalidRequestError(
                "page_token",
                "is not a token of this query; send next_page_token as it was received, with the same filter and order",
            )
        return Position(*_CURSOR.unpack(payload))


def binding_of(wanted: EventFilter, principal: Principal, order: bool | None = None) -> bytes:
    """32 bytes that differ as soon as filter, order or the caller's scope differ; the page size may change between pages."""
    parts: list[object] = [
        [wanted.tenant_id, wanted.project_id, wanted.session_id, wanted.agent_id, wanted.span_id, wanted.trace_id],
        [_sorted(wanted.types), _sorted(wanted.statuses), _sorted(wanted.severities), sorted(wanted.tags)],
        [wanted.start_ns, wanted.end_ns, order, None if wanted.text is None else str(wanted.text)],
        [principal.tenant_id, principal.project_id],
    ]
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode("ascii")).digest()


def _sorted(numbers: Iterable[int]) -> list[int]:
    return sorted(int(number) for number in numbers)


def _time_ns(field: str, time: Timestamp) -> int:
    if not _SECONDS_MIN <= time.seconds <= _SECONDS_MAX or not 0 <= time.nanos <= 999_999_999:
        raise InvalidRequestError(field, "is not a time between the years 1 and 9999 with 0 to 999999999 nanoseconds")
    return time.seconds * 1_000_000_000 + time.nanos


def _additions(request: QueryRequest) -> tuple[str, bool]:
    """`session_id` and `include_total`.

    Where the installed message does not declare them they stand among its unknown fields: to ignore the first would widen
    the question to all sessions.
    """
    if _REQUEST_HAS_ADDITIONS:
        return request.session_id, request.include_total
    session_id, include_total = "", False
    unknown_fields = UnknownFieldSet(request)
    for unknown in (unknown_fields[index] for index in range(len(unknown_fields))):
        if unknown.field_number == _SESSION_ID_FIELD and isinstance(unknown.data, bytes):
            try:
                session_id = unknown.data.decode()
            except UnicodeDecodeError:
                raise InvalidRequestError("session_id", "is not UTF-8") from None
        elif unknown.field_number == _INCLUDE_TOTAL_FIELD:
            include_total = bool(unknown.data)
    return session_id, include_total
