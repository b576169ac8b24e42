"""`chaukas verify`: everything in the record is read and made again, beside a running server."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from chaukas.server.cli.event_line import printable
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.errors import CannotServeError, ConfigurationError, StorageError
from chaukas.server.storage.sqlite.verification import RecordVerification
from chaukas.server.storage.sqlite.verification.report import Expectations, report_of
from chaukas.server.tlog.kept_heads import KeptHeads
from chaukas.server.tlog.opening import HEADS_FILE, signing_keys
from chaukas.verify.checkpoints import parse_checkpoint
from chaukas.verify.errors import VerificationError
from chaukas.verify.verdict import ASPECTS, INTEGRITY, Outcome, Report
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["expectations", "verify_directory", "verify_record"]

#: How often the position is written.
_SAVE_S = 60.0


def verify_directory(
    data_dir: Path,
    state_dir: Path | None,
    key_file: Path | None,
    *,
    against: Sequence[Path],
    keys: Sequence[str],
    resume: Path | None,
    as_json: bool,
    quiet: bool,
) -> ExitStatus:
    """Verify, and print the report.

    `DONE` when the record is whole, `PARTLY` when it is damaged, `FAILED` when it could not be checked. Raises `CommandError`
    for what was given and cannot be used.
    """
    report = Report("the record")
    try:
        expected = expectations(state_dir, key_file, against, keys)
    except DamagedStateError as error:
        problem = error.public_message
        report.run(INTEGRITY, "the file of signed heads can be read", lambda: _fail(problem))
    else:
        report = verify_record(data_dir, expected, resume=resume, quiet=quiet)
    if as_json:
        sys.stdout.write(f"{json_text(report.as_json(), indent=2)}\n")
    else:
        sys.stdout.write("\n".join(_lines(report)) + "\n")
    return {Outcome.VERIFIED: ExitStatus.DONE, Outcome.FAILED: ExitStatus.PARTLY, Outcome.NOT_CHECKED: ExitStatus.FAILED}[
        report.outcome
    ]


class DamagedStateError(CommandError):
    """The file of signed heads says itself that it was changed."""


def _fail(message: str) -> None:
    raise VerificationError(message)


def expectations(state_dir: Path | None, key_file: Path | None, against: Sequence[Path], keys: Sequence[str]) -> Expectations:
    """What the record is compared with. Raises `CommandError`, and `DamagedStateError` for a file that was changed."""
    try:
        checkpoints = tuple(parse_checkpoint(path.read_bytes()) for path in against)
        verifier_keys = tuple(VerifierKey.parse(key) for key in keys)
    except (OSError, VerificationError) as error:
        raise CommandError(f"--against or --key: {error}") from error
    if state_dir is None:
        return Expectations(keys=verifier_keys, against=checkpoints)
    try:
        kept = {head.origin: (head.size, head.root) for head in KeptHeads(state_dir / HEADS_FILE).all()}
    except CannotServeError as error:
        raise DamagedStateError(error.public_message) from error
    public_keys: tuple[bytes, ...] = ()
    try:
        public_keys = tuple(key.public_key for key in signing_keys(state_dir, key_file, create=False))
    except ConfigurationError as error:
        # Without the key the signatures stay unchecked; with a verifier key nobody needs it.
        if not verifier_keys and (key_file or state_dir / "log.key").exists():
            raise CommandError(f"--state: {error.public_message}; or name the verifier key with --key") from error
    return Expectations(kept, public_keys, verifier_keys, checkpoints)


def verify_record(data_dir: Path, expected: Expectations, *, resume: Path | None = None, quiet: bool = True) -> Report:
    """Read the record of a directory, beside a server if there is one, and report.

    `resume` names a file: what it says was verified is not read again, and it is written now and then, and removed at the end.
    Raises `CommandError`, and `CannotServeError` when there is no record.
    """
    subject = f"the record in {data_dir}"
    try:
        with closing(RecordVerification(data_dir)) as verification:
            resumed_at = _go_on(verification, resume)
            _walk(verification, resume, quiet=quiet)
            outcome = verification.settle(expected.sizes())
            if not verification.still_alone():
                raise CommandError("a server was started meanwhile on a record that was read as nobody's; verify again")
    except StorageError as error:
        problem = error.public_message
        report = Report(subject)
        report.run(INTEGRITY, "the database can be read", lambda: _fail(problem))
        return report
    report = report_of(subject, outcome, expected)
    if resumed_at:
        report.leave([f"{resumed_at:,} entries were verified by an earlier run, as {resume} says, and not read again"])
    if resume is not None:
        resume.unlink(missing_ok=True)
    return report


def _go_on(verification: RecordVerification, resume: Path | None) -> int:
    """How many entries an earlier run has verified."""
    if resume is None or not resume.exists():
        return 0
    try:
        verification.go_on(json.loads(resume.read_bytes()))
    except (OSError, ValueError) as error:
        raise CommandError(f"--resume: {resume} cannot be used: {error}; remove it to begin anew") from error
    return verification.verified


def _walk(verification: RecordVerification, resume: Path | None, *, quiet: bool) -> None:
    """Read all whole blocks, with a bar on a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("verify"), BarColumn(bar_width=30), TaskProgressColumn(), TextColumn("{task.completed:,.0f} entries"),
        TimeRemainingColumn(),
    )  # fmt: skip
    saved_at = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("verify", total=verification.total(), completed=verification.verified)
        try:
            while verification.step():
                progress.update(task, completed=verification.verified)
                if resume is not None and time.monotonic() - saved_at > _SAVE_S:
                    _save(verification, resume)
                    saved_at = time.monotonic()
        except KeyboardInterrupt:
            if resume is not None:
                _save(verification, resume)
            raise


def _save(verification: RecordVerification, resume: Path) -> None:
    """Write the position; a crash leaves the one before or this one."""
    draft = resume.with_name(resume.name + ".new")
    try:
        draft.write_text(json.dumps(verification.position()))
        draft.replace(resume)
    except OSError as error:
        raise CommandError(f"--resume: {resume} cannot be written: {error.strerror}") from error


def _lines(report: Report) -> list[str]:
    lines = [f"Checked {printable(report.subject)}:"]
    for step in report.steps:
        lines.append(f"{step.number:3}. {step.outcome.value:11}  {printable(step.text)}")
        if step.reason:
            lines.append(f"     {'':11}  {printable(step.reason)}")
    lines.append("")
    for aspect in ASPECTS:
        verdict = report.verdict(aspect)
        lines.append(f"{aspect:13} {verdict.outcome.value}" + "".join(f"\n{'':13} - {printable(one)}" for one in verdict.reasons))
    damage = report.facts.get("damage")
    if damage and damage["total"]:
        lines += [
            "",
            f"First damage: {printable(str(report.facts['first_damage']))}",
            f"Damage by table ({damage['total']:,} in all):",
        ]
        lines += [f"  {table:<18} {count:,}" for table, count in damage["by_table"].items()]
    lines += ["", "Not checked:", *(f"- {printable(sentence)}" for sentence in report.not_checked)]
    word = {Outcome.VERIFIED: "whole", Outcome.FAILED: "DAMAGED", Outcome.NOT_CHECKED: "could not be checked"}[report.outcome]
    return [*lines, "", f"Outcome: {word}"]
