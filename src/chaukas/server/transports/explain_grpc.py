"""`chaukas.explain.v1.ExplainService`: sessions and explanations over gRPC, from the operations to the contract's messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from chaukas.explain.v1 import explain_pb2
from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.errors import InvalidRequestError
from chaukas.server.explain.rendering.forms import AnswerForm, Rendered
from chaukas.server.framework.call import Context, rpc
from chaukas.server.operations.explanations import Subject, get_explanation, get_session
from chaukas.server.operations.services import Services
from chaukas.server.operations.sessions import SessionQuestion, list_sessions
from chaukas.server.operations.whys import get_why

__all__ = ["EXPLAIN_SERVICE", "ExplainServicer"]

EXPLAIN_SERVICE = explain_pb2.DESCRIPTOR.services_by_name["ExplainService"]
_FORMS: Final = {
    explain_pb2.ANSWER_FORMAT_UNSPECIFIED: AnswerForm.JSON,
    explain_pb2.ANSWER_FORMAT_JSON: AnswerForm.JSON,
    explain_pb2.ANSWER_FORMAT_MARKDOWN: AnswerForm.MARKDOWN,
    explain_pb2.ANSWER_FORMAT_MERMAID: AnswerForm.MERMAID,
    explain_pb2.ANSWER_FORMAT_TEXT: AnswerForm.TEXT,
}

_Request = explain_pb2.GetSessionRequest | explain_pb2.GetExplanationRequest | explain_pb2.GetWhyRequest
_Operation = Callable[[Services, Principal, Subject, AnswerForm], Awaitable[Rendered]]


class ExplainServicer:
    """The four RPCs under their names in the contract; an exception becomes the status of the call."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def ListSessions(  # noqa: N802
        self, request: explain_pb2.ListSessionsRequest, context: Context
    ) -> explain_pb2.ListSessionsResponse:
        """One page of sessions, newest first."""
        return await rpc(self._sessions, request, context, explain_pb2.ListSessionsResponse)

    async def GetSession(  # noqa: N802
        self, request: explain_pb2.GetSessionRequest, context: Context
    ) -> explain_pb2.GetSessionResponse:
        """Runs and steps."""
        return await rpc(self._session, request, context, explain_pb2.GetSessionResponse)

    async def GetExplanation(  # noqa: N802
        self, request: explain_pb2.GetExplanationRequest, context: Context
    ) -> explain_pb2.GetExplanationResponse:
        """The whole explanation."""
        return await rpc(self._explanation, request, context, explain_pb2.GetExplanationResponse)

    async def GetWhy(self, request: explain_pb2.GetWhyRequest, context: Context) -> explain_pb2.GetWhyResponse:  # noqa: N802
        """What led to an event, and what it led to."""
        return await rpc(self._why, request, context, explain_pb2.GetWhyResponse)

    async def _sessions(self, request: explain_pb2.ListSessionsRequest, _context: Context) -> explain_pb2.ListSessionsResponse:
        question = SessionQuestion(request.tenant_id, request.project_id, request.page_size, request.page_token)
        listing = await list_sessions(self._services, ANONYMOUS, question)
        response = explain_pb2.ListSessionsResponse(next_page_token=listing.next_page_token)
        for row in listing.sessions:
            response.sessions.add(
                tenant_id=row.tenant_id,
                project_id=row.project_id,
                session_id=row.place.session_id,
                events=row.events,
                first_time=_time(row.first_us),
                last_time=_time(row.place.last_us),
            )
        return response

    async def _session(self, request: explain_pb2.GetSessionRequest, _context: Context) -> explain_pb2.GetSessionResponse:
        return explain_pb2.GetSessionResponse(answer=await self._answer(get_session, request))

    async def _explanation(
        self, request: explain_pb2.GetExplanationRequest, _context: Context
    ) -> explain_pb2.GetExplanationResponse:
        return explain_pb2.GetExplanationResponse(answer=await self._answer(get_explanation, request))

    async def _why(self, request: explain_pb2.GetWhyRequest, _context: Context) -> explain_pb2.GetWhyResponse:
        return explain_pb2.GetWhyResponse(answer=await self._answer(get_why, request))

    async def _answer(self, operation: _Operation, request: _Request) -> explain_pb2.Answer:
        form = _FORMS.get(request.format)
        if form is None:
            raise InvalidRequestError("format", f"{request.format} is not a format that this server knows")
        wanted = request.subject
        subject = Subject(wanted.tenant_id, wanted.project_id, wanted.session_id, wanted.trace_id, wanted.event_id)
        answer = await operation(self._services, ANONYMOUS, subject, form)
        return explain_pb2.Answer(content_type=form.media_type, text=answer.text)


def _time(microseconds: int) -> Timestamp:
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)
