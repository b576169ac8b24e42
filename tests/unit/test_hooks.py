"""Hooks: what loads, what runs when, and that a hook that fails loses nothing and blocks nobody."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from chaukas.server.auth.principal import ANONYMOUS, Principal
from chaukas.server.errors import ConfigurationError, ValidationError, Violation
from chaukas.server.ingest.hooks import IngestHook, load_hooks, report_stored
from chaukas.server.ingest.prepare import prepare
from chaukas.server.storage.contract import EventRecord, IngestStatus, Outcome, QuarantineItem
from chaukas.server.validation import Limits
from chaukas.server.wire.frames import Frame
from chaukas.spec.common.v1.events_pb2 import Event
from tests.strategies import STRUCT_DEPTH_MAX, nested_struct_event

NOW_NS = 1_790_000_000_123_456_789


class Refusing(IngestHook):
    def validate(self, event: Event) -> Sequence[str]:
        return [f"no {event.agent_id}", "not today"] if event.agent_id else ()


class Marking(IngestHook):
    def enrich(self, event: Event) -> None:
        event.tags.append("marked")
        event.status = 4


class NeedsArguments(IngestHook):
    def __init__(self, wanted: str) -> None:
        self.wanted = wanted


class NoHook:
    pass


@pytest.fixture(autouse=True)
def hook_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("operators_hooks")
    vars(module).update(Refusing=Refusing, Marking=Marking, NeedsArguments=NeedsArguments, NoHook=NoHook, an_object=Refusing())
    monkeypatch.setitem(sys.modules, "operators_hooks", module)


def _event(**fields: object) -> Event:
    return Event(**{"event_id": "e", "tenant_id": "acme", "type": 1, **fields})  # type: ignore[arg-type]


def _prepare(event: Event, *hooks: IngestHook, principal: Principal = ANONYMOUS) -> EventRecord | QuarantineItem:
    frame = Frame(event.SerializeToString(deterministic=True), event)
    return prepare(frame, principal, Limits(), "chaukas.example.org", NOW_NS, hooks)


def _record(event: Event, *hooks: IngestHook) -> EventRecord:
    prepared = _prepare(event, *hooks)
    assert isinstance(prepared, EventRecord)
    return prepared


def _reasons(event: Event, *hooks: IngestHook) -> tuple[str, ...]:
    received = event.SerializeToString(deterministic=True)
    prepared = _prepare(event, *hooks)
    assert isinstance(prepared, QuarantineItem)
    assert prepared.raw == received
    assert (prepared.event_id, prepared.tenant_id) == ("e", "acme")
    return prepared.reasons


def test_hooks_are_loaded_in_order() -> None:
    """Promise: the setting `hooks` names classes as module:Class, and they run in that order."""
    loaded = load_hooks(["operators_hooks:Marking", "operators_hooks:Refusing"])
    assert [type(hook) for hook in loaded] == [Marking, Refusing]
    assert load_hooks([]) == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("operators_hooks", "does not have the form module:Class"),
        (":Marking", "does not have the form module:Class"),
        ("operators_hooks:", "does not have the form module:Class"),
        ("no_such_module:Marking", "cannot be imported: ModuleNotFoundError"),
        ("operators_hooks:Missing", "cannot be imported: AttributeError"),
        ("operators_hooks:NoHook", "is not a subclass"),
        ("operators_hooks:an_object", "is not a subclass"),
        ("operators_hooks:NeedsArguments", "cannot be started: TypeError"),
    ],
)
def test_hook_that_cannot_be_loaded_stops_the_start(name: str, words: str) -> None:
    """Promise: a server with a wrong `hooks` setting refuses to start and names the entry."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_hooks(["operators_hooks:Marking", name])
    assert repr(name) in str(caught.value)


def test_base_class_does_nothing() -> None:
    """Promise: a hook overrides only the verbs that it wants."""
    event = _event(agent_id="a")
    event.timestamp.seconds = 5
    record = _record(event, IngestHook())
    assert record.stored is record.received
    IngestHook().stored("e", Outcome(IngestStatus.ACCEPTED, "e"))


def test_reasons_of_all_hooks_are_given_together() -> None:
    """Promise: what hooks refuse is quarantined with every reason of every hook."""
    assert _reasons(_event(agent_id="a"), Refusing(), Marking(), Refusing()) == ("no a", "not today", "no a", "not today")
    assert isinstance(_prepare(_event(), Refusing()), EventRecord)


def test_reasons_may_be_given_in_other_ways() -> None:
    """Promise: raising a ValidationError, returning one text or returning nothing do what their author meant."""

    class Raising(IngestHook):
        def validate(self, event: Event) -> Sequence[str]:
            raise ValidationError([Violation("agent_id", f"{event.agent_id!r} is unknown"), Violation("tags", "are empty")])

    class OneText(IngestHook):
        def validate(self, event: Event) -> Sequence[str]:
            return f"not this {event.event_id}"

    class Nothing(IngestHook):
        def validate(self, event: Event) -> None:  # type: ignore[override]
            assert event.event_id  # and then the author forgot to return anything

    assert _reasons(_event(), Raising(), Nothing(), OneText()) == ("agent_id: '' is unknown; tags: are empty", "not this e")

    class RaisingLate(IngestHook):
        def enrich(self, event: Event) -> None:
            raise ValidationError(f"{event.event_id} is no longer wanted")

    assert _reasons(_event(), RaisingLate()) == ("e is no longer wanted",)


def test_hooks_see_only_events_that_keep_the_rules() -> None:
    """Promise: a hook may rely on ids, tenant and type, the tenant of the caller's key included."""
    seen: list[str] = []

    class Looking(IngestHook):
        def validate(self, event: Event) -> Sequence[str]:
            assert not event.HasField("timestamp")
            seen.append(event.tenant_id)
            return ()

        def enrich(self, event: Event) -> None:
            assert event.timestamp.ToNanoseconds() == NOW_NS

    assert isinstance(_prepare(Event(event_id="e", type=1), Looking()), QuarantineItem)
    assert seen == []
    assert isinstance(_prepare(Event(event_id="e", type=1), Looking(), principal=Principal("key", "acme")), EventRecord)
    assert seen == ["acme"]


def test_enrichment_is_stored_and_does_not_change_what_was_received() -> None:
    """Promise: hooks may add to an event; whether it is a duplicate is decided by what the client sent."""
    event = _event(tags=["mine"])
    event.timestamp.seconds = 5
    received = event.SerializeToString(deterministic=True)
    record = _record(event, Marking(), Marking())
    assert record.received == received
    assert record.tags == ("mine", "marked", "marked")
    assert record.status == 4
    stored = Event.FromString(record.stored)
    assert (list(stored.tags), stored.status) == (["mine", "marked", "marked"], 4)
    assert record.envelope_bytes == len(record.stored)


def test_failing_hook_sets_the_event_aside_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Promise: a bug in a hook loses no event and blocks no sender: the event is quarantined as received, the bug logged."""

    class Broken(IngestHook):
        def validate(self, event: Event) -> Sequence[str]:
            if event.agent_id:
                raise KeyError(event.agent_id)
            return ()

        def enrich(self, event: Event) -> None:
            event.tags.append("half done")
            raise ZeroDivisionError

    reason = f"the server's hook {__name__}:test_failing_hook_sets_the_event_aside_and_is_logged.<locals>.Broken failed in "
    with caplog.at_level(logging.ERROR):
        assert _reasons(_event(agent_id="a"), Broken(), Refusing()) == (
            reason + "validate; the server's log says why",
            "no a",
            "not today",
        )
        assert _reasons(_event(), Marking(), Broken(), Marking()) == (reason + "enrich; the server's log says why",)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError, ZeroDivisionError]


@pytest.mark.parametrize("name", ["event_id", "tenant_id", "project_id"])
def test_hook_must_not_change_whose_event_it_is(name: str) -> None:
    """Promise: no hook can move an event to another tenant or give it another id."""

    class Moving(IngestHook):
        def enrich(self, event: Event) -> None:
            setattr(event, name, "other")

    (reason,) = _reasons(_event(), Moving(), Marking())
    assert reason.endswith("Moving changed event_id, tenant_id or project_id")


def test_result_of_hooks_keeps_the_rules_too() -> None:
    """Promise: what a hook makes of an event is checked like what a client sends."""

    class Spoiling(IngestHook):
        def enrich(self, event: Event) -> None:
            event.session_id = "s" * 300
            event.type = 0

    class Inflating(IngestHook):
        def enrich(self, event: Event) -> None:
            event.message.text = "x" * 3_000_000

    class Nesting(IngestHook):
        def enrich(self, event: Event) -> None:
            event.metadata.CopyFrom(nested_struct_event(STRUCT_DEPTH_MAX + 1).metadata)

    assert len(_reasons(_event(), Spoiling())) == 2
    assert "at most 2097152 are allowed" in _reasons(_event(), Inflating())[0]
    assert "nested deeper" in _reasons(_event(), Nesting())[0]


def test_outcomes_are_told_to_those_who_listen(caplog: pytest.LogCaptureFixture) -> None:
    """Promise: `stored` hears of every outcome; if it raises, the others still hear and the failure is logged."""
    heard: list[tuple[str, IngestStatus]] = []

    class Listening(IngestHook):
        def stored(self, event_id: str, outcome: Outcome) -> None:
            heard.append((event_id, outcome.status))
            if event_id == "bad":
                raise RuntimeError("the operator's bug")

    outcomes = [
        Outcome(IngestStatus.ACCEPTED, "a"),
        Outcome(IngestStatus.QUARANTINED, "bad"),
        Outcome(IngestStatus.DUPLICATE, "b"),
    ]
    with caplog.at_level(logging.ERROR):
        report_stored((Refusing(), Listening(), Listening()), outcomes)
    assert heard == [(outcome.event_id, outcome.status) for outcome in outcomes] * 2
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError, RuntimeError]


def test_exit_is_not_swallowed() -> None:
    """Promise: a hook cannot keep the process from ending."""

    class Leaving(IngestHook):
        def validate(self, event: Event) -> Sequence[str]:
            raise KeyboardInterrupt(event.event_id)

    with pytest.raises(KeyboardInterrupt):
        _prepare(_event(), Leaving())


def test_documentation_shows_a_hook_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the code in docs/hooks.md runs as it stands there, and does what the text says."""
    text = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text()
    hook_code, test_code = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    module = ModuleType("acme_hooks")
    monkeypatch.setitem(sys.modules, "acme_hooks", module)
    exec(compile(hook_code, "docs/hooks.md", "exec"), vars(module))  # noqa: S102 - our own documentation
    exec(compile(test_code, "docs/hooks.md", "exec"), {})  # noqa: S102
    for verb in ("validate", "enrich", "stored"):
        assert verb in vars(module.AcmeRules)
        assert f"`{verb}`" in text
