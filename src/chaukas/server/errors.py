"""One tree of errors for the whole server, and the one table that translates it at the edge.

An error carries a *public message* (safe to show to any caller) apart from its cause (`__cause__`, for the log only), and
says whether the same request may succeed later (`retryable`). Transports never invent a status: they ask `status_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AmbiguousError",
    "CannotServeError",
    "ChaukasError",
    "ConfigurationError",
    "InvalidRequestError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "RequestTooLargeError",
    "ShuttingDownError",
    "Status",
    "StorageError",
    "TooManyEventsError",
    "UnauthenticatedError",
    "ValidationError",
    "Violation",
    "status_of",
]


class ChaukasError(Exception):
    """The root. `public_message` is what a caller may read; `str(error)` is the same text."""

    retryable: ClassVar[bool] = False

    def __init__(self, public_message: str) -> None:
        super().__init__(public_message)
        self.public_message = public_message


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of one event: the field by its path in the contract, and a sentence naming the limit."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ValidationError(ChaukasError):
    """An event breaks one or more rules; all of them are named. Permanent for these bytes."""

    def __init__(self, problem: str | Sequence[Violation]) -> None:
        self.violations: tuple[Violation, ...] = () if isinstance(problem, str) else tuple(problem)
        super().__init__(problem if isinstance(problem, str) else "; ".join(map(str, problem)))


class InvalidRequestError(ChaukasError):
    """The request itself (not an event in it) is wrong: `field` names where, the message what and which limit."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class StorageError(ChaukasError):
    """The store failed. Nothing that was not acknowledged may be taken as stored; the same request may be sent again."""

    retryable = True

    def __init__(self, public_message: str = "the event store failed; nothing of this request was acknowledged") -> None:
        super().__init__(public_message)


class OverloadedError(ChaukasError):
    """A bounded queue or the quarantine is full. Nothing was acknowledged; send again later."""

    retryable = True


class RequestTooLargeError(ChaukasError):
    """The request is larger than the server takes in one piece; halves of it may fit."""

    retryable = True


class ShuttingDownError(ChaukasError):
    """The server is draining and takes no new work."""

    retryable = True

    def __init__(self, public_message: str = "the server is shutting down") -> None:
        super().__init__(public_message)


class NotFoundError(ChaukasError):
    """The named thing does not exist, or not within the caller's scope."""


class AmbiguousError(ChaukasError):
    """An id stands for several things within the caller's scope; `candidates` are their tenants and projects."""

    def __init__(self, public_message: str, candidates: Sequence[tuple[str, str]]) -> None:
        self.candidates = tuple(candidates)
        named = ", ".join(f"{tenant!r}/{project!r}" for tenant, project in self.candidates)
        super().__init__(f"{public_message}: {named}")


class TooManyEventsError(ChaukasError):
    """What is asked for would be computed over more events than the server takes at once; the message names the setting."""


class UnauthenticatedError(ChaukasError):
    """No valid credentials."""


class PermissionDeniedError(ChaukasError):
    """Valid credentials without the right."""


class ConfigurationError(ChaukasError):
    """A setting is missing, contradictory or unsafe; the server refuses to start."""


class CannotServeError(ChaukasError):
    """The data directory cannot be served by this process (locked, unknown format, read-only, another server's)."""


@dataclass(frozen=True, slots=True)
class Status:
    """How an error looks on the wire: gRPC status code name (google.rpc.Code), HTTP status (RFC 9110), public message."""

    grpc: str
    http: int
    title: str
    message: str
    retryable: bool


_TABLE: tuple[tuple[type[ChaukasError], str, int, str], ...] = (
    (ValidationError, "INVALID_ARGUMENT", 422, "The event is invalid"),
    (InvalidRequestError, "INVALID_ARGUMENT", 400, "The request is invalid"),
    (RequestTooLargeError, "RESOURCE_EXHAUSTED", 503, "The request is too large"),
    (OverloadedError, "RESOURCE_EXHAUSTED", 503, "The server is overloaded"),
    (ShuttingDownError, "UNAVAILABLE", 503, "The server is shutting down"),
    (NotFoundError, "NOT_FOUND", 404, "Not found"),
    (AmbiguousError, "INVALID_ARGUMENT", 409, "The id is ambiguous"),
    (TooManyEventsError, "INVALID_ARGUMENT", 422, "Too many events"),
    (UnauthenticatedError, "UNAUTHENTICATED", 401, "Not authenticated"),
    (PermissionDeniedError, "PERMISSION_DENIED", 403, "Not allowed"),
    (StorageError, "INTERNAL", 500, "The event store failed"),
    (ConfigurationError, "FAILED_PRECONDITION", 500, "The server is misconfigured"),
    (CannotServeError, "FAILED_PRECONDITION", 500, "The data directory cannot be served"),
)


def status_of(error: BaseException) -> Status:
    """The status of any exception: the first matching row of the table; UNKNOWN/500 with a neutral message otherwise."""
    if isinstance(error, ChaukasError):
        for kind, grpc_code, http_status, title in _TABLE:
            if isinstance(error, kind):
                return Status(grpc_code, http_status, title, error.public_message, error.retryable)
    return Status("UNKNOWN", 500, "Unexpected error", "an unexpected error occurred; see the server's log", False)
