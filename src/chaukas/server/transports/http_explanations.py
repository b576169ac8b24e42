"""The routes about sessions and their explanations. One Starlette endpoint each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.errors import InvalidRequestError
from chaukas.server.explain.rendering.forms import AnswerForm, Rendered
from chaukas.server.operations.explanations import Subject, get_explanation, get_session
from chaukas.server.operations.services import Services
from chaukas.server.operations.sessions import SessionQuestion, list_sessions
from chaukas.server.operations.whys import get_why
from chaukas.server.transports.http_exchange import JSON_TYPE, Exchange
from chaukas.server.transports.http_parameters import parameters, whole_number
from chaukas.server.transports.session_answers import session_values
from chaukas.server.wire.json_form import json_bytes

__all__ = ["ExplanationRoutes"]

_SUBJECT: Final = ("tenant_id", "project_id", "session_id", "trace_id", "event_id")
#: Media types of `Accept` and the form that each asks for; the first of the header that is known decides.
_ACCEPTED: Final = {
    "application/json": AnswerForm.JSON,
    "text/markdown": AnswerForm.MARKDOWN,
    "text/vnd.mermaid": AnswerForm.MERMAID,
    "text/plain": AnswerForm.TEXT,
}

_Operation = Callable[[Services, Principal, Subject, AnswerForm], Awaitable[Rendered]]


class ExplanationRoutes:
    """Sessions, their structure, their explanation, and why an event happened."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def sessions(self, request: Request, _exchange: Exchange) -> Response:
        """One page of sessions, newest first; `Link` leads to the next one (RFC 8288)."""
        given = parameters(request, "tenant_id", "project_id", "page_size", "page_token")
        size = whole_number("page_size", given["page_size"]) if "page_size" in given else 0
        question = SessionQuestion(given.get("tenant_id", ""), given.get("project_id", ""), size, given.get("page_token", ""))
        listing = await list_sessions(self._services, ANONYMOUS, question)
        values = {
            "sessions": [session_values(row) for row in listing.sessions],
            "next_page_token": listing.next_page_token,
            "has_more": bool(listing.next_page_token),
        }
        response = Response(json_bytes(values), media_type=JSON_TYPE.decode())
        if listing.next_page_token:
            rest = [item for item in given.multi_items() if item[0] != "page_token"]
            following = urlencode([*rest, ("page_token", listing.next_page_token)])
            response.headers["link"] = f'<{request.url.path}?{following}>; rel="next"'
        return response

    async def session(self, request: Request, _exchange: Exchange) -> Response:
        """Runs and steps."""
        return await self._answer(request, get_session)

    async def explanation(self, request: Request, _exchange: Exchange) -> Response:
        """The whole explanation."""
        return await self._answer(request, get_explanation)

    async def why(self, request: Request, _exchange: Exchange) -> Response:
        """What led to an event, and what it led to."""
        given = parameters(request, "tenant_id", "project_id", "event_id", "format", required="event_id")
        return _response(await get_why(self._services, ANONYMOUS, _subject(given), _form(request, given)))

    async def _answer(self, request: Request, operation: _Operation) -> Response:
        given = parameters(request, *_SUBJECT, "format")
        return _response(await operation(self._services, ANONYMOUS, _subject(given), _form(request, given)))


def _subject(given: QueryParams) -> Subject:
    return Subject(**{name: given.get(name, "") for name in _SUBJECT})


def _form(request: Request, given: QueryParams) -> AnswerForm:
    """By the parameter `format`, else by `Accept`, else JSON."""
    if "format" in given:
        try:
            return AnswerForm(given["format"])
        except ValueError:
            raise InvalidRequestError("format", f"{given['format'][:40]!r} is not one of {', '.join(AnswerForm)}") from None
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return next((_ACCEPTED[kind] for kind in accepted if kind in _ACCEPTED), AnswerForm.JSON)


def _response(answer: Rendered) -> Response:
    # What a record holds was written by others: a browser must not look for HTML in it.
    return Response(
        answer.text,
        media_type=answer.form.media_type,
        headers={"x-content-type-options": "nosniff", "vary": "accept"},
    )
