"""Finders of the operator's own: how they are loaded, and that a broken one breaks nothing else."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator

import pytest

from chaukas.server.errors import ConfigurationError
from chaukas.server.explain.explaining import explain
from chaukas.server.explain.findings import RULES
from chaukas.server.explain.model import Explanation, Finding, FindingSeverity
from chaukas.server.operations.finders import load_finders
from chaukas.spec.common.v1.events_pb2 import Event


class NoNight:
    """Work outside office hours is worth a look."""

    codes = ("ACME_NIGHT",)

    def find(self, explanation: Explanation) -> list[Finding]:
        refs = explanation.record.refs([0])
        return [Finding("ACME_NIGHT", FindingSeverity.INFO, "It happened at night.", refs)]


class Broken(NoNight):
    codes = ("ACME_BROKEN",)

    def find(self, explanation: Explanation) -> list[Finding]:
        raise RuntimeError(f"boom at {len(explanation.steps)}")


class Foreign(NoNight):
    codes = ("ACME_OTHER",)


class Thief(NoNight):
    codes = ("OPEN_SPAN",)


class Dying(NoNight):
    def __init__(self) -> None:
        raise RuntimeError("no")


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    acme = types.ModuleType("acme_finders")
    for each in (NoNight, Broken, Foreign, Thief, Dying):
        setattr(acme, each.__name__, each)
    acme.MINE = NoNight()
    acme.NOTHING = object()
    sys.modules["acme_finders"] = acme
    yield
    del sys.modules["acme_finders"]


@pytest.mark.parametrize("name", ["acme_finders:NoNight", "acme_finders:MINE"])
def test_a_class_or_an_object_adds_its_findings(name: str) -> None:
    """What a setting names takes part beside the catalogue, whether it is a class or an object."""
    explanation = explain([Event(event_id="e")], [*RULES, *load_finders([name])])
    assert "ACME_NIGHT" in {finding.code for finding in explanation.findings}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["acme_finders"], "does not have the form"),
        (["no_such_module:X"], "cannot be loaded"),
        (["acme_finders:Absent"], "cannot be loaded"),
        (["acme_finders:Dying"], "cannot be loaded"),
        (["acme_finders:NOTHING"], "has no `codes`"),
        (["acme_finders:Thief"], "belongs to the catalogue"),
        (["acme_finders:NoNight", "acme_finders:MINE"], "belongs to acme_finders:NoNight"),
    ],
)
def test_what_cannot_be_used_stops_the_start_by_name(names: list[str], words: str) -> None:
    """A finder that is missing, broken or claims another one's code is a mistake of the configuration, and named."""
    with pytest.raises(ConfigurationError, match=words):
        load_finders(names)


def test_a_finder_that_fails_is_logged_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """An exception or a foreign code of the operator's finder never costs the explanation."""
    caplog.set_level(logging.ERROR)
    finders = load_finders(["acme_finders:Broken", "acme_finders:Foreign"])
    assert explain([Event(event_id="e")], finders).findings == ()
    assert "acme_finders:Broken failed" in caplog.text
    assert "reports ACME_NIGHT" in caplog.text
