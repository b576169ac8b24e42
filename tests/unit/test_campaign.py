"""The campaign's own parts: its seeds are good requests, its document valid, its reports readable; and a slice of its fuzzing."""

from __future__ import annotations

from pathlib import Path

import pytest
from openapi_spec_validator import validate

from bench.report import insert
from campaign.contract_document import contract_document
from campaign.fuzz import fuzz_chunk
from campaign.fuzz_targets import TARGETS, attempt
from campaign.mutation import corpus
from campaign.outcome import Figure, Outcome
from campaign.report import Report

#: Seeds that are refused, on purpose: what they hold beside good ones.
_REFUSED_SEEDS = {"cursor": 1, "query_protobuf": 1}


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_begins_with_good_requests(name: str) -> None:
    """Fuzzing protects something only if its inputs are near to what is taken: all seeds are taken."""
    refused = sum(not attempt(TARGETS[name], seed) for seed in corpus(name))
    assert refused == _REFUSED_SEEDS.get(name, 0)
    assert corpus(name)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_requests_are_taken_or_refused(name: str) -> None:
    """Whatever stands in what strangers send, it is taken, quarantined or refused in words: nothing fails or hangs."""
    chunk = fuzz_chunk(name, 1, 0, 250)
    assert chunk.findings == []
    assert chunk.inputs == 250


def test_a_finding_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that fails is told with the input that makes it fail."""

    def fails(data: bytes) -> None:
        if len(data) % 2:
            raise KeyError("odd")

    monkeypatch.setitem(TARGETS, "cursor", fails)
    chunk = fuzz_chunk("cursor", 1, 0, 50)
    assert chunk.findings
    assert chunk.findings[0].startswith("cursor: KeyError: 'odd' on ")


def test_the_contracts_document_is_openapi() -> None:
    """The document that schemathesis follows is valid OpenAPI, and names the contract's five paths."""
    document = contract_document()
    validate(document)
    assert list(document["paths"]) == ["/healthz", "/v1/capabilities", "/v1/events", "/v1/events/batch", "/v1/query"]


def test_a_report_comes_back_and_fits_the_page(tmp_path: Path) -> None:
    """What a run has found is not lost on the way to docs/reliability.md, problems least of all."""
    machine = {"cores": 2, "processor": "x", "memory_gib": 24, "kernel": "6.1", "python": "3.11", "packages": {"grpcio": "1"}}
    outcome = Outcome("kills", [Figure("lost", "1", "0", met=False), Figure("sent", "5")], ["one is lost"], ["a note"], 61.0)
    report = Report(machine, "full", 7, "2026-11-22", [outcome])
    report.save(tmp_path / "run.json")
    again = Report.load(tmp_path / "run.json")
    assert again == report
    assert again.problems == ["kills: one is lost"]
    page = insert(Path("docs/reliability.md").read_text(), again.markdown())
    for expected in (
        "`python -m campaign --only kills --seed 7`, 2026-11-22, 1 min 1 s",
        "| lost | 1 | 0 | **broken** |",
        "**Problem**: one is lost",
    ):
        assert expected in page
