"""Verifications as an auditor runs them: evidence, proof files, checkpoints, consistency; their verdicts and exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaukas.server.tlog.keys import SigningKey
from chaukas.verify.__main__ import main
from chaukas.verify.consistency_proofs import ConsistencyProof
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.evidence import Evidence
from chaukas.verify.origins import EventLog, log_path, read_event_origin
from chaukas.verify.payloads import Salts
from chaukas.verify.proofs import ProofExtra, parse_proof_file
from chaukas.verify.reports import check_checkpoint, check_consistency, check_evidence, check_proof
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import AUTHENTICITY, COMPLETENESS, INTEGRITY, Outcome, Report
from tests.log_samples import sample_log, seeded

_LOG = sample_log(300)
_VERIFIED, _FAILED, _NOT_CHECKED = Outcome.VERIFIED, Outcome.FAILED, Outcome.NOT_CHECKED


def verdicts(report: Report) -> tuple[Outcome, Outcome, Outcome]:
    return report.verdict(INTEGRITY).outcome, report.verdict(COMPLETENESS).outcome, report.verdict(AUTHENTICITY).outcome


@pytest.mark.parametrize("index", [0, 1, 255, 256, 299])
def test_evidence_of_any_event(index: int):
    """The server's evidence of each event verifies with nothing but the log's key, and tells which event it is."""
    report = check_evidence(bytes(_LOG.evidence(index)), _LOG.trust)
    assert verdicts(report) == (_VERIFIED, _NOT_CHECKED, _VERIFIED)
    assert report.outcome is _VERIFIED
    assert [step.number for step in report.steps] == [1, 2, 3, 4, 5, 6, 7]
    assert (report.facts["event_id"], report.facts["index"], report.facts["size"]) == (f"event-{index}", index, 300)
    report.require()


def test_evidence_without_a_key_is_not_verified():
    """The key never comes from the evidence: without one nothing is authentic, and the outcome is "not checked"."""
    report = check_evidence(bytes(_LOG.evidence(7)), Trust())
    assert verdicts(report) == (_VERIFIED, _NOT_CHECKED, _NOT_CHECKED)
    assert report.outcome is _NOT_CHECKED
    with pytest.raises(UnsupportedError, match="no verifier key"):
        report.require()


def test_evidence_by_somebody_else():
    """Evidence that is whole, but signed by another key, is not authentic."""
    forged = sample_log(20, key=SigningKey.from_seed(seeded("forger")))
    report = check_evidence(bytes(forged.evidence(7)), _LOG.trust)
    assert verdicts(report) == (_VERIFIED, _NOT_CHECKED, _FAILED)
    assert report.outcome is _FAILED
    with pytest.raises(VerificationError, match="no signature by a known key"):
        report.require()


_OTHER = sample_log(300, salt_seed="other")


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        (lambda one: replace(one, payload=(one.payload or b"") + b"\xf0\x06\x00"), [6]),
        (lambda one: replace(one, payload=_LOG.payloads[8]), [6]),
        (lambda one: replace(one, payload=b"\xff"), [6]),
        (lambda one: replace(one, salts=Salts()), [6]),
        (lambda one: replace(one, entry=_LOG.entries[8]), [5, 6]),
        (lambda one: replace(one, entry=one.entry + b"\0"), [4, 5]),
        (lambda one: replace(one, index=8), [5]),
        (lambda one: replace(one, inclusion_proof=one.inclusion_proof[1:]), [5]),
        (lambda one: replace(one, checkpoint=_LOG.checkpoint(299)), [5]),
        (lambda one: replace(one, checkpoint=_OTHER.checkpoint()), [5]),
        (lambda one: replace(one, origin="chaukas.example/events/globex"), [3]),
        (lambda one: replace(one, checkpoint=sample_log(300, tenant_id="globex").checkpoint()), [2, 3, 5, 7]),
    ],
)
def test_changed_evidence_fails_where_it_was_changed(change: Callable[[Evidence], Evidence], steps: list[int]):
    """Each part of evidence is bound to the others; the report names the step at which it breaks."""
    report = check_evidence(bytes(change(_LOG.evidence(7))), _LOG.trust)
    assert [step.number for step in report.steps if step.outcome is _FAILED] == steps
    assert report.outcome is _FAILED


def test_evidence_without_a_payload():
    """Where the payload is gone the entry is still proven, but not what it says; that is said."""
    report = check_evidence(bytes(replace(_LOG.evidence(7), payload=None)), _LOG.trust)
    assert verdicts(report) == (_NOT_CHECKED, _NOT_CHECKED, _VERIFIED)
    assert "payload was not given" in report.verdict(INTEGRITY).reasons[0]


def test_evidence_without_the_salt_of_the_session():
    """The session's salt may be withheld; then the session is named as not checked."""
    evidence = _LOG.evidence(7)
    report = check_evidence(bytes(replace(evidence, salts=replace(evidence.salts, session=None))), _LOG.trust)
    assert report.outcome is _VERIFIED
    assert any("session" in sentence for sentence in report.not_checked)


def test_an_event_in_the_log_of_another_tenant():
    """A properly logged event in a foreign log is refused: the origin names tenant and project."""
    log = sample_log(5)
    log.add_event(5, tenant_id="globex")
    report = check_evidence(bytes(log.evidence(5)), log.trust)
    assert [step.number for step in report.steps if step.outcome is _FAILED] == [7]


def test_evidence_of_a_key_change():
    """The entry of a key change, proven by the old key, names the new one."""
    log = sample_log(5)
    new = SigningKey.from_seed(seeded("new key"))
    log.add_key_change(new)
    evidence = replace(log.evidence(5), checkpoint=log.checkpoint(keys=[log.key, new]))
    report = check_evidence(bytes(evidence), log.trust)
    assert report.outcome is _VERIFIED
    assert report.facts["new_key"] == str(new.log_key(log.origin))
    foreign = sample_log(5)
    foreign.add(log.payloads[5].replace(b"help%20desk", b"help%20d"), 0, kind=3)
    assert check_evidence(bytes(foreign.evidence(5)), foreign.trust).outcome is _FAILED


def test_evidence_of_quarantined_bytes():
    """An entry of another kind is proven like an event; what its payload means is not claimed."""
    log = sample_log(5)
    log.add(b"no event", 0, kind=2)
    report = check_evidence(bytes(log.evidence(5)), log.trust)
    assert report.outcome is _VERIFIED
    assert any("quarantined" in sentence for sentence in report.not_checked)


def test_proof_files():
    """A proof file proves the event that is handed to it, and is the one that evidence contains."""
    proof = bytes(_LOG.evidence(7).proof_file())
    assert check_proof(proof, _LOG.payloads[7], _LOG.trust).outcome is _VERIFIED
    assert check_proof(proof, _LOG.payloads[8], _LOG.trust).outcome is _FAILED
    assert check_proof(proof, None, _LOG.trust).outcome is _NOT_CHECKED
    assert bytes(parse_proof_file(proof)) == proof
    bare = replace(parse_proof_file(proof), extra=None)
    assert check_proof(bytes(bare), _LOG.payloads[7], _LOG.trust).outcome is _FAILED


def test_extra_data():
    """The extra data say which salts they have."""
    for salts in (Salts(), _LOG.salts[7], replace(_LOG.salts[7], content=None), Salts(session=bytes(16))):
        extra = ProofExtra(_LOG.entries[7], salts)
        assert ProofExtra.parse(bytes(extra)) == extra
        for wrong in (bytes(extra) + b"\0", bytes(extra)[:-1], b"", b"\0" + bytes(extra)[1:]):
            with pytest.raises(VerificationError):
                ProofExtra.parse(wrong)
    with pytest.raises(UnsupportedError):
        ProofExtra.parse(b"\2\0\0\0")
    with pytest.raises(UnsupportedError):
        ProofExtra.parse(b"\1\x08\0\0")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("tlog-proof@v1", "tlog-proof@v2"),
        lambda text: text.replace("index 7", "index 07"),
        lambda text: text.replace("index 7", "index  7"),
        lambda text: text.replace("index 7\n", ""),
        lambda text: text.replace("extra ", "extra  "),
        lambda text: text.replace("c2sp", "\u0441\u0032sp"),
        lambda text: text.replace("\n\n", "\n", 1),
        lambda text: text.partition("\n\n")[0] + "\n",
        lambda text: text.replace("index 7\n", "index 7\n" + "A" * 43 + "=\n" * 1 + ("A" * 43 + "=\n") * 63),
        lambda text: text.replace("index 7\n", "index 7\nAAAA\n"),
    ],
)
def test_malformed_proof_files(change: Callable[[str], str]):
    """A proof file has one form."""
    with pytest.raises(VerificationError):
        parse_proof_file(change(bytes(_LOG.evidence(7).proof_file()).decode()).encode())


def evidence_json(**changes: Any) -> bytes:
    value = _LOG.evidence(7).as_json()
    return json.dumps({**value, **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format": "chaukas-evidence@v1"}',
        evidence_json(format="chaukas-evidence"),
        evidence_json(format=1),
        evidence_json(more=1),
        evidence_json(index=7.0),
        evidence_json(index=True),
        evidence_json(index=-1),
        evidence_json(index=1 << 63),
        evidence_json(origin=7),
        evidence_json(origin="\ud800"),
        evidence_json(entry=None),
        evidence_json(entry="A"),
        evidence_json(payload=[]),
        evidence_json(salts=None),
        evidence_json(salts={"envelope": None, "content": None}),
        evidence_json(salts={"envelope": "AAAA", "content": None, "session": None}),
        evidence_json(inclusion_proof="x"),
        evidence_json(inclusion_proof=["AAAA"]),
        evidence_json(inclusion_proof=[7]),
        evidence_json(inclusion_proof=["A" * 43 + "="] * 64),
        evidence_json(checkpoint="\ud800"),
        evidence_json(checkpoint=""),
        evidence_json()[:-1] + b', "index": 7}',
        evidence_json().replace(b'"index": 7', b'"index": NaN'),
        evidence_json().replace(b'"index": 7', b'"index": ' + b"7" * 5000),
    ],
    ids=range(31),
)
def test_malformed_evidence(data: bytes):
    """Evidence has one form; everything else is refused, and as a report it is a failed step."""
    with pytest.raises(VerificationError):
        Evidence.parse(data)
    assert check_evidence(data, _LOG.trust).outcome is _FAILED


def test_a_newer_format_is_not_called_false():
    """Evidence of a version to come is "could not check", not "failed"."""
    report = check_evidence(evidence_json(format="chaukas-evidence@v2"), _LOG.trust)
    assert report.outcome is _NOT_CHECKED


def test_checkpoints():
    """A checkpoint alone shows who vouches for it, and nothing of what is in the log."""
    report = check_checkpoint(bytes(_LOG.checkpoint()), _LOG.trust)
    assert verdicts(report) == (_NOT_CHECKED, _NOT_CHECKED, _VERIFIED)
    assert report.outcome is _VERIFIED
    assert check_checkpoint(bytes(_LOG.checkpoint()), Trust()).outcome is _NOT_CHECKED
    assert check_checkpoint(b"no checkpoint", _LOG.trust).outcome is _FAILED
    lonely = check_checkpoint(bytes(_LOG.checkpoint(cosigned=False)), _LOG.trust)
    assert any("no witness" in sentence for sentence in lonely.not_checked)
    demanding = replace(_LOG.trust, witnesses_min=1)
    assert check_checkpoint(bytes(_LOG.checkpoint(cosigned=False)), demanding).outcome is _FAILED


def consistency_json(old: int, new: int, **changes: Any) -> bytes:
    return json.dumps(ConsistencyProof(_LOG.origin, old, new, _LOG.consistency(old, new)).as_json() | changes).encode()


@pytest.mark.parametrize(("old", "new"), [(1, 300), (256, 300), (255, 257), (300, 300), (0, 5)])
def test_consistency(old: int, new: int):
    """A log that grew is shown to have only grown."""
    old_note, new_note = bytes(_LOG.checkpoint(old)), bytes(_LOG.checkpoint(new))
    assert check_consistency(old_note, new_note, consistency_json(old, new), _LOG.trust).outcome is _VERIFIED
    without = check_consistency(old_note, new_note, None, _LOG.trust)
    assert without.outcome is (_VERIFIED if old in (0, new) else _NOT_CHECKED)


def test_a_kept_checkpoint_needs_no_witnesses():
    """How many witnesses must have signed is asked of the new checkpoint; the older one the auditor kept himself."""
    demanding = replace(_LOG.trust, witnesses_min=1)
    old, new = (bytes(_LOG.checkpoint(size, cosigned=cosigned)) for size, cosigned in ((200, False), (300, True)))
    assert check_consistency(old, new, consistency_json(200, 300), demanding).outcome is _VERIFIED
    bare = bytes(_LOG.checkpoint(300, cosigned=False))
    assert check_consistency(old, bare, consistency_json(200, 300), demanding).outcome is _FAILED


def test_a_rewritten_log_is_found_out():
    """Two signed states that contradict each other convict the server, whatever proof it offers."""
    for old, new in ((200, 300), (300, 300)):
        report = check_consistency(
            bytes(_OTHER.checkpoint(old)), bytes(_LOG.checkpoint(new)), consistency_json(old, new), _LOG.trust
        )
        assert verdicts(report) == (_FAILED, _NOT_CHECKED, _VERIFIED)


def test_consistency_of_the_wrong_things():
    """Checkpoints of two logs, a proof for other sizes, a shrunk log: refused."""
    old, new = bytes(_LOG.checkpoint(200)), bytes(_LOG.checkpoint(300))
    other = bytes(sample_log(300, tenant_id="globex").checkpoint())
    for first, second, proof in (
        (old, other, consistency_json(200, 300)),
        (old, new, consistency_json(100, 300)),
        (old, new, consistency_json(200, 300, origin="x")),
        (old, new, consistency_json(200, 300, hashes=[])),
        (old, new, b"{}"),
        (new, old, consistency_json(200, 300)),
        (b"", new, None),
    ):
        assert check_consistency(first, second, proof, _LOG.trust).outcome is _FAILED


def test_origins():
    """An origin names server, tenant and project, percent-encoded; anything else names nothing."""
    assert read_event_origin(_LOG.origin) == EventLog("chaukas.example", "acme", "help desk")
    assert read_event_origin("s/events/t") == EventLog("s", "t", "")
    for other in ("", "s/access/t", "s/events/", "s/events/t/", "s/events/t/p/q", "s/events/a b", "s/events/%C3", "s/events/%61"):
        assert read_event_origin(other) is None
    assert log_path("s/events/t") == "log/" + __import__("hashlib").sha256(b"s/events/t").hexdigest()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command prints numbered steps, three verdicts and what was not checked; its status is 0, 1 or 2."""
    files = {
        "evidence.json": bytes(_LOG.evidence(7)),
        "event.tlog-proof": bytes(_LOG.evidence(7).proof_file()),
        "event.bin": _LOG.payloads[7],
        "old": bytes(_LOG.checkpoint(200)),
        "new": bytes(_LOG.checkpoint(300)),
        "consistency.json": consistency_json(200, 300),
        "keys": f"{_LOG.log_key}\n".encode(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    at = {name: str(tmp_path / name) for name in files}
    key = ["--key", str(_LOG.log_key), "--witness", str(_LOG.witness_key), "--witnesses-min", "1"]
    assert main(["evidence", at["evidence.json"], *key]) == 0
    printed = capsys.readouterr().out
    assert "  7. verified " in printed
    assert "\ncompleteness  not checked\n" in printed
    assert "Not checked:\n- whether other entries are missing" in printed
    assert main(["evidence", at["evidence.json"], "--key-file", at["keys"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"]["integrity"] == {"verdict": "verified", "reasons": []}
    assert main(["proof", at["event.tlog-proof"], "--event", at["event.bin"], *key]) == 0
    assert main(["checkpoint", at["new"], *key]) == 0
    assert main(["consistency", at["old"], at["new"], "--proof", at["consistency.json"], *key]) == 0
    assert main(["consistency", at["new"], at["old"], *key]) == 1
    assert main(["evidence", at["old"], *key]) == 1
    assert main(["evidence", at["evidence.json"]]) == 2
    assert main(["evidence", str(tmp_path / "missing"), *key]) == 2
    assert main(["evidence", at["evidence.json"], "--key", "no key"]) == 2
    assert main(["export", str(tmp_path / "missing"), *key]) == 2
    assert "could not check: " in capsys.readouterr().err


def test_the_command_reads_standard_input_and_shows_no_control_characters(tmp_path: Path):
    """Evidence can be piped in; names that come from events cannot steer the terminal."""
    log = sample_log(1, project_id="p")
    log.add_event(1, "se\x1b[2Jssion\n1. verified")
    key = tmp_path / "key"
    key.write_text(str(log.log_key))
    done = subprocess.run(
        [sys.executable, "-m", "chaukas.verify", "evidence", "-", "--key-file", str(key)],
        input=bytes(log.evidence(1)), capture_output=True, check=False, env={"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    assert b"session_id: se\\x1b[2Jssion\\n1. verified" in done.stdout


def test_the_verifier_stands_alone():
    """The verifier loads nothing of the server, of grpc or of protobuf, and no package but `cryptography`."""
    program = (
        "import sys, chaukas.verify.__main__, chaukas.verify.bulk_check\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "ours = {name for name in sys.modules if name.startswith('chaukas.')}\n"
        "assert not [name for name in ours if not name.startswith('chaukas.verify')], ours\n"
        "print(sorted(tops - set(sys.stdlib_module_names)))\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
                          capture_output=True, check=True, text=True)  # fmt: skip
    loaded = {name for name in eval(done.stdout) if not name.startswith(("_", "zipimport"))}  # noqa: S307 - our own list
    assert loaded <= {"chaukas", "cryptography", "cffi"}
