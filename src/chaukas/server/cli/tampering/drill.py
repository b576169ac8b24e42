"""The drill: copies of a record are changed one by one, verified, and put into a table."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from chaukas.server.cli.event_line import printable
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.tampering.attacks import Attack, Attacker, Expected, attacks
from chaukas.server.cli.tampering.sample import SERVER_NAME, append_some, make_record
from chaukas.server.cli.terminal import output_console
from chaukas.server.cli.verifying import expectations, verify_record
from chaukas.server.errors import ChaukasError
from chaukas.server.storage.sqlite.inspection import inspect_record
from chaukas.server.storage.sqlite.lock import DirectoryLock
from chaukas.server.storage.sqlite.verification.changes import changes_of, guarded_statements, merge_some_postings
from chaukas.server.storage.sqlite.verification.heads import newest_notes
from chaukas.verify.verdict import Outcome

__all__ = ["Trial", "run_drill", "trials"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One change and what became of it."""

    attacker: Attacker
    name: str
    expected: Expected
    #: Whether a verification of the data with its state directory found it, and what it said first.
    found_locally: bool
    said: str
    #: Whether a verification against a kept checkpoint did; None where it was not asked.
    found_against: bool | None = None

    @property
    def as_expected(self) -> bool:
        """Exempt changes may be found."""
        if self.expected is Expected.KEPT:
            return not self.found_locally and self.found_against is True
        return self.expected is Expected.EXEMPT or self.found_locally


def run_drill(data_dir: Path | None, state_dir: Path | None, *, as_json: bool) -> ExitStatus:
    """Run all trials in a temporary directory, and print them. `PARTLY` when something was not found or was found in nothing."""
    if data_dir is not None and state_dir is None:
        raise CommandError("--state: name the state directory that belongs to --data; both are only copied")
    with tempfile.TemporaryDirectory(prefix="chaukas-tamper-") as name:
        results = list(trials(Path(name), data_dir, state_dir))
    if as_json:
        sys.stdout.write(f"{json_text({'trials': [_to_json(each) for each in results]}, indent=2)}\n")
    else:
        _print(results)
    return ExitStatus.DONE if all(each.as_expected for each in results) else ExitStatus.PARTLY


def trials(home: Path, data_dir: Path | None = None, state_dir: Path | None = None) -> Iterator[Trial]:
    """Make the copies in `home` and try every change. The first trial is that of the untouched copy: nothing may be found."""
    newer, older, kept = home / "newer", home / "older", home / "kept"
    _prepare(newer, older, data_dir, state_dir)
    kept.mkdir()
    checkpoints = []
    for number, note in enumerate(newest_notes(newer / "data")):
        checkpoints.append(kept / f"checkpoint-{number}")
        checkpoints[-1].write_bytes(note)
    found, said = _verify(newer, [])
    found_against, said_against = _verify(newer, checkpoints)
    if found or found_against:
        raise CommandError(f"the untouched copy is not whole: {said or said_against}")
    for sql, result in guarded_statements(newer / "data").items():
        yield Trial(Attacker.DATABASE, f"through the guard: {sql[:60]}", Expected.LOCALLY, result == "refused", result)
    for change in changes_of(newer / "data"):
        expected = Expected.LOCALLY if change.found else Expected.EXEMPT
        attack = Attack(Attacker.DATABASE, str(change), expected, lambda at, change=change: change.apply(at / "data"))  # type: ignore[misc]
        yield from _try(home, newer, attack, [])
    for attack in attacks(older, of_demo=data_dir is None):
        yield from _try(home, newer, attack, checkpoints)
    # The first character of the root, whichever it is: origin, size and root are the first three lines.
    origin, size, root, *rest = checkpoints[0].read_bytes().split(b"\n")
    changed = (b"B" if root[:1] == b"A" else b"A") + root[1:]
    checkpoints[0].write_bytes(b"\n".join((origin, size, changed, *rest)))
    found, said = _verify(newer, checkpoints)
    yield Trial(Attacker.EVERYTHING, "the kept checkpoint: changed", Expected.LOCALLY, found, said)


def _prepare(newer: Path, older: Path, data_dir: Path | None, state_dir: Path | None) -> None:
    if data_dir is None or state_dir is None:
        asyncio.run(make_record(newer))
        name = SERVER_NAME
    else:
        lock = DirectoryLock(data_dir)
        lock.acquire()
        try:
            shutil.copytree(data_dir, newer / "data", ignore=shutil.ignore_patterns("lock"))
            shutil.copytree(state_dir, newer / "state")
        finally:
            lock.release()
        figures = inspect_record(newer / "data", served=False)
        if figures is None or not figures.server_name:
            raise CommandError(f"--data: there is no record in {data_dir}, or one that was not closed")
        name = figures.server_name
    shutil.copytree(newer, older)
    merge_some_postings(newer / "data")
    asyncio.run(append_some(newer, "newer", name))


def _try(home: Path, newer: Path, attack: Attack, checkpoints: list[Path]) -> Iterator[Trial]:
    """Nothing for a change that cannot be made on this record."""
    copy = home / "copy"
    shutil.copytree(newer, copy)
    try:
        if not attack.apply(copy):
            return
        found, said = _verify(copy, [])
        against = None
        if checkpoints and attack.expected is not Expected.EXEMPT:
            against, said_against = _verify(copy, checkpoints)
            said = said or f"--against: {said_against}"
        yield Trial(attack.attacker, attack.name, attack.expected, found, said, against)
    finally:
        shutil.rmtree(copy)


def _verify(directory: Path, checkpoints: list[Path]) -> tuple[bool, str]:
    """Whether something was found, and what first. What is refused because it cannot be read is found too."""
    try:
        expected = expectations(directory / "state", None, checkpoints, ())
        report = verify_record(directory / "data", expected)
    except ChaukasError as error:
        return True, error.public_message
    if report.outcome is Outcome.VERIFIED and not any(step.outcome is not Outcome.VERIFIED for step in report.steps):
        return False, ""
    reasons = [step.reason for step in report.steps if step.outcome is not Outcome.VERIFIED]
    return True, str(report.facts.get("first_damage") or reasons[0])


def _to_json(trial: Trial) -> dict[str, object]:
    return {
        "attacker": trial.attacker.value,
        "change": trial.name,
        "expected": trial.expected.value,
        "found_locally": trial.found_locally,
        "found_by_kept_checkpoint": trial.found_against,
        "said": trial.said,
        "as_expected": trial.as_expected,
    }


def _print(results: list[Trial]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("attacker has", "change", "expected", "outcome", "said first"):
        table.add_column(heading, overflow="fold")
    for each in results:
        outcome = "found" if each.found_locally else "found by --against" if each.found_against else "not found"
        mark = outcome if each.as_expected else f"WRONG: {outcome}"
        table.add_row(each.attacker.value, printable(each.name), each.expected.value, mark, printable(each.said)[:160])
    output_console().print(table)
    wrong = sum(not each.as_expected for each in results)
    exempt = sum(each.expected is Expected.EXEMPT for each in results)
    print(f"\n{len(results)} changes, {exempt} of them exempt, {wrong or 'none'} with another outcome than expected; "
          "the untouched copy is whole")  # fmt: skip
