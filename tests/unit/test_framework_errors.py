"""What becomes of a verb that fails, or that returns what cannot be meant."""

# ruff: noqa: ARG005 - verbs have the arguments of the framework, used or not

from __future__ import annotations

from typing import Any

import grpc
import pytest

from chaukas.server import EventResult, StorageError, ValidationError
from chaukas.server.errors import InvalidRequestError
from chaukas.spec.server.v1 import server_pb2 as messages

from .framework_servers import FLAVOURS, KINDS, TIMEOUT_S, Caller, make_backend, make_event, serving

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_flavours = pytest.mark.parametrize("flavour", FLAVOURS)

_ERRORS = [
    (ValidationError("name: is too long"), grpc.StatusCode.INVALID_ARGUMENT, "name: is too long"),
    (StorageError("the disk is full"), grpc.StatusCode.INTERNAL, "the disk is full"),
    (InvalidRequestError("page_size", "is negative"), grpc.StatusCode.INVALID_ARGUMENT, "page_size: is negative"),
    (KeyError("password=hunter2"), grpc.StatusCode.UNKNOWN, "an unexpected error occurred; see the server's log"),
    (NotImplementedError(), grpc.StatusCode.UNKNOWN, "an unexpected error occurred; see the server's log"),
]


@both_kinds
@both_flavours
@pytest.mark.parametrize(("error", "code", "message"), _ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "verb", ["validate_event", "enrich_event", "transform_event", "store_event", "store_events", "process_event"]
)
def test_errors_of_ingest_verbs(kind: str, flavour: str, error: Exception, code: Any, message: str, verb: str) -> None:
    """Whatever a verb raises becomes the status of the table with its public message; nothing else of it gets out."""

    def fail(*_: object) -> None:
        raise error

    backend = make_backend(flavour, **{"store_event": lambda event: None, verb: fail} if verb != "store_events" else {verb: fail})
    with serving(backend, kind) as channel:
        caught = Caller(channel).refused(make_event())
    assert (caught.code(), caught.details()) == (code, message)
    assert "hunter2" not in str(caught)


@both_kinds
@both_flavours
@pytest.mark.parametrize(("error", "code", "message"), _ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("verb", ["query_events", "event_stats", "capabilities"])
def test_errors_of_question_verbs(kind: str, flavour: str, error: Exception, code: Any, message: str, verb: str) -> None:
    """The same table holds for questions."""

    def fail(*_: object) -> None:
        raise error

    calls = {
        "query_events": ("QueryEvents", messages.QueryEventsRequest()),
        "event_stats": ("GetEventStats", messages.GetEventStatsRequest()),
        "capabilities": ("GetCapabilities", messages.GetCapabilitiesRequest()),
    }
    name, request = calls[verb]
    with serving(make_backend(flavour, **{verb: fail}), kind) as channel, pytest.raises(grpc.RpcError) as caught:
        getattr(Caller(channel).stub, name)(request, timeout=TIMEOUT_S)
    assert (caught.value.code(), caught.value.details()) == (code, message)


@both_kinds
@both_flavours
@pytest.mark.parametrize(
    "verbs",
    [
        {"validate_event": lambda event: True, "store_event": lambda event: "acepted"},
        {"store_event": lambda event: False},
        {"store_event": lambda event: EventResult(status="done")},
        {"store_events": lambda events: []},
        {"process_batch": lambda events, context: [None, None]},
        {"enrich_event": lambda event: 7, "store_event": lambda event: None},
        {"transform_event": lambda event: "e", "store_event": lambda event: None},
    ],
)
def test_what_a_verb_cannot_mean_is_not_acknowledged(kind: str, flavour: str, verbs: dict[str, Any]) -> None:
    """A return value that can only be a mistake is an error of the backend, never an acknowledgement."""
    with serving(make_backend(flavour, **verbs), kind) as channel:
        assert Caller(channel).refused(make_event()).code() is grpc.StatusCode.UNKNOWN


@both_kinds
@both_flavours
@pytest.mark.parametrize("verb", ["query_events", "event_stats", "capabilities"])
def test_questions_need_the_message_as_their_answer(kind: str, flavour: str, verb: str) -> None:
    """A question verb that returns something else is an error of the backend."""
    name = {"query_events": "QueryEvents", "event_stats": "GetEventStats", "capabilities": "GetCapabilities"}[verb]
    request = getattr(messages, f"{name}Request")()
    with serving(make_backend(flavour, **{verb: lambda *args: None}), kind) as channel, pytest.raises(grpc.RpcError) as caught:
        getattr(Caller(channel).stub, name)(request, timeout=TIMEOUT_S)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN


@both_kinds
@both_flavours
def test_anything_else_that_is_returned_means_stored(kind: str, flavour: str) -> None:
    """A store_event that returns a row number, as in many drivers, has stored the event."""
    with serving(make_backend(flavour, store_event=lambda event: 0), kind) as channel:
        assert Caller(channel).single(make_event()).status == "accepted"


@both_kinds
def test_single_event_without_an_event_is_refused(kind: str) -> None:
    """A request that holds no event is wrong whatever validate_event thinks of empty events."""
    backend = make_backend("plain", validate_event=lambda event: True, store_event=lambda event: None)
    with serving(backend, kind) as channel, pytest.raises(grpc.RpcError) as caught:
        Caller(channel).stub.IngestEvent(messages.IngestEventRequest(), timeout=TIMEOUT_S)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "event: is missing")
