"""Which keys may have signed a log, when one of them is trusted and the log says that keys were changed."""

from __future__ import annotations

from hashlib import sha256

from chaukas.server.storage.sqlite.verification.findings import Findings
from chaukas.server.storage.sqlite.verification.heads import Heads, check_signatures, trusted_keys
from chaukas.server.tlog.keys import SigningKey
from chaukas.server.tlog.signing import sign_checkpoint
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.verdict import AUTHENTICITY

_ORIGIN = "example.com/events/acme"
_OLD, _NEW, _EVIL = (SigningKey.from_seed(sha256(name).digest()) for name in (b"old", b"new", b"evil"))
_ROOT = sha256(b"root").digest()


def _heads(change: KeyChange, *signers: tuple[int, list[SigningKey]]) -> Heads:
    checkpoints = tuple(sign_checkpoint(_ORIGIN, size, _ROOT, keys) for size, keys in signers)
    return Heads(_ORIGIN, checkpoints, ((5, change),))


def test_a_key_change_is_followed_in_both_directions():
    """Who trusts the old key or the new one trusts both, when the head over the change is signed by both."""
    change = KeyChange(_OLD.log_key(_ORIGIN), _NEW.log_key(_ORIGIN))
    heads = _heads(change, (4, [_OLD]), (6, [_OLD, _NEW]), (9, [_NEW]))
    for trusted in (_OLD, _NEW):
        keys = trusted_keys(heads, [trusted.log_key(_ORIGIN)])
        assert {key.public_key for key in keys} == {_OLD.public_key, _NEW.public_key}
        findings = Findings()
        check_signatures(heads, keys, findings)
        assert findings.total == 0


def test_a_key_change_that_the_old_key_did_not_sign_is_not_followed():
    """Somebody who writes a key change into the database, and signs what follows, does not become the log."""
    change = KeyChange(_OLD.log_key(_ORIGIN), _EVIL.log_key(_ORIGIN))
    heads = _heads(change, (4, [_OLD]), (6, [_EVIL]), (9, [_EVIL]))
    keys = trusted_keys(heads, [_OLD.log_key(_ORIGIN)])
    assert [key.public_key for key in keys] == [_OLD.public_key]
    findings = Findings()
    check_signatures(heads, keys, findings)
    assert findings.by_aspect[AUTHENTICITY] == 2
