"""Query parameters: each known by name, the single ones given once, and filters of events as the contract's messages."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.datastructures import QueryParams
from starlette.requests import Request

from chaukas.server.errors import InvalidRequestError
from chaukas.server.wire.json_form import query_request_from_json
from chaukas.spec.common.v1.query_pb2 import QueryRequest

__all__ = ["FILTER_PARAMETERS", "PAGE_PARAMETERS", "named_as_parameters", "parameters", "query_of", "read_time", "whole_number"]

_IDS: Final = ("tenant_id", "project_id", "session_id", "agent_id", "span_id", "trace_id")
#: Parameters that may be repeated, and the field of the filter that they fill. Names of enums may also stand side by side, with
#: commas; a tag may hold a comma itself.
_LISTS: Final[Mapping[str, str]] = {"type": "types", "status": "statuses", "severity": "severities", "tag": "tags"}
_ENUMS: Final = frozenset({"type", "status", "severity"})
#: What a filter without a range of time consists of.
FILTER_PARAMETERS: Final = (*_IDS, *_LISTS, "text_query")
#: What a page consists of besides.
PAGE_PARAMETERS: Final = ("start", "end", "page_size", "page_token", "order", "include_total")

_NUMBER: Final = re.compile(r"-?[0-9]{1,10}")
_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}
_ORDERS: Final = {"asc": "ASC", "desc": "DESC"}
#: The contract's names of what a parameter fills, where they differ.
_FIELDS: Final[Mapping[str, str]] = {
    **{f"filter.{field}": name for name, field in _LISTS.items()},
    "filter.time.start": "start",
    "filter.time.end": "end",
    "filter.time": "start",
    "order_by_time": "order",
}


def parameters(request: Request, *known: str, required: str = "", repeatable: Sequence[str] = ()) -> QueryParams:
    """The query parameters. Unknown ones are refused: a filter with a slip of the pen must not widen the question.

    Raises `InvalidRequestError` naming the parameter.
    """
    given = request.query_params
    for name in given:
        if name not in known:
            raise InvalidRequestError(name[:100], f"is not a parameter of this route; it knows {', '.join(known) or 'none'}")
        if name not in repeatable and len(given.getlist(name)) > 1:
            raise InvalidRequestError(name, "is given more than once")
    if required and not given.get(required):
        raise InvalidRequestError(required, "is required")
    return given


def query_of(request: Request, *others: str) -> tuple[QueryRequest, QueryParams]:
    """The query that the filter's parameters and the named others ask for, and all parameters.

    Raises `InvalidRequestError` naming the parameter.
    """
    given = parameters(request, *FILTER_PARAMETERS, *others, repeatable=tuple(_LISTS))
    wanted: dict[str, object] = {name: given[name] for name in (*_IDS, "text_query") if name in given}
    for name, field in _LISTS.items():
        if name in given:
            wanted[field] = [_enum(name, each) for each in _each(given.getlist(name))] if name in _ENUMS else given.getlist(name)
    asked: dict[str, object] = {"filter": wanted}
    if "page_size" in given:
        asked["page_size"] = whole_number("page_size", given["page_size"])
    if "page_token" in given:
        asked["page_token"] = given["page_token"]
    if "order" in given:
        asked["order_by_time"] = _word("order", given["order"], _ORDERS)
    if "include_total" in given:
        asked["include_total"] = _word("include_total", given["include_total"], _TRUTHS)
    with named_as_parameters():
        query = query_request_from_json(asked)
    for name in ("start", "end"):
        if name in given:
            read_time(name, given[name], getattr(query.filter.time, name))
    return query, given


@contextlib.contextmanager
def named_as_parameters() -> Iterator[None]:
    """An error within the block that names a field of the contract names the parameter that fills it."""
    try:
        yield
    except InvalidRequestError as error:
        message = error.public_message.removeprefix(f"{error.field}: ")
        field = re.sub(r"\[[0-9]+\]$", "", error.field)
        raise InvalidRequestError(_FIELDS.get(field, field.removeprefix("filter.")), message) from error


def whole_number(name: str, text: str) -> int:
    """A number of at most ten digits. Raises `InvalidRequestError`."""
    if not _NUMBER.fullmatch(text):
        raise InvalidRequestError(name, f"{text[:40]!r} is not a whole number")
    return int(text)


def read_time(name: str, text: str, time: Timestamp) -> None:
    """Set a time from RFC 3339. Raises `InvalidRequestError`."""
    try:
        # A plus sign that was not escaped arrives as a blank.
        time.FromJsonString(text.replace(" ", "+"))
    except ValueError as error:
        raise InvalidRequestError(name, f"{text[:60]!r} is not an RFC 3339 time such as 2026-01-31T12:00:00Z") from error


def _each(texts: Sequence[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",")]


def _enum(name: str, text: str) -> object:
    """The name or the number of an enum value, as the JSON form has it."""
    if not text:
        raise InvalidRequestError(name, "is empty; leave it out to ask for every value")
    return int(text) if _NUMBER.fullmatch(text) else text


def _word(name: str, text: str, words: Mapping[str, object]) -> object:
    found = words.get(text.lower().removeprefix("sort_order_"))
    if found is None:
        raise InvalidRequestError(name, f"{text[:40]!r} is not one of {', '.join(words)}")
    return found
