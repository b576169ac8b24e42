"""A running server, over HTTP: binary protobuf where events travel, JSON elsewhere.

The client is the standard library's: one connection at a time is all that a command needs, and its import costs nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from chaukas.server.cli.line_result import LEFT_OUT, LineResult
from chaukas.server.cli.server_url import ServerUrl
from chaukas.server.cli.session_line import Asked, SessionLine
from chaukas.server.explain.rendering.forms import AnswerForm
from chaukas.server.operations.explained_events import Subject
from chaukas.server.storage.contract import IngestStatus, Outcome, QuarantineRow
from chaukas.server.wire.json_form import JsonProblem
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest, GetEventStatsResponse, IngestEventBatchRequest

__all__ = ["HttpConnection"]

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
#: Longer than a server holds a request that it has no room for, and than one page of any query takes.
_TIMEOUT_S: Final = 60.0
#: An answer is at most a page of 3 MiB, or one event that is larger and comes alone; this is many times that.
_ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024

_M = TypeVar("_M", bound=Message)
_T = TypeVar("_T")


class HttpConnection:
    """Implements `Connection`; calls the server when something is asked of it, and keeps the connection for the next time."""

    def __init__(self, server_url: str) -> None:
        self._server = ServerUrl(server_url)
        self._connection = self._server.connection(_TIMEOUT_S)

    def ingest(self, items: Sequence[Event | JsonProblem]) -> list[LineResult]:
        """See `Connection`. Events travel together; what could not be read goes alone, as the text that it is."""
        events = [item for item in items if isinstance(item, Event)]
        stored = iter(self._ingest_events(events) if events else ())
        return [next(stored) if isinstance(item, Event) else self._ingest_text(item) for item in items]

    def query(self, request: QueryRequest) -> QueryResponse:
        """See `Connection`."""
        return self._message(QueryResponse, self._call("POST", "/v1/query", request.SerializeToString(), accept=_PROTOBUF))

    def stats(self, request: GetEventStatsRequest) -> GetEventStatsResponse:
        """See `Connection`."""
        parameters = {"tenant_id": request.tenant_id, "project_id": request.project_id}
        time_range = request.time_range
        if time_range.HasField("start"):
            parameters["start"] = time_range.start.ToJsonString()
        if time_range.HasField("end"):
            parameters["end"] = time_range.end.ToJsonString()
        given = urlencode({name: value for name, value in parameters.items() if value})
        return self._message(GetEventStatsResponse, self._call("GET", f"/v1/stats?{given}", accept=_PROTOBUF))

    def quarantine_list(
        self, tenant_id: str | None, project_id: str | None, limit: int, after: str
    ) -> tuple[list[QuarantineRow], str]:
        """See `Connection`."""
        parameters = {"limit": str(limit), "after": after or None, "tenant_id": tenant_id, "project_id": project_id}
        given = urlencode({name: value for name, value in parameters.items() if value is not None})
        return self._read(_listing, self._call("GET", f"/v1/quarantine?{given}"))

    def quarantine_show(self, quarantine_id: str) -> QuarantineRow:
        """See `Connection`."""
        return self._read(_row, self._call("GET", f"/v1/quarantine/item?{urlencode({'id': quarantine_id})}"))

    def quarantine_resubmit(self, quarantine_id: str, tenant_id: str, project_id: str) -> Outcome:
        """See `Connection`."""
        parameters = {"id": quarantine_id, "tenant_id": tenant_id, "project_id": project_id}
        given = urlencode({name: value for name, value in parameters.items() if value})
        return self._read(lambda answer: _outcome(answer["result"]), self._call("POST", f"/v1/quarantine/resubmit?{given}"))

    def sessions(self, tenant_id: str, project_id: str, page_size: int, page_token: str) -> tuple[list[SessionLine], str]:
        """See `Connection`."""
        parameters = {"tenant_id": tenant_id, "project_id": project_id, "page_size": str(page_size), "page_token": page_token}
        given = urlencode({name: value for name, value in parameters.items() if value})
        return self._read(_sessions, self._call("GET", f"/v1/sessions?{given}"))

    def explained(self, what: Asked, subject: Subject, form: AnswerForm) -> str:
        """See `Connection`."""
        given = {name: value for name, value in asdict(subject).items() if value}
        target = f"/v1/{what}?{urlencode({**given, 'format': form.value})}"
        try:
            return self._call("GET", target, accept="*/*").decode()
        except UnicodeDecodeError as error:
            raise self._server.foreign() from error

    def close(self) -> None:
        """See `Connection`."""
        self._connection.close()

    def _ingest_events(self, events: Sequence[Event]) -> list[LineResult]:
        # Deterministic, so that what the quarantine keeps of an event is the same bytes whenever a file is imported.
        body = IngestEventBatchRequest(event_batch=EventBatch(events=events)).SerializeToString(deterministic=True)
        results = self._read(_line_results, self._call("POST", "/v1/events/batch", body))
        if len(results) != len(events):
            raise self._server.foreign()
        return results

    def _ingest_text(self, problem: JsonProblem) -> LineResult:
        """Leave a line that is no event with the server, which keeps it with its reasons, if it is JSON at all."""
        status, body = self._exchange("POST", "/v1/events", problem.raw, content_type=_JSON)
        if status == 400:
            return LineResult(LEFT_OUT, str(problem))
        if status in _KEPT_ASIDE:
            return self._read(lambda kept: LineResult(_KEPT_ASIDE[status], kept["detail"], kept["quarantine_id"]), body)
        return self._read(_line_result, self._accept(status, body))

    def _call(self, method: str, target: str, body: bytes | None = None, accept: str = _JSON) -> bytes:
        return self._accept(*self._exchange(method, target, body, accept=accept))

    def _exchange(
        self, method: str, target: str, body: bytes | None, content_type: str = _PROTOBUF, accept: str = _JSON
    ) -> tuple[int, bytes]:
        """Status and body of an answer. A kept connection that the server closed meanwhile is opened again, once."""
        headers = {"Accept": accept, "User-Agent": "chaukas-cli"}
        if body is not None:
            headers["Content-Type"] = content_type
        fresh = self._connection.sock is None
        try:
            return self._send(method, target, body, headers)
        except (RemoteDisconnected, ConnectionError) as error:
            if fresh:
                raise self._server.unreachable(error, _TIMEOUT_S) from error
        except (OSError, HTTPException) as error:
            raise self._server.unreachable(error, _TIMEOUT_S) from error
        try:
            return self._send(method, target, body, headers)
        except (OSError, HTTPException) as error:
            raise self._server.unreachable(error, _TIMEOUT_S) from error

    def _send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            self._connection.request(method, self._server.prefix + target, body, dict(headers))
            response: HTTPResponse = self._connection.getresponse()
            return response.status, response.read(_ANSWER_BYTES_MAX)
        except (OSError, HTTPException):
            # Whatever half of an exchange is left in the connection must not be read as the next answer.
            self._connection.close()
            raise

    def _accept(self, status: int, body: bytes) -> bytes:
        """The body of a success. Raises what the server's problem means."""
        if 200 <= status < 300:
            return body
        raise self._server.problem(status, body)

    def _read(self, reader: Callable[[Any], _T], body: bytes) -> _T:
        """What `reader` makes of a JSON answer."""
        try:
            return reader(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._server.foreign() from error

    def _message(self, kind: type[_M], body: bytes) -> _M:
        try:
            return kind.FromString(body)
        except DecodeError as error:
            raise self._server.foreign() from error


#: How the server answers for a single JSON event that it keeps aside.
_KEPT_ASIDE: Final = {409: IngestStatus.REJECTED, 422: IngestStatus.QUARANTINED}


def _line_results(answer: Mapping[str, Any]) -> list[LineResult]:
    return [_line_result(result) for result in answer["results"]]


def _line_result(result: Mapping[str, Any]) -> LineResult:
    return LineResult(result["status"], result.get("reason", ""), result.get("quarantine_id", ""))


def _sessions(answer: Mapping[str, Any]) -> tuple[list[SessionLine], str]:
    names = [each.name for each in fields(SessionLine)]
    return [SessionLine(**{name: item[name] for name in names}) for item in answer["sessions"]], answer["next_page_token"]


def _listing(answer: Mapping[str, Any]) -> tuple[list[QuarantineRow], str]:
    return [_row(item) for item in answer["items"]], str(answer["next_after"])


def _outcome(result: Mapping[str, Any]) -> Outcome:
    origin, _, index = result.get("worm_proof_id", "").rpartition("#")
    return Outcome(
        status=IngestStatus(result["status"]),
        event_id=result["event_id"],
        reason=result.get("reason", ""),
        origin=origin,
        index=int(index) if origin else -1,
        quarantine_id=result.get("quarantine_id", ""),
    )


def _row(item: Mapping[str, Any]) -> QuarantineRow:
    return QuarantineRow(
        quarantine_id=item["quarantine_id"],
        tenant_id=item["tenant_id"],
        project_id=item["project_id"],
        event_id=item["event_id"],
        reasons=tuple(item["reasons"]),
        first_received_at_ns=_nanoseconds(item["first_received_at"]),
        last_received_at_ns=_nanoseconds(item["last_received_at"]),
        count=item["count"],
        size_bytes=item["size_bytes"],
        raw=base64.b64decode(item.get("raw", "")),
    )


def _nanoseconds(text: str) -> int:
    time = Timestamp()
    time.FromJsonString(text)
    return time.ToNanoseconds()
