"""One HTTP request on its way, and the answers that every route can give: bytes, or a problem (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final

import anyio
from starlette.types import Receive, Scope, Send

from chaukas.server.errors import (
    AmbiguousError,
    ChaukasError,
    InvalidRequestError,
    RequestTooLargeError,
    ShuttingDownError,
    ValidationError,
    Violation,
    status_of,
)
from chaukas.server.telemetry import request_id_of
from chaukas.server.transports.http_protocol import has_left
from chaukas.server.wire.json_form import json_bytes

__all__ = [
    "JSON_TYPE",
    "PROTOBUF_TYPE",
    "Exchange",
    "Form",
    "HttpError",
    "Problem",
    "form_of_answer",
    "form_of_body",
    "problem_of",
]

JSON_TYPE: Final = b"application/json"
PROTOBUF_TYPE: Final = b"application/x-protobuf"
_PROBLEM_TYPE: Final = b"application/problem+json"
_PROTOBUF_TYPES = frozenset({"application/x-protobuf", "application/protobuf", "application/octet-stream"})
#: What the published SDK looks for in a 503 before it sends halves.
_SPLIT_WORDS = "high memory usage"
_RETRY_AFTER_S = {True: b"5", False: b"1"}

Headers = Sequence[tuple[bytes, bytes]]


class Form(Enum):
    """How a body is written."""

    JSON = "json"
    PROTOBUF = "protobuf"


class HttpError(Exception):
    """A refusal that only HTTP knows: method, media type, encoding, waiting time."""

    def __init__(self, status: int, title: str, detail: str, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers


class Problem:
    """An error as it is answered."""

    __slots__ = ("detail", "headers", "members", "status")

    def __init__(
        self, status: int, title: str, detail: str, headers: Headers = (), members: Mapping[str, object] | None = None
    ) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = {"type": "about:blank", "title": title, "status": status, "detail": detail, **(members or {})}


class Exchange:
    """The ASGI triple of a request, with what is known about it."""

    __slots__ = (
        "_headers",
        "answer_bytes",
        "held_bytes",
        "method",
        "path",
        "receive",
        "request_id",
        "scope",
        "send",
        "splits",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_id_of(self.header(b"x-request-id"))
        #: Whether the caller is an SDK that sends halves when it is told so in its own words.
        self.splits = False
        #: Taken from the admission budget; to be given back when the request is answered.
        self.held_bytes = 0
        #: Taken from the budget of answers; to be given back when this one is sent.
        self.answer_bytes = 0
        self.status = 0
        #: Whether an answer has begun.
        self.started = False

    def header(self, name: bytes) -> str | None:
        """The value of a request header, its name in lower case; the last one if it stands several times."""
        value = self._headers.get(name)
        return value.decode("latin-1") if value is not None else None

    async def is_gone(self) -> bool:
        """Whether the caller has left; its body must have been read."""
        if has_left(self.scope):
            return True
        with anyio.CancelScope() as scope:
            # The question is whether there is a message now, not when there will be one.
            scope.cancel()
            return bool((await self.receive())["type"] == "http.disconnect")
        return False

    async def answer(self, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
        """Send the whole answer."""
        self.status, self.started = status, True
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content_type),
                    (b"content-length", b"%d" % len(body)),
                    (b"x-request-id", self.request_id.encode("ascii")),
                    *headers,
                ],
            }
        )
        await self.send({"type": "http.response.body", "body": body})

    async def answer_json(self, status: int, value: object) -> None:
        """Send a JSON body."""
        await self.answer(status, JSON_TYPE, json_bytes(value))

    async def answer_problem(self, problem: Problem) -> None:
        """Send an error."""
        body = json_bytes({**problem.members, "request_id": self.request_id})
        await self.answer(problem.status, _PROBLEM_TYPE, body, problem.headers)


def form_of_body(content_type: str | None) -> Form:
    """How the body is written. Raises `HttpError` 415."""
    media_type, _, parameters = (content_type or "").partition(";")
    media_type = media_type.strip().lower()
    if media_type in _PROTOBUF_TYPES:
        return Form.PROTOBUF
    if media_type == "application/json":
        charset = _parameter(parameters, "charset")
        if charset in ("", "utf-8", "utf8"):
            return Form.JSON
        raise HttpError(415, "Unsupported media type", f"JSON must be UTF-8, not {charset[:40]!r}")
    given = f"{media_type[:100]!r} is not" if media_type else "the request has no Content-Type; it must be"
    raise HttpError(
        415,
        "Unsupported media type",
        f"Content-Type: {given} application/x-protobuf or application/json",
        ((b"accept-post", _ACCEPT_POST),),
    )


_ACCEPT_POST = b"application/x-protobuf, application/json"


def form_of_answer(accept: str | None) -> Form:
    """Protobuf when `Accept` names it and does not prefer JSON (RFC 9110 §12.5.1); JSON otherwise, whatever it says."""
    if accept is None or ("protobuf" not in accept and "octet-stream" not in accept):
        return Form.JSON
    weights = {Form.JSON: 0.0, Form.PROTOBUF: 0.0}
    for part in accept.lower().split(","):
        media_type, _, parameters = part.partition(";")
        media_type = media_type.strip()
        form = Form.PROTOBUF if media_type in _PROTOBUF_TYPES else Form.JSON if media_type == "application/json" else None
        if form is not None:
            weights[form] = max(weights[form], _weight(_parameter(parameters, "q")))
    return Form.PROTOBUF if weights[Form.PROTOBUF] > weights[Form.JSON] else Form.JSON


def problem_of(error: Exception, *, splits: bool) -> Problem:
    """Any error as a problem: from the one table for the server's own, as it is for those of HTTP.

    `splits` tells whether the caller understands the words that make it send halves (`Exchange.splits`).
    """
    if isinstance(error, HttpError):
        return Problem(error.status, error.title, error.detail, error.headers)
    status = status_of(error)
    members = _members(error)
    headers: Headers = ()
    http_status, detail = status.http, status.message
    if isinstance(error, RequestTooLargeError):
        # The SDK understands only these words with this status; everybody else understands 413.
        if not splits:
            http_status = 413
        elif _SPLIT_WORDS not in detail:
            detail = f"{_SPLIT_WORDS}: {detail}"
    if http_status == 503:
        headers = ((b"retry-after", _RETRY_AFTER_S[isinstance(error, ShuttingDownError)]),)
    if isinstance(error, ChaukasError):
        members["retryable"] = status.retryable
    return Problem(http_status, status.title, detail, headers, members)


def _members(error: Exception) -> dict[str, object]:
    """What an error names beside its sentence."""
    if isinstance(error, ValidationError):
        return {"violations": _violations(error.violations)}
    if isinstance(error, InvalidRequestError) and error.field:
        message = error.public_message.removeprefix(f"{error.field}: ")
        return {"violations": [{"field": error.field, "message": message}]}
    if isinstance(error, AmbiguousError):
        return {"candidates": [{"tenant_id": tenant, "project_id": project} for tenant, project in error.candidates]}
    return {}


def _violations(violations: Iterable[Violation]) -> list[dict[str, str]]:
    return [{"field": violation.field, "message": violation.message} for violation in violations]


def _parameter(parameters: str, name: str) -> str:
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"').lower()
    return ""


def _weight(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text))) if text else 1.0
    except ValueError:
        return 0.0
