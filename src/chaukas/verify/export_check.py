"""The verification of a whole export, as a report with numbered steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.errors import VerificationError
from chaukas.verify.evidence import Evidence
from chaukas.verify.export_files import ExportFiles, open_export
from chaukas.verify.export_logs import CheckedLog, check_complete_log, check_results
from chaukas.verify.exports import JSON_LINES_NAME, KIND_LOG, MANIFEST_NAME, ExportedLog, Manifest, key_change_names
from chaukas.verify.key_chain import follow_key_change
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.merkle import verify_consistency
from chaukas.verify.notes import NOTE_BYTES_MAX
from chaukas.verify.reports import check_signers, check_witnesses_asked
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import AUTHENTICITY, COMPLETENESS, INTEGRITY, Report

__all__ = ["check_export"]

_MANIFEST_BYTES_MAX = 1 << 30
_KEY_CHANGE_BYTES_MAX = 4 << 20


def check_export(path: Path, trust: Trust, against: Checkpoint | None = None) -> Report:
    """An export, in a directory or a ZIP archive. `against` is a checkpoint that the auditor kept from earlier.

    1. The manifest is well formed.
    2. Every file that it lists is there, with the digest that it gives.

    Then for each log:

    3. Its checkpoint is well formed, of this log and of this size.
    4. The checkpoint is signed by the log, and by the witnesses asked for; by a key that the auditor brought, or by one to which
       changes of key in the export lead from there (`key_chain`).
    5. Every entry is canonical, and every payload is what its entry commits to, in the log of its tenant and project.
    6. Every entry is in the tree: tiles and root of a complete log come out of its entries; each result of a query has its proof.
    7. A complete log has all entries up to the checkpoint: nothing is missing. The order holds: times of receipt do not fall, and
       the sequence of each session has no gaps.
    8. The kept checkpoint is of a log in the export that still begins with what it vouched for.

    Raises nothing for a malformed export: it is a failed step.
    """
    report = Report("the export", required=frozenset({INTEGRITY, AUTHENTICITY}))
    files = report.run(INTEGRITY, "the export can be opened", lambda: open_export(path))
    if files is None:
        return report
    try:
        _check_files(report, files, trust, against)
    finally:
        files.close()
    return report


def _check_files(report: Report, files: ExportFiles, trust: Trust, against: Checkpoint | None) -> None:
    # 1.
    manifest = report.run(
        INTEGRITY, "the manifest is well formed", lambda: Manifest.parse(_read(files, MANIFEST_NAME, _MANIFEST_BYTES_MAX))
    )
    if manifest is None:
        return
    complete = manifest.kind == KIND_LOG
    if complete:
        report.required = frozenset({INTEGRITY, COMPLETENESS, AUTHENTICITY})
    report.facts |= {"kind": manifest.kind, "created_at": manifest.created_at, "query": manifest.query, "logs": []}
    # 2.
    text = f"the {len(manifest.files)} files of the manifest are there, byte for byte"
    report.run(INTEGRITY, text, lambda: _check_digests(files, manifest))
    unlisted = sorted(files.names() - {*manifest.files, MANIFEST_NAME})
    if unlisted:
        report.leave([f"{len(unlisted)} files that the manifest does not list, {unlisted[0]!r} first"])
    # 3. to 7.
    checked = {
        log.origin: _check_log(report, files, log, trust, _kept_size(against, log), complete=complete) for log in manifest.logs
    }
    # 8.
    if against is not None:
        _check_against(report, against, trust, checked.get(against.origin), complete=complete)
    if JSON_LINES_NAME in manifest.files:
        report.leave(
            [f"that {JSON_LINES_NAME} says the same as the stored bytes: it is a convenience, the bytes are what is proven"]
        )
    if not complete:
        report.silent[COMPLETENESS] = "results of a query do not show what else there is"
        report.leave(["whether other events match the query: proofs show that the results are in the log, not that they are all"])


def _read(files: ExportFiles, name: str, bytes_max: int) -> bytes:
    file = files.open(name)
    try:
        return file.rest(bytes_max)
    finally:
        file.close()


def _check_digests(files: ExportFiles, manifest: Manifest) -> bool:
    wrong: list[str] = []
    for name, digest in manifest.files.items():
        try:
            file = files.open(name)
        except VerificationError:
            wrong.append(f"{name} is missing")
            continue
        try:
            file.drain()
        finally:
            file.close()
        if file.digest != digest:
            wrong.append(f"{name} has another digest")
    if wrong:
        raise VerificationError(f"{wrong[0]}; {len(wrong)} of {len(manifest.files)} files are not as listed")
    return True


def _kept_size(against: Checkpoint | None, log: ExportedLog) -> int:
    """At which size the root of this log will be needed besides the last."""
    return against.size if against is not None and against.origin == log.origin else 0


def _check_log(
    report: Report, files: ExportFiles, log: ExportedLog, trust: Trust, kept_size: int, *, complete: bool
) -> CheckedLog | None:
    """Steps 3 to 7 for one log. None if it has no checkpoint to compare with."""

    # 3.
    def read_checkpoint() -> Checkpoint:
        checkpoint = parse_checkpoint(_read(files, f"{log.path}/checkpoint", NOTE_BYTES_MAX))
        if (checkpoint.origin, checkpoint.size) != (log.origin, log.size):
            raise VerificationError(f"the checkpoint is of {checkpoint.size} entries of {checkpoint.origin!r}")
        return checkpoint

    checkpoint = report.run(AUTHENTICITY, f"the checkpoint of {log.origin} is that of {log.size} entries", read_checkpoint)
    if checkpoint is None:
        return None
    # 4.
    facts: dict[str, Any] = {}
    trust = _follow(report, files, log, trust)
    check_witnesses_asked(report, check_signers(report, checkpoint, trust, f"the checkpoint of {log.origin}", facts))
    # 5. to 7.
    checked = check_complete_log(files, log, checkpoint, kept_size) if complete else check_results(files, log, checkpoint)
    report.run(INTEGRITY, f"{log.origin}: entries and payloads are unchanged", checked.entries.raise_first)
    how = "entries lead to the tiles and the root of the checkpoint" if complete else "every result is in the log at its index"
    report.run(INTEGRITY, f"{log.origin}: {how}", checked.tree.raise_first)
    if complete and trust.followed:
        report.run(
            INTEGRITY, f"{log.origin}: the changes of its key that were followed are in it", lambda: _in_log(trust, checked)
        )
    if complete:
        what = f"{log.origin}: all {log.size} entries up to the checkpoint are here, in order and without gaps"
        report.run(COMPLETENESS, what, checked.order.raise_first)
    report.leave(checked.not_checked)
    report.facts["logs"].append(facts | checked.facts())
    return checked


def _follow(report: Report, files: ExportFiles, log: ExportedLog, trust: Trust) -> Trust:
    """Trust in the keys that the export leads to. An export whose checkpoint a key of the auditor's signed needs no such step."""
    names = key_change_names(log, files.names())
    trusted = {key.public_key for key in trust.log_keys if key.name == log.origin}
    if not names or not trusted:
        return trust

    def follow() -> Trust:
        followed = trust
        for name in names:
            data = _read(files, name, _KEY_CHANGE_BYTES_MAX)
            # Whoever brought a later key need not know the earlier ones.
            if not followed.followed and KeyChange.parse(Evidence.parse(data).payload or b"").old.public_key not in trusted:
                continue
            followed = follow_key_change(data, followed)
        return followed

    text = f"the changes of the key of {log.origin} lead from a key that was given to the one that signs"
    return report.run(AUTHENTICITY, text, follow) or trust


def _in_log(trust: Trust, checked: CheckedLog) -> bool:
    missing = [change for change in trust.followed if change.old.name == checked.log.origin and change not in checked.key_changes]
    if missing:
        raise VerificationError(f"a change to the key {missing[0].new.key_id.hex()} is not in the log")
    return True


def _check_against(report: Report, kept: Checkpoint, trust: Trust, checked: CheckedLog | None, *, complete: bool) -> None:
    """Step 8."""
    # The auditor's own checkpoint need not have as many witnesses as are asked of the export's.
    check_signers(report, kept, replace(trust, witnesses_min=0), "the kept checkpoint", {})
    text = f"the log still begins with the {kept.size} entries of the kept checkpoint"
    if checked is None:
        report.skip(INTEGRITY, text, f"the export does not have the log {kept.origin!r} of the kept checkpoint")
    elif not complete and kept.size != checked.log.size:
        report.skip(INTEGRITY, text, "results of a query do not hold the whole log; use `consistency` with a proof")
    else:

        def compare() -> bool:
            if kept.size > checked.log.size:
                raise VerificationError(
                    f"the kept checkpoint has {kept.size} entries, the export only {checked.log.size}: an older state, or cut off"
                )
            root = checked.roots.get(kept.size)
            if root is None:
                raise VerificationError("the log's tree could not be computed up to that size")
            verify_consistency(kept.size, kept.root, kept.size, root, ())
            return True

        report.run(INTEGRITY, text, compare)
