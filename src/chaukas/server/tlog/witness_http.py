"""One POST to a witness, with the standard library: bounded in time and size, TLS verified, no redirects.

docs/decisions tells why no client library: a submission is one small request every few seconds, in a thread of its own.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

__all__ = ["ANSWER_BYTES_MAX", "Answer", "UnreachableError", "check_url", "post"]

#: Cosignatures take some hundred bytes each; more than this is not read.
ANSWER_BYTES_MAX = 256 * 1024


class UnreachableError(Exception):
    """Nobody answered, or not in time, or not in HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with any status."""

    status: int
    content_type: str
    body: bytes


def check_url(url: str) -> str:
    """The URL without slashes at its end. Raises `ValueError` unless it is `http://` or `https://` with a host."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no http:// or https:// address of a witness")
    _ = parts.port  # Raises ValueError for a port that is none.
    return url.rstrip("/")


def post(url: str, body: bytes, timeout_s: float) -> Answer:
    """POST and read the answer, whatever its status. Raises `UnreachableError`. Blocks; proxies are those of the environment."""
    # Without a handler for redirects: where one leads to is nobody that the operator named.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "chaukas-witness-client"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  `check_url` has seen the scheme
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return Answer(response.status, response.headers.get("content-type", ""), response.read(ANSWER_BYTES_MAX + 1))
    except urllib.error.HTTPError as error:
        try:
            with error:
                return Answer(error.code, error.headers.get("content-type", ""), error.read(ANSWER_BYTES_MAX + 1))
        except (OSError, HTTPException) as cause:
            raise UnreachableError(str(cause)) from cause
    except urllib.error.URLError as error:
        raise UnreachableError(str(error.reason)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise UnreachableError(str(error) or type(error).__name__) from error
