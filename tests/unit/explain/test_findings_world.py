"""Faults planted in generated sessions of every style: each is found, cited, and nothing else is found beside it."""

from __future__ import annotations

import pytest

from chaukas.server.explain.explaining import explain
from chaukas.server.explain.findings import RULES
from tests.explain_worlds.faults import FAULTS, Fault

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


def test_every_code_is_planted():
    """No code of the catalogue goes untried on generated sessions."""
    assert {fault(1).code for fault in FAULTS} == {rule.code for rule in RULES}
