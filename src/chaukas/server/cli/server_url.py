"""The address of a running server, and what its refusals and its silence mean."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from chaukas.server.cli.failure import CommandError
from chaukas.server.errors import (
    ChaukasError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RequestTooLargeError,
    StorageError,
    TooManyEventsError,
    UnauthenticatedError,
)

__all__ = ["ServerUrl", "reason_of"]

#: Marks a 503 that means "too large" (the published SDK sends halves then), not "too busy".
_SPLIT_WORDS: Final = "high memory usage"
_ERRORS: Final[dict[int, type[ChaukasError]]] = {
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: CommandError,
    422: TooManyEventsError,
}


class ServerUrl:
    """An HTTP address as users type it: with or without the `/v1` that their SDK wants."""

    def __init__(self, text: str) -> None:
        """Raises `CommandError` for what is no URL of a server."""
        parts = urlsplit(text)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.fragment:
            raise CommandError(f"--server: {text!r} is not a URL such as http://127.0.0.1:8080")
        self._text = text.rstrip("/")
        self._host: str = parts.hostname
        self._port = port
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        #: What stands before the path of every request.
        self.prefix = parts.path.rstrip("/").removesuffix("/v1")

    def __str__(self) -> str:
        return self._text

    def connection(self, timeout_s: float) -> HTTPConnection:
        """A connection that is opened by its first request."""
        return self._kind(self._host, self._port, timeout=timeout_s)

    def problem(self, status: int, body: bytes) -> ChaukasError:
        """What an answer that is no success means; `body` is the server's problem (RFC 9457)."""
        try:
            detail = str(json.loads(body)["detail"])
        except (ValueError, KeyError, TypeError):
            return CommandError(f"{self} answers with status {status}, but not as a Chaukas server; check --server")
        if status == 413 or (status == 503 and _SPLIT_WORDS in detail):
            return RequestTooLargeError(detail)
        if status == 503:
            return OverloadedError(f"the server at {self} takes no requests just now: {detail}")
        if status in _ERRORS:
            return _ERRORS[status](detail)
        if status >= 500:
            return StorageError(f"the server at {self} failed: {detail}")
        return InvalidRequestError("", detail)

    def foreign(self) -> CommandError:
        """For an answer that can not be read."""
        return CommandError(f"what {self} answers does not look like a Chaukas server; check --server")

    def unreachable(self, error: Exception, timeout_s: float) -> CommandError:
        """For an exchange that failed: an `OSError` or an `HTTPException`."""
        if isinstance(error, TimeoutError):
            return CommandError(f"the server at {self} did not answer within {timeout_s:g} s; try again when it has less to do")
        return CommandError(
            f"no server answers at {self} ({reason_of(error)}): start one with `chaukas serve`, name another with --server URL, "
            "or open a stopped server's directory with --data DIR"
        )


def reason_of(error: Exception) -> str:
    """Why an exchange failed, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
