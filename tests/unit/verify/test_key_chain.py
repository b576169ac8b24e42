"""Following changes of a log's key: from a key that is trusted to the next, and along nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chaukas.server.tlog.exporting import DirectorySink, ExportWriter
from chaukas.server.tlog.keys import SigningKey
from chaukas.verify.__main__ import main
from chaukas.verify.errors import VerificationError
from chaukas.verify.evidence import Evidence
from chaukas.verify.export_check import check_export
from chaukas.verify.key_chain import follow_key_change, follow_key_changes
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import AUTHENTICITY, INTEGRITY, Outcome
from tests.log_samples import SampleLog, sample_log, seeded

_SECOND, _THIRD = SigningKey.from_seed(seeded("second key")), SigningKey.from_seed(seeded("third key"))


def _signed_by(log: SampleLog, index: int, *keys: SigningKey) -> Evidence:
    evidence = log.evidence(index, index + 1)
    return replace(evidence, checkpoint=log.checkpoint(index + 1, keys=list(keys), cosigned=False))


def _rotated() -> tuple[SampleLog, list[Evidence]]:
    """A log whose key changed twice, with the evidence of both changes, and events before, between and behind them."""
    log = sample_log(10)
    first = log.key
    changes = []
    for old, new in ((first, _SECOND), (_SECOND, _THIRD)):
        log.key = old
        log.add_key_change(new)
        changes.append(_signed_by(log, len(log.entries) - 1, old, new))
        log.key = new
        log.add_event(1000 + len(log.entries))
    return log, changes


_LOG, _CHANGES = _rotated()
_FIRST = SampleLog().key.log_key(_LOG.origin)
_TRUST = Trust((_FIRST,))


def test_trust_goes_from_key_to_key() -> None:
    """Two changes lead from the first key to the third, in their order only, and a change twice is one."""
    followed = follow_key_changes(map(bytes, _CHANGES), _TRUST)
    assert followed.log_keys == (_FIRST, _SECOND.log_key(_LOG.origin), _THIRD.log_key(_LOG.origin))
    assert followed.check(_LOG.checkpoint(cosigned=False)).log == (_THIRD.log_key(_LOG.origin),)
    assert follow_key_change(bytes(_CHANGES[0]), followed) == followed
    with pytest.raises(VerificationError, match="not trusted"):
        follow_key_change(bytes(_CHANGES[1]), _TRUST)
    with pytest.raises(VerificationError):
        _TRUST.check(_LOG.checkpoint(cosigned=False))


_FORGERIES: dict[str, Callable[[Evidence], Evidence]] = {
    "signed by the old key only": lambda _one: _signed_by(_LOG, 10, SampleLog().key),
    "signed by the new key only": lambda _one: _signed_by(_LOG, 10, _SECOND),
    "another entry": lambda _one: _signed_by(_LOG, 9, SampleLog().key, _SECOND),
    "another payload": lambda one: replace(one, payload=bytes(KeyChange(_FIRST, _THIRD.log_key(_LOG.origin)))),
    "without its payload": lambda one: replace(one, payload=None),
    "another index": lambda one: replace(one, index=9),
    "another origin": lambda one: replace(one, origin=f"{one.origin}x"),
    "another proof": lambda one: replace(one, inclusion_proof=one.inclusion_proof[1:]),
}


@pytest.mark.parametrize("forgery", _FORGERIES)
def test_forged_changes_lead_nowhere(forgery: str) -> None:
    """A change is followed only with both signatures, the entry, its payload and its place."""
    with pytest.raises(VerificationError):
        follow_key_change(bytes(_FORGERIES[forgery](_CHANGES[0])), _TRUST)


def _export(path: Path, log: SampleLog, changes: list[Evidence], *, complete: bool) -> Path:
    writer = ExportWriter(DirectorySink(path))
    size = len(log.entries)
    if complete:
        writer.complete_log((log.exported(index) for index in range(size)), log.checkpoint(cosigned=False), [])
    else:
        writer.results((log.exported(index, size) for index in (1, 4, 12)), log.checkpoint(cosigned=False), [])
    writer.key_changes(changes)
    writer.finish("2026-11-22T20:00:00Z")
    return path


@pytest.mark.parametrize("complete", [True, False])
def test_an_export_is_followed_from_any_key(tmp_path: Path, complete: bool) -> None:
    """Whoever has the first, second or third key verifies the same export; a stranger's key does not."""
    path = _export(tmp_path / "export", _LOG, _CHANGES, complete=complete)
    for key in (_FIRST, _SECOND.log_key(_LOG.origin), _THIRD.log_key(_LOG.origin)):
        report = check_export(path, Trust((key,)))
        assert report.outcome is Outcome.VERIFIED, report.as_json()
    report = check_export(path, Trust((SigningKey.generate().log_key(_LOG.origin),)))
    assert report.verdict(AUTHENTICITY).outcome is Outcome.FAILED
    gap = _export(tmp_path / "gap", _LOG, _CHANGES[1:], complete=complete)
    assert check_export(gap, _TRUST).verdict(AUTHENTICITY).outcome is Outcome.FAILED


def test_a_change_of_another_history_is_found(tmp_path: Path) -> None:
    """A change that the old key signed in another history of the log than the one that is exported is no way to it."""
    fork = sample_log(10, salt_seed="another history")
    fork.add_key_change(_THIRD)
    change = _signed_by(fork, 10, fork.key, _THIRD)
    report = check_export(_export(tmp_path / "export", _LOG, [change], complete=True), _TRUST)
    assert report.verdict(INTEGRITY).outcome is Outcome.FAILED


def test_the_command_line_follows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--key-change` leads from the key that is given to the one that signed; without it the checkpoint is a stranger's."""
    (tmp_path / "checkpoint").write_bytes(bytes(_LOG.checkpoint(cosigned=False)))
    given = ["checkpoint", str(tmp_path / "checkpoint"), "--key", str(_FIRST)]
    assert main(given) == 1
    for number, change in enumerate(_CHANGES):
        (tmp_path / f"{number}").write_bytes(bytes(change))
        given += ["--key-change", str(tmp_path / f"{number}")]
    assert main(given) == 0
    assert str(_SECOND.log_key(_LOG.origin)) in capsys.readouterr().out
    (tmp_path / "0").write_bytes(b"{}")
    assert main(given) == 2
