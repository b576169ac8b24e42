"""The drill: every change that an attacker could make to a copy of a record is found, and nothing on the untouched copy."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from chaukas.server.cli.tampering import Trial, trials
from chaukas.server.cli.tampering.attacks import Attacker, Expected
from chaukas.server.cli.tampering.sample import make_record
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.storage.sqlite.schema import FORMAT_VERSION
from chaukas.server.storage.sqlite.verification.changes import changes_of
from chaukas.server.tlog.opening import open_sequencer
from tests.unit.sqlite.record import empty_record

from .command_line import CommandLine


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    return list(trials(tmp_path_factory.mktemp("drill")))


def test_every_change_is_found_by_what_must_find_it(drill: list[Trial]):
    """Each change to a row, a file or a whole history is found: locally, or by a kept checkpoint and by nothing else."""
    wrong = [each for each in drill if not each.as_expected]
    assert wrong == []


def test_every_table_and_column_takes_part(drill: list[Trial]):
    """No table and no column that the record has is left out of the drill."""
    tried = {each.name for each in drill}
    database = empty_record()
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    assert FORMAT_VERSION == 2, "has the drill rows for the tables of the new format?"
    for table in tables:
        assert any(name.startswith(f"{table}: row deleted") for name in tried), table
        for row in database.execute(f"PRAGMA table_info({table})"):
            assert any(name.startswith(f"{table}: {row[1]}: ") for name in tried), f"{table}.{row[1]}"


def test_the_three_attackers_are_told_apart(drill: list[Trial]):
    """Who has the state directory too, or everything, is found by a kept checkpoint; who has the database, without one."""
    by_attacker = {
        attacker: {each.expected for each in drill if each.attacker is attacker} - {Expected.EXEMPT} for attacker in Attacker
    }
    assert by_attacker[Attacker.DATABASE] == {Expected.LOCALLY}
    assert Expected.KEPT in by_attacker[Attacker.STATE]
    assert Expected.KEPT in by_attacker[Attacker.EVERYTHING]
    assert all(each.found_against for each in drill if each.expected is Expected.KEPT)


def test_verify_on_the_command_line(tmp_path: Path):
    """`chaukas verify` ends with 0 for a whole record, 1 for a damaged one, 2 for none, and names the first damage."""
    asyncio.run(make_record(tmp_path))
    commands = CommandLine(tmp_path)
    where = ["--data", str(tmp_path / "data"), "--state", str(tmp_path / "state")]
    whole = commands.run("verify", *where, "--json")
    assert whole.status == 0, whole.remarks
    report = json.loads(whole.output)
    assert {verdict["verdict"] for verdict in report["verdicts"].values()} == {"verified"}
    assert report["not_checked"]
    assert changes_of(tmp_path / "data")[0].apply(tmp_path / "data")
    damaged = commands.run("verify", *where)
    assert damaged.status == 1, damaged.output
    assert "First damage:" in damaged.output
    assert commands.run("verify", "--data", str(tmp_path / "nothing")).status == 2


def test_the_drill_on_real_recordings(tmp_path: Path, recorded_dir: Path):
    """On a copy of a directory with real traffic every change is found too, and the directory itself stays as it was."""
    commands = CommandLine(tmp_path)
    recordings = sorted(map(str, recorded_dir.glob("*/file_mode.jsonl")))
    assert len(recordings) >= 10
    assert commands.run("import", "--data", str(tmp_path / "data"), *recordings).status == 0
    asyncio.run(_signed(tmp_path))
    before = (tmp_path / "data" / "record.db").read_bytes()
    done = commands.run("selftest", "tamper", "--data", str(tmp_path / "data"), "--state", str(tmp_path / "state"))
    assert done.status == 0, done.output + "\n".join(done.remarks)
    assert (tmp_path / "data" / "record.db").read_bytes() == before


async def _signed(directory: Path) -> None:
    (directory / "state").mkdir()
    store = SqliteStore(directory / "data")
    await store.open()
    try:
        await (await open_sequencer(store.log_store, directory / "state", None)).sign_all()
    finally:
        await store.close()
