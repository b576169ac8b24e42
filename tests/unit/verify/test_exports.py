"""Exports, written by the server's writer and verified whole: directories and archives, complete logs and results."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chaukas.server.tlog.exporting import DirectorySink, ExportWriter, ZipSink
from chaukas.server.tlog.keys import SigningKey
from chaukas.verify.errors import VerificationError
from chaukas.verify.export_check import check_export
from chaukas.verify.export_files import open_export
from chaukas.verify.exports import KIND_LOG, ExportedEntry, ExportedLog, Manifest, read_entries
from chaukas.verify.payloads import Salts
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import AUTHENTICITY, COMPLETENESS, INTEGRITY, Outcome, Report
from tests.log_samples import SampleLog, sample_log, seeded

_LOG = sample_log(600)
_SMALL = sample_log(20, project_id="")
_CREATED = "2026-11-22T20:00:00Z"


def write_logs(path: Path, *logs: SampleLog) -> Path:
    writer = ExportWriter(ZipSink(path) if path.suffix == ".zip" else DirectorySink(path))
    for log in logs:
        writer.complete_log((log.exported(index) for index in range(len(log.entries))), log.checkpoint(), [log.log_key])
    writer.json_lines([b'{"index": 0}\n'])
    writer.finish(_CREATED)
    return path


def write_results(path: Path, log: SampleLog, indices: list[int], size: int) -> Path:
    writer = ExportWriter(ZipSink(path) if path.suffix == ".zip" else DirectorySink(path))
    writer.results((log.exported(index, size) for index in indices), log.checkpoint(size), [log.log_key])
    writer.finish(_CREATED, {"types": ["TOOL_CALL_START"]})
    return path


def verdicts(report: Report) -> dict[str, str]:
    return {aspect: report.verdict(aspect).outcome.value for aspect in (INTEGRITY, COMPLETENESS, AUTHENTICITY)}


def fresh_digests(directory: Path) -> None:
    """Rewrite the manifest's digests, as somebody who changes an export would."""
    from hashlib import sha256

    manifest = json.loads((directory / "manifest.json").read_bytes())
    manifest["files"] = {
        path.relative_to(directory).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["export", "export.zip"])
def test_a_complete_export_verifies(tmp_path: Path, name: str):
    """A whole log, in a directory or an archive, earns all three verdicts from the keys alone."""
    path = write_logs(tmp_path / name, _LOG, _SMALL)
    trust = Trust((_LOG.log_key, _SMALL.log_key), (_LOG.witness_key,), witnesses_min=1)
    report = check_export(path, trust, _LOG.checkpoint(257))
    assert verdicts(report) == {"integrity": "verified", "completeness": "verified", "authenticity": "verified"}
    assert [log["entries_checked"] for log in report.facts["logs"]] == [600, 20]
    assert report.facts["logs"][0]["sessions"] == 3
    assert any("events.jsonl" in sentence for sentence in report.not_checked)


@pytest.mark.parametrize("name", ["export", "export.zip"])
def test_results_of_a_query_verify_without_completeness(tmp_path: Path, name: str):
    """Each result is proven; that none was left out is not, and the report says so."""
    indices = [*range(3, 400), 598]
    report = check_export(write_results(tmp_path / name, _LOG, indices, 599), _LOG.trust)
    assert verdicts(report) == {"integrity": "verified", "completeness": "not checked", "authenticity": "verified"}
    assert report.outcome is Outcome.VERIFIED
    assert any("match the query" in sentence for sentence in report.not_checked)


def test_the_same_export_is_the_same_archive(tmp_path: Path):
    """Two exports of one state are equal byte for byte, so they can be compared."""
    first, second = write_logs(tmp_path / "a.zip", _SMALL), write_logs(tmp_path / "b.zip", _SMALL)
    assert first.read_bytes() == second.read_bytes()


def test_an_empty_log_and_no_results(tmp_path: Path):
    """A log without entries, and a query without results, are exports too."""
    empty = SampleLog()
    assert check_export(write_logs(tmp_path / "empty", empty), empty.trust).outcome is Outcome.VERIFIED
    assert check_export(write_results(tmp_path / "none", _LOG, [], 600), _LOG.trust).outcome is Outcome.VERIFIED


def test_without_a_key(tmp_path: Path):
    """The verifier key in the export is not trusted: without one from elsewhere nothing is authentic."""
    report = check_export(write_logs(tmp_path / "export", _SMALL), Trust())
    assert verdicts(report) == {"integrity": "verified", "completeness": "verified", "authenticity": "not checked"}
    assert report.outcome is Outcome.NOT_CHECKED


def test_erased_payloads_are_counted(tmp_path: Path):
    """Payloads that are gone leave the log verifiable; how many is said."""
    log = sample_log(10)
    entries = [log.exported(index) for index in range(10)]
    entries[4] = replace(entries[4], payload=None, salts=Salts())
    writer = ExportWriter(DirectorySink(tmp_path / "export"))
    writer.complete_log(entries, log.checkpoint(), [])
    writer.finish(_CREATED)
    report = check_export(tmp_path / "export", log.trust)
    assert report.outcome is Outcome.VERIFIED
    assert any("1 payloads" in sentence for sentence in report.not_checked)


def test_exports_are_read_back(tmp_path: Path):
    """What import reads is what was exported: index, entry, salts, stored bytes."""
    path = write_logs(tmp_path / "export.zip", _LOG)
    files = open_export(path)
    try:
        bundles = list(read_entries(files, KIND_LOG, ExportedLog(_LOG.origin, 600, 600)))
    finally:
        files.close()
    assert [len(bundle) for bundle in bundles] == [256, 256, 88]
    assert [one for bundle in bundles for one in bundle] == [_LOG.exported(index) for index in range(600)]


def damage(
    tmp_path: Path, log: SampleLog, name: str, change: Callable[[bytes], bytes], *, hide: bool = True, size: int | None = None
) -> Report:
    path = write_logs(tmp_path / "export", log)
    file = path / "log" / next((path / "log").iterdir()).name / name
    file.write_bytes(change(file.read_bytes()))
    if hide:
        fresh_digests(path)
    return check_export(path, log.trust, log.checkpoint(size) if size else None)


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


@pytest.mark.parametrize(
    ("name", "change", "failed"),
    [
        ("payloads/000", flip(3), ["integrity"]),
        ("payloads/000", flip(3000), ["integrity"]),
        ("payloads/000", lambda data: data + b"\0", ["integrity", "completeness"]),
        ("payloads/000", lambda data: data[:-1], ["integrity", "completeness"]),
        ("payloads/002.p/88", lambda _: b"", ["integrity", "completeness"]),
        ("tile/entries/001", flip(300), ["integrity"]),
        ("tile/entries/001", lambda data: data[:-1], ["integrity", "completeness"]),
        ("tile/0/001", flip(300), ["integrity"]),
        ("tile/0/002.p/88", lambda data: data[:-32], ["integrity"]),
        ("tile/1/000.p/2", flip(40), ["integrity"]),
        ("checkpoint", flip(50), ["integrity", "authenticity"]),
        ("checkpoint", lambda _: bytes(_LOG.checkpoint(599)), ["authenticity"]),
    ],
)
def test_changes_of_any_file_are_found(tmp_path: Path, name: str, change: Callable[[bytes], bytes], failed: list[str]):
    """Whoever changes a file of an export, and hides it in the manifest, is found out by the verdict that it concerns."""
    report = damage(tmp_path, _LOG, name, change)
    assert [aspect for aspect, outcome in verdicts(report).items() if outcome == "failed"] == failed


def test_accidents_are_found_by_the_manifest(tmp_path: Path):
    """A changed, missing or added file is noticed, the lines for people included."""
    path = write_logs(tmp_path / "export", _SMALL)
    (path / "events.jsonl").write_text("{}\n")
    report = check_export(path, _SMALL.trust)
    assert "events.jsonl has another digest" in report.verdict(INTEGRITY).reasons[0]
    (path / "events.jsonl").unlink()
    assert "events.jsonl is missing" in check_export(path, _SMALL.trust).verdict(INTEGRITY).reasons[0]
    (path / "more").write_text("")
    assert any("'more'" in sentence for sentence in check_export(path, _SMALL.trust).not_checked)


def test_a_rewritten_log_contradicts_a_kept_checkpoint(tmp_path: Path):
    """A log that was written anew and signed properly is whole in itself; a checkpoint from before convicts it."""
    path = write_logs(tmp_path / "export", _LOG)
    kept = sample_log(300, salt_seed="before").checkpoint()
    assert check_export(path, _LOG.trust).outcome is Outcome.VERIFIED
    assert verdicts(check_export(path, _LOG.trust, kept))["integrity"] == "failed"
    later = sample_log(601).checkpoint()
    assert "an older state, or cut off" in check_export(path, _LOG.trust, later).verdict(INTEGRITY).reasons[0]
    assert verdicts(check_export(path, _LOG.trust, _SMALL.checkpoint()))["integrity"] == "not checked"


def test_gaps_in_order_and_sessions(tmp_path: Path):
    """Properly logged entries whose times fall, or whose sessions have gaps or two commitments, are incomplete or damaged."""
    for skip in ("sequence", "time", "salt"):
        log = sample_log(10)
        if skip == "sequence":
            log.sequences["session 1"] += 1
        elif skip == "salt":
            log.salt_seed = "other"
        if skip == "time":
            early = sample_log(1)
            log.append_raw(early.entries[0], early.payloads[0], early.salts[0])
        else:
            log.add_event(10, "session 1")
        report = check_export(write_logs(tmp_path / skip, log), log.trust)
        wrong = "integrity" if skip == "salt" else "completeness"
        assert verdicts(report)[wrong] == "failed", skip


def test_events_of_another_tenant(tmp_path: Path):
    """An event of another tenant in a log is damage of the log."""
    log = sample_log(3)
    log.add_event(3, tenant_id="globex")
    assert verdicts(check_export(write_logs(tmp_path / "export", log), log.trust))["integrity"] == "failed"


def test_key_changes_are_told(tmp_path: Path):
    """A log that changed its key shows from which to which."""
    log = sample_log(3)
    new = SigningKey.from_seed(seeded("new"))
    log.add_key_change(new)
    report = check_export(write_logs(tmp_path / "export", log), log.trust)
    assert report.facts["logs"][0]["key_changes"] == [{"old_key": str(log.log_key), "new_key": str(new.log_key(log.origin))}]


def test_changed_results_are_found(tmp_path: Path):
    """A result with another entry, place, payload or proof is not proven; results stand once and in order."""
    good = [_LOG.exported(index, 600) for index in (3, 7, 300)]
    cases: dict[str, list[ExportedEntry]] = {
        "place": [replace(good[0], index=4), *good[1:]],
        "payload": [replace(good[0], payload=_LOG.payloads[4]), *good[1:]],
        "proof": [replace(good[0], proof=good[1].proof), *good[1:]],
        "no proof": [replace(good[0], proof=()), *good[1:]],
        "twice": [good[0], *good],
        "order": good[::-1],
    }
    for name, results in cases.items():
        writer = ExportWriter(DirectorySink(tmp_path / name))
        writer.results(results, _LOG.checkpoint(), [])
        writer.finish(_CREATED)
        assert verdicts(check_export(tmp_path / name, _LOG.trust))["integrity"] == "failed", name


def test_the_writer_refuses_a_damaged_store(tmp_path: Path):
    """What does not lead to the checkpoint is never finished as an export; existing files are never overwritten."""
    entries = [_SMALL.exported(index) for index in range(20)]
    for name, wrong in (("short", entries[:-1]), ("gap", [*entries[:5], *entries[6:]]), ("swapped", [entries[1], *entries[1:]])):
        writer = ExportWriter(DirectorySink(tmp_path / name))
        with pytest.raises(ValueError, match=r"consecutive|do not lead"):
            writer.complete_log(wrong, _SMALL.checkpoint(), [])
        assert not (tmp_path / name / "manifest.json").exists()
    damaged = [replace(entries[0], entry=entries[1].entry), *entries[1:]]
    with pytest.raises(ValueError, match="do not lead"):
        ExportWriter(DirectorySink(tmp_path / "damaged")).complete_log(damaged, _SMALL.checkpoint(), [])
    with pytest.raises(FileExistsError):
        DirectorySink(tmp_path / "gap")
    write_logs(tmp_path / "there.zip", _SMALL)
    with pytest.raises(FileExistsError):
        ZipSink(tmp_path / "there.zip")


def manifest_of(**changes: object) -> bytes:
    value = json.loads(bytes(Manifest("log", _CREATED, None, (ExportedLog("s/events/t", 1, 1),), {"a": "0" * 64})))
    return json.dumps({**value, **changes}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "all"},
        {"kind": None},
        {"format": "chaukas-export@v2"},
        {"more": 1},
        {"logs": {}},
        {"logs": [{}]},
        {"logs": [{"origin": "o", "path": "../o", "size": 1, "entries": 1}]},
        {"files": []},
        {"files": {"a": "0" * 63}},
        {"files": {"a": 7}},
        {"query": "x"},
        {"query": {"a": json.loads("[" * 70 + "]" * 70)}},
    ],
    ids=range(12),
)  # fmt: skip
def test_malformed_manifests(changes: dict[str, object]):
    """A manifest has one form, and no path in it leads out of the export."""
    with pytest.raises(VerificationError):
        Manifest.parse(manifest_of(**changes))
    twice = json.loads(manifest_of())["logs"] * 2
    with pytest.raises(VerificationError, match="twice"):
        Manifest.parse(manifest_of(logs=twice))


def test_odd_containers(tmp_path: Path):
    """Broken archives, two files of one name, links and pipes are refused or ignored, never followed."""
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 no archive")
    assert check_export(tmp_path / "broken.zip", Trust()).outcome is Outcome.FAILED
    whole = write_logs(tmp_path / "whole.zip", _SMALL).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert check_export(tmp_path / "cut.zip", _SMALL.trust).outcome is Outcome.FAILED
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("manifest.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("manifest.json", b"{}")
    assert "two files of one name" in check_export(tmp_path / "twice.zip", Trust()).verdict(INTEGRITY).reasons[0]
    links = write_logs(tmp_path / "links", _SMALL)
    (links / "manifest.json").rename(tmp_path / "manifest.json")
    (links / "manifest.json").symlink_to(tmp_path / "manifest.json")
    os.mkfifo(links / "pipe")
    assert "no file manifest.json" in check_export(links, _SMALL.trust).verdict(INTEGRITY).reasons[0]
    assert check_export(tmp_path / "nothing", Trust()).outcome is Outcome.NOT_CHECKED
