"""Verification of the live record: beside a writer, in parts, in the background, and what it calls damage."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest

from chaukas.server.cli.tampering.sample import SERVER_NAME, append_some, make_record
from chaukas.server.errors import CannotServeError
from chaukas.server.storage.contract import EventRecord
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.storage.sqlite.verification import RecordVerification
from chaukas.server.storage.sqlite.verification.background import BackgroundVerification, VerificationNews
from chaukas.server.storage.sqlite.verification.changes import changes_of
from chaukas.server.storage.sqlite.verification.record import Outcome
from chaukas.server.testing.records import make_record as event_record


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("verification")
    asyncio.run(make_record(home))
    return home


@pytest.fixture
def record(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change: `data` and `state` in it."""
    shutil.copytree(made, tmp_path / "record")
    return tmp_path / "record"


def _verified(verification: RecordVerification) -> Outcome:
    while verification.step():
        pass
    return verification.settle()


def test_a_position_is_taken_up_again(record: Path):
    """A verification that was interrupted ends as one that was not, also when the record grew meanwhile."""
    with closing(RecordVerification(record / "data")) as first:
        assert first.step(1) > 0
        position = json.loads(json.dumps(first.position()))
        read = first.verified
    asyncio.run(append_some(record, "b", SERVER_NAME))
    with closing(RecordVerification(record / "data")) as second:
        second.go_on(position)
        assert second.verified == read
        outcome = _verified(second)
    assert (outcome.findings.total, outcome.unread) == (0, ())


def test_a_position_of_another_record_is_refused(record: Path, tmp_path: Path):
    """What was verified of one record says nothing of another."""
    asyncio.run(append_some(tmp_path / "other", "c", "other.example"))
    with closing(RecordVerification(record / "data")) as first:
        position = first.position()
    with closing(RecordVerification(tmp_path / "other" / "data")) as second, pytest.raises(ValueError, match="another record"):
        second.go_on(position)


def test_what_was_found_before_an_interruption_stays_found(record: Path):
    """Damage in a part that is not read again is still told at the end."""
    changes = [change for change in changes_of(record / "data") if str(change) == "segments: bodies: another value"]
    assert changes[0].apply(record / "data")
    with closing(RecordVerification(record / "data")) as first:
        while first.step():
            pass
        position = first.position()
        assert first.findings.total > 0
    with closing(RecordVerification(record / "data")) as second:
        second.go_on(position)
        assert second.settle().findings.by_table["segments"] > 0


def test_beside_a_writer(tmp_path: Path):
    """While events arrive, nothing that is read in between is taken for damage, by a verification that goes on behind them."""
    done = threading.Event()
    problems: list[str] = []
    rounds = 0

    async def write() -> None:
        store = SqliteStore(tmp_path, SERVER_NAME)
        await store.open()
        try:
            verifying = asyncio.to_thread(verify)
            task = asyncio.create_task(verifying)
            for commit in range(120):
                await store.append(_events(commit))
            done.set()
            await task
        finally:
            done.set()
            await store.close()

    def verify() -> None:
        nonlocal rounds
        with closing(RecordVerification(tmp_path)) as verification:
            while not done.is_set() or not rounds:
                outcome = _verified(verification)
                problems.extend(map(str, outcome.findings.kept))
                rounds += 1

    asyncio.run(write())
    assert problems == []
    assert rounds > 0


def _events(commit: int) -> list[EventRecord]:
    return [
        event_record(
            f"e{commit}-{number}",
            project_id=f"p{commit % 3}",
            session_id=f"s{commit % 7}" if number % 3 else "",
            tags=("a", f"t{number}"),
        )
        for number in range(40)
    ]


def test_no_record_is_told_apart_from_a_damaged_one(tmp_path: Path):
    """Where there is nothing to verify, nothing is called whole or damaged."""
    with pytest.raises(CannotServeError, match="no event store"):
        RecordVerification(tmp_path)


def test_the_background_verification_tells_damage_and_ends_with_its_server(record: Path):
    """The process reads everything, tells each damage once, and ends when it is told to."""
    change = next(change for change in changes_of(record / "data") if str(change) == "totals: events: another value")
    assert change.apply(record / "data")
    heard: list[VerificationNews] = []
    settled = threading.Event()

    def listen(news: VerificationNews) -> None:
        heard.append(news)
        if news.damage is not None and not news.what:
            settled.set()

    background = BackgroundVerification(record / "data", 1_000_000, listen, delay_s=0.0)
    background.start()
    try:
        assert settled.wait(60)
    finally:
        background.stop()
    assert [news.what for news in heard if news.what] != []
    assert all("totals" in news.what for news in heard if news.what)
    assert sum(news.verified for news in heard) >= 1024
