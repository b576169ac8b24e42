"""The benchmark measures what it says: its questions have the answers it expects, its pages keep what was not measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.explain_session import KINDS, PARTS, events_of, measure
from bench.figures import Figures
from bench.report import insert, sections
from bench.text_plants import NEVER_NEIGHBOURS, SELDOM_NUMBER, SELDOM_PHRASE, SELDOM_WORD, SESSIONS_PER_SELDOM, SESSIONS_PER_TEXT
from bench.text_rows import _weighted_percentile
from bench.workload import Workload, WorkloadSpec
from chaukas.server.text.expression import TextQuery

_SESSIONS = 101


@pytest.fixture(scope="module")
def events() -> list[bytes]:
    """The events of the first sessions, with what is planted among them."""
    workload = Workload(WorkloadSpec(plant_sessions=_SESSIONS, texts=True))
    return [event for number in range(_SESSIONS) for event in workload.events(number)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SELDOM_WORD, 1),
        (SELDOM_NUMBER, 1),
        (f'"{SELDOM_PHRASE}"', 1),
        ("planted", 21),
        ("plante*", 21),
        (NEVER_NEIGHBOURS, 0),
        ("zyzzyva", 0),
        ("openai anthropic", 0),
        ('"prod us"', 0),
    ],
)
def test_planted_texts_are_found_as_often_as_the_questions_expect(events: list[bytes], text: str, expected: int) -> None:
    """An answer of the wrong size is the server's mistake and not the benchmark's."""
    query = TextQuery.parse(text)
    assert sum(query.matches(event) for event in events) == expected
    assert _SESSIONS <= SESSIONS_PER_SELDOM


def test_frequent_words_fill_a_page_within_few_sessions(events: list[bytes]) -> None:
    """Questions about frequent words read a page and stop, in a store of any size that is measured."""
    for text in ("the", "measure", "measure travel", '"of the"', "trav*"):
        query = TextQuery.parse(text)
        assert sum(query.matches(event) for event in events) >= 3
    assert sum(event.count(b"00000003-0000-4000-8000-") for event in events) == -(-_SESSIONS // SESSIONS_PER_TEXT)


def test_the_log_can_still_be_taken_out() -> None:
    """The row about the log's cost compares with a server without it: a name that moved fails and is not passed over."""
    command = [sys.executable, "-m", "bench.without_log", "--help"]
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_sessions_to_explain_are_one_session_with_ids_of_their_own(kind: str) -> None:
    """A session of n events is explained, not n copies of one event."""
    events = events_of(kind, 1_200)
    assert len({event.event_id for event in events}) > 1_100
    assert len({event.session_id for event in events}) == 1


def test_an_explanation_is_measured_part_by_part() -> None:
    """The whole is the sum of its parts, all of which are computed."""
    found = measure("workload", 20)
    assert found["events"] == 20
    assert found["whole_ms"] == pytest.approx(sum(found[f"{name}_ms"] for name in PARTS))


def test_the_percentile_of_a_mix_counts_every_question_alike() -> None:
    """A slow question that could be asked only twice weighs as much as a fast one that was asked sixty times."""
    fast = [(1.0, 1 / 60)] * 60
    slow = [(5_000.0, 1 / 2)] * 2
    assert _weighted_percentile(fast + slow, 50) == 1.0
    assert _weighted_percentile(fast + slow, 95) == 5_000.0


def _figures() -> Figures:
    packages: dict[str, Any] = {"cores": 2, "processor": "", "memory_gib": 1, "kernel": "6.1", "python": "3.11", "packages": {}}
    settings = {"runs": 1, "growth_small": 1, "growth_large": 2, "million": 1_000, "text_events": 1, "log_sizes": [1_000]}
    return Figures(packages | {"canary_ms": 1, "fdatasync_ms": 1}, settings)


def test_a_run_of_some_rows_leaves_the_other_sections_as_they_are() -> None:
    """Figures that were published stay until they are measured again."""
    figures = _figures()
    figures.add("log-cost", "ratio", 1, 0.9)
    figures.warn("log-cost: the machine was slow")
    figures.warn("grpc-batch-4: the machine was slow")
    found = sections(figures)
    assert list(found) == ["log figures"]
    assert "log-cost: the machine" in found["log figures"]
    assert "grpc-batch-4" not in found["log figures"]
    page = "<!-- figures begin -->old<!-- figures end --> <!-- log figures begin --><!-- log figures end -->"
    assert "<!-- figures begin -->old<!-- figures end -->" in insert(page, found["log figures"], "log figures")
    with pytest.raises(ValueError, match="text figures"):
        insert(page, "", "text figures")


def test_rows_of_several_runs_come_from_the_last_that_has_them() -> None:
    """Rows that were measured again replace the earlier ones, and no row is lost."""
    first, later = _figures(), _figures()
    first.add("grpc-batch-4", "rate", 1, 1.0)
    first.add("growth", "ratio", 1, 2.0)
    later.add("growth", "ratio", 1, 3.0)
    first.take(later)
    assert (first.values("grpc-batch-4", "rate"), first.values("growth", "ratio")) == ([1.0], [3.0])
