"""Faults planted in generated sessions of every style: each is found, cited, and nothing else is found beside it."""

from __future__ import annotations

import pytest

from chaukas.server.explain.explaining import explain
from chaukas.server.explain.findings import RULES
from tests.explain_worlds.faults import FAULTS, Fault
from tests.explain_worlds.plots import Plot, asks_an_agent, denied, fails_for_good, fails_once, hands_off, permitted
from tests.explain_worlds.worlds import make_world

_SEEDS = 14


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_planted_fault_is_found_and_cited(fault: Fault):
    """A fault is told by its code with the events that show it, in every framework's habits, and accuses nothing else."""
    for seed in range(_SEEDS):
        faulty = fault(seed)
        findings = explain(faulty.events).findings
        cited = [{event.event_id for event in each.events} for each in findings if each.code == faulty.code]
        assert any(faulty.cited <= events for events in cited), (seed, findings)
        assert {each.code for each in findings} <= {faulty.code} | faulty.also, (seed, findings)


@pytest.mark.parametrize("plots", [[fails_for_good, asks_an_agent], [permitted], [fails_once, denied, hands_off]])
def test_innocent_neighbours(plots: list[Plot]):
    """An agent inside a call, parts of a stream, a read inside a permitted call, a denial that was obeyed: none is a fault."""
    for seed in range(_SEEDS):
        assert explain(make_world(seed, plots=[plots]).events).findings == ()


def test_every_code_is_planted():
    """No code of the catalogue goes untried on generated sessions."""
    assert {fault(1).code for fault in FAULTS} == {rule.code for rule in RULES}
