"""Batches: an event that fails is rejected alone."""

# ruff: noqa: ARG005 - verbs have the arguments of the framework, used or not

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaukas.server import ChaukasServicer, EventResult, StorageError, ValidationError
from chaukas.spec.common.v1.events_pb2 import Event

from .framework_servers import FLAVOURS, KINDS, Caller, make_backend, make_event, serving

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_flavours = pytest.mark.parametrize("flavour", FLAVOURS)

_FAILURES: dict[str, tuple[Exception, str]] = {
    "invalid": (ValidationError("tags: too many"), "tags: too many"),
    "stuck": (StorageError("no room"), "no room"),
    "broken": (ZeroDivisionError("secret"), "an unexpected error occurred; see the server's log"),
}


def fail_by_name(event: Event) -> None:
    """Raise what the event's id asks for."""
    if event.event_id in _FAILURES:
        raise _FAILURES[event.event_id][0]


@both_kinds
@both_flavours
@pytest.mark.parametrize("verb", ["validate_event", "enrich_event", "transform_event", "store_event", "process_event"])
def test_event_that_raises_is_rejected_alone(kind: str, flavour: str, verb: str, caplog: pytest.LogCaptureFixture) -> None:
    """In a batch a raising verb rejects its event with its reason, in order; all others are stored."""
    stored: list[str] = []

    def store_event(event: Event) -> None:
        if verb == "store_event":
            fail_by_name(event)
        stored.append(event.event_id)

    def process_event(event: Event) -> None:
        fail_by_name(event)
        stored.append(event.event_id)

    verbs: dict[str, Any] = {"store_event": store_event, "process_event": process_event, verb: fail_by_name}
    verbs = {name: verbs[name] for name in ({"process_event"} if verb == "process_event" else {"store_event", verb})}
    if verb in ("store_event", "process_event"):
        verbs[verb] = {"store_event": store_event, "process_event": process_event}[verb]
    sent = ["a", "invalid", "b", "stuck", "broken", "c"]
    with caplog.at_level(logging.ERROR), serving(make_backend(flavour, **verbs), kind) as channel:
        answer = Caller(channel).batch(*map(make_event, sent))
    assert stored == ["a", "b", "c"]
    assert [result.event_id for result in answer.results] == sent
    assert [(result.status, result.reason) for result in answer.results] == [
        ("rejected", _FAILURES[event_id][1]) if event_id in _FAILURES else ("accepted", "") for event_id in sent
    ]
    assert (answer.accepted_count, answer.rejected_count) == (3, 3)
    assert list(answer.rejected_event_ids) == ["invalid", "stuck", "broken"]
    logged = [record for record in caplog.records if record.name == "chaukas.server.framework"]
    assert sorted(record.exc_info[0].__name__ for record in logged if record.exc_info and record.exc_info[0]) == [
        "StorageError",
        "ZeroDivisionError",
    ]


@both_kinds
@both_flavours
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageError("the database is gone"), grpc.StatusCode.INTERNAL),
        (OSError("secret"), grpc.StatusCode.UNKNOWN),
    ],
)
@pytest.mark.parametrize("verb", ["store_events", "process_batch"])
def test_verb_of_a_whole_batch_fails_the_call(kind: str, flavour: str, verb: str, error: Exception, code: Any) -> None:
    """When a verb that takes many events raises, nobody can say which it means: nothing is acknowledged."""

    def fail(*_: object) -> None:
        raise error

    with serving(make_backend(flavour, **{verb: fail}), kind) as channel, pytest.raises(grpc.RpcError) as caught:
        Caller(channel).batch(make_event("e1"), make_event("e2"))
    assert caught.value.code() is code
    assert "secret" not in caught.value.details()


@both_kinds
def test_answer_names_ids_as_they_were_sent(kind: str) -> None:
    """A verb may store an event under another id; the caller is answered with its own."""
    stored: list[str] = []

    class Backend(ChaukasServicer):
        def transform_event(self, event: Event) -> None:
            event.event_id = f"inner-{event.event_id}"

        def store_event(self, event: Event) -> None:
            stored.append(event.event_id)
            if event.event_id == "inner-e2":
                raise ValidationError("no")

    with serving(Backend(), kind) as channel:
        answer = Caller(channel).batch(make_event("e1"), make_event("e2"))
        single = Caller(channel).single(make_event("e3"))
    assert stored == ["inner-e1", "inner-e2", "inner-e3"]
    assert [result.event_id for result in answer.results] == ["e1", "e2"]
    assert (single.event_id, list(answer.rejected_event_ids)) == ("e3", ["e2"])


@both_kinds
def test_empty_batch_is_answered(kind: str) -> None:
    """A batch without events is answered with zeros, without calling a verb."""
    with serving(make_backend("plain", store_events=lambda events: 1 / 0), kind) as channel:
        answer = Caller(channel).batch(batch_id="empty")
    assert (answer.batch_id, answer.accepted_count, answer.rejected_count, len(answer.results)) == ("empty", 0, 0, 0)


class FateBackend(ChaukasServicer):
    """Does with each event what its session says, at the verb that its agent says."""

    def __init__(self) -> None:
        self.stored: list[str] = []

    def decide(self, event: Event, verb: str) -> None:
        """Raise here if the event is to fail at this verb."""
        if event.agent_id == verb and event.session_id in _FAILURES:
            raise _FAILURES[event.session_id][0]

    def validate_event(self, event: Event) -> None:
        self.decide(event, "validate")

    async def transform_event(self, event: Event) -> None:
        self.decide(event, "transform")

    def store_event(self, event: Event) -> str:
        self.decide(event, "store")
        self.stored.append(event.event_id)
        return event.session_id if event.session_id in ("duplicate", "rejected", "quarantined") else "accepted"


@pytest.fixture(scope="module")
def fates() -> Any:
    backend = FateBackend()
    with serving(backend, "threaded") as channel:
        yield backend, Caller(channel)


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from(["good", "duplicate", "rejected", "quarantined", *_FAILURES]),
            st.sampled_from(["validate", "transform", "store"]),
        ),
        max_size=12,
    )
)
def test_every_batch_is_told_apart(fates: tuple[FateBackend, Caller], plan: list[tuple[str, str]]) -> None:
    """Whatever mixture a batch is: one result per event in order, sums that agree, only the good ones stored."""
    backend, caller = fates
    backend.stored.clear()
    events = [make_event(f"e{i}", session_id=fate, agent_id=verb) for i, (fate, verb) in enumerate(plan)]
    answer = caller.batch(*events)
    expected = ["rejected" if fate in _FAILURES else "accepted" if fate == "good" else fate for fate, _ in plan]
    assert [(result.event_id, result.status) for result in answer.results] == [(f"e{i}", s) for i, s in enumerate(expected)]
    kept = [f"e{i}" for i, status in enumerate(expected) if status in ("accepted", "duplicate")]
    assert answer.accepted_count == len(kept)
    assert list(answer.rejected_event_ids) == [f"e{i}" for i in range(len(plan)) if f"e{i}" not in kept]
    assert answer.rejected_count == len(answer.rejected_event_ids)
    assert backend.stored == [f"e{i}" for i, (fate, _) in enumerate(plan) if fate not in _FAILURES]


def test_results_tell_their_error_apart_from_equality() -> None:
    """Two results that say the same to a caller are equal, whatever exception stands behind them."""
    assert EventResult("e1", "rejected", "no", error=ValueError()) == EventResult("e1", "rejected", "no")
    assert EventResult("e1").stored
    assert EventResult("e1", "duplicate").stored
    assert not EventResult("e1", "quarantined").stored
