"""Witnessing: the answers of `add-checkpoint` in the order of tlog-witness, and both sides talking to each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaukas.server.tlog.keys import SigningKey
from chaukas.server.tlog.signing import cosign, sign_checkpoint
from chaukas.server.tlog.witness import SIZE_CONTENT_TYPE, TrustedLogs, WitnessedHead, decide, origin_of_request
from chaukas.server.tlog.witness_messages import (
    Conflict,
    Refusal,
    build_add_checkpoint,
    parse_add_checkpoint,
    read_answer,
)
from chaukas.verify.checkpoints import Checkpoint, read_checkpoint
from chaukas.verify.errors import VerificationError
from chaukas.verify.merkle import EMPTY_ROOT
from chaukas.verify.notes import SignatureLine
from chaukas.verify.signed_checkpoints import verify_checkpoint
from chaukas.verify.verifier_keys import ED25519, VerifierKey
from tests.log_samples import WITNESS_NAME, sample_log, seeded

# The example request of C2SP tlog-witness.
_PUBLISHED = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""
_LOG = sample_log(300)
_OTHER = sample_log(300, salt_seed="rewritten")
_LOGS = TrustedLogs([_LOG.log_key])


def head(size: int) -> WitnessedHead:
    return WitnessedHead(size, _LOG.checkpoint(size).root)


def request(old: int, new: int, proof: tuple[bytes, ...] | None = None, checkpoint: Checkpoint | None = None) -> bytes:
    proof = _LOG.consistency(old, new) if proof is None else proof
    return build_add_checkpoint(old, proof, checkpoint or _LOG.checkpoint(new, cosigned=False))


def test_the_published_request():
    """The example request of the document is read and written back byte for byte."""
    parsed = parse_add_checkpoint(_PUBLISHED.encode())
    assert (parsed.old_size, len(parsed.proof), parsed.checkpoint.size) == (20852014, 4, 20852163)
    assert build_add_checkpoint(parsed.old_size, parsed.proof, parsed.checkpoint) == _PUBLISHED.encode()
    assert origin_of_request(_PUBLISHED.encode()) == "example.com/behind-the-sofa"
    assert origin_of_request(b"x") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:0],
        lambda text: text.replace("old 20852014", "old 020852014"),
        lambda text: text.replace("old 20852014", "old -1"),
        lambda text: text.replace("old 20852014", "new 20852014"),
        lambda text: text.replace("old 20852014\n", ""),
        lambda text: text.replace("pkaw=\n", "pkaw\n"),
        lambda text: text.replace("\n\n", "\n", 1),
        lambda text: text.partition("\n\n")[0] + "\n\n",
        lambda text: text.replace("PlRN", "PlR\u00e9", 1),
        lambda text: "old 1\n" + ("A" * 43 + "=\n") * 64 + "\n" + text.partition("\n\n")[2],
        lambda text: text + "x" * (2 << 20),
    ],
)
def test_malformed_requests_are_answered_400(change: Callable[[str], str]):
    """A request of another form is answered 400, whatever it is about."""
    data = change(_PUBLISHED).encode()
    assert data != _PUBLISHED.encode()
    with pytest.raises(VerificationError):
        parse_add_checkpoint(data)
    assert decide(data, _LOGS, None).status == 400


@pytest.mark.parametrize(("old", "new"), [(0, 1), (0, 300), (1, 2), (255, 257), (256, 300), (300, 300)])
def test_a_growing_log_is_cosigned(old: int, new: int):
    """A checkpoint that continues what the witness knows is answered 200, and becomes what it knows."""
    known = head(old) if old else None
    decision = decide(request(old, new), _LOGS, known)
    assert (decision.status, decision.head) == (200, head(new))
    assert decision.checkpoint == _LOG.checkpoint(new, cosigned=False)


def test_statuses_in_the_order_of_the_document():
    """Each fault has its status, and the earlier check of the document decides where there are several."""
    foreign = sample_log(3, tenant_id="globex")
    unsigned = sign_checkpoint(_LOG.origin, 300, _LOG.checkpoint().root, [SigningKey.from_seed(seeded("stranger"))])
    bad_line = SignatureLine(_LOG.origin, _LOG.log_key.key_id, bytes(64))
    half_bad = read_checkpoint(_LOG.checkpoint().note.with_signatures([bad_line]))
    known = head(200)

    def status(data: bytes, known: WitnessedHead | None = known) -> int:
        return decide(data, _LOGS, known).status

    assert status(build_add_checkpoint(9, (), foreign.checkpoint())) == 404
    assert status(build_add_checkpoint(0, (), unsigned)) == 403
    assert status(build_add_checkpoint(400, (), half_bad)) == 403
    assert status(request(300, 300, (), _LOG.checkpoint(299))) == 400
    assert status(request(100, 300)) == 409
    assert status(request(0, 300)) == 409
    assert status(request(100, 300), None) == 409
    assert status(request(200, 300, ())) == 422
    assert status(request(200, 300, _LOG.consistency(199, 300))) == 422
    assert status(request(0, 300, (bytes(32),)), None) == 422
    assert status(request(200, 200, (), _OTHER.checkpoint(200))) == 422
    assert status(request(200, 200, (bytes(32),))) == 422
    assert status(request(200, 300, _OTHER.consistency(200, 300), _OTHER.checkpoint())) == 422


def test_a_conflict_tells_the_known_size():
    """409 carries the size that the witness knows, so that the log can ask again with the right proof."""
    for known, size in ((head(200), b"200\n"), (None, b"0\n")):
        decision = decide(request(100, 300), _LOGS, known)
        assert (decision.status, decision.content_type, decision.body) == (409, SIZE_CONTENT_TYPE, size)
        assert decision.head is None


def test_a_contradiction_is_kept_as_evidence():
    """A validly signed checkpoint of a rewritten log is not cosigned, and is handed to the caller to be reported."""
    rewritten = _OTHER.checkpoint(cosigned=False)
    decision = decide(request(200, 300, _OTHER.consistency(200, 300), rewritten), _LOGS, head(200))
    assert (decision.status, decision.checkpoint, decision.head) == (422, rewritten, None)
    assert b"old root" in decision.body


def test_an_empty_log():
    """A log of size 0 is cosigned with the empty root only."""
    for root, status in ((EMPTY_ROOT, 200), (bytes(32), 422)):
        empty = sign_checkpoint(_LOG.origin, 0, root, [_LOG.key])
        assert decide(build_add_checkpoint(0, (), empty), _LOGS, None).status == status
    assert decide(request(0, 300), _LOGS, WitnessedHead(0, EMPTY_ROOT)).status == 200


def test_logs_by_prefix():
    """A key named with a closing slash stands for every log below it; the more exact name wins."""
    second, third = (SigningKey.from_seed(seeded(name)) for name in ("second", "third"))
    logs = TrustedLogs(
        [_LOG.key.log_key("s/events/"), second.log_key("s/events/acme/"), third.log_key("s/events/acme/p"), second.log_key("t")]
    )
    public = {
        origin: [key.public_key for key in logs.keys_of(origin)]
        for origin in (
            "s/events/globex",
            "s/events/acme",
            "s/events/acme/x",
            "s/events/acme/p",
            "s/access/acme",
            "s/events/",
            "t",
            "t/u",
        )
    }
    assert public == {
        "s/events/globex": [_LOG.key.public_key],
        "s/events/acme": [_LOG.key.public_key],
        "s/events/acme/x": [second.public_key],
        "s/events/acme/p": [third.public_key],
        "s/access/acme": [],
        "s/events/": [],
        "t": [second.public_key],
        "t/u": [],
    }
    assert logs.keys_of("s/events/globex") == (VerifierKey("s/events/globex", ED25519, _LOG.key.public_key),)
    with pytest.raises(VerificationError):
        TrustedLogs([_LOG.witness_key])


def test_a_log_and_a_witness_talk():
    """A log that knows nothing of its witness learns the size from the conflict, asks again, and gets a valid cosignature."""
    checkpoint = _LOG.checkpoint(cosigned=False)
    known = head(200)
    conflict = decide(request(0, 300), _LOGS, known)
    told = read_answer(409, f"{SIZE_CONTENT_TYPE}", conflict.body, checkpoint, [_LOG.witness_key])
    assert told == Conflict(200)
    decision = decide(request(told.size, 300), _LOGS, known)
    assert decision.checkpoint is not None
    body = f"{cosign(decision.checkpoint, WITNESS_NAME, _LOG.witness, 1_795_000_000)}\n".encode()
    lines = read_answer(200, "text/plain", body, checkpoint, [_LOG.witness_key])
    assert isinstance(lines, tuple)
    cosigned = read_checkpoint(checkpoint.note.with_signatures(lines))
    assert verify_checkpoint(cosigned, [_LOG.log_key], [_LOG.witness_key], witnesses_min=1).witnesses


def answered(status: int, body: bytes, content_type: str = "text/plain") -> object:
    return read_answer(status, content_type, body, _LOG.checkpoint(cosigned=False), [_LOG.witness_key])


def test_answers_without_a_cosignature():
    """A refusal is told with its status and reason; 409 counts as a conflict only with its content type."""
    assert answered(404, b"unknown log\n") == Refusal(404, "unknown log")
    assert answered(500, b"\xff" * 5000) == Refusal(500, "\ufffd" * 1000)
    assert answered(409, b"5\n") == Refusal(409, "5")
    assert answered(409, b"5\n", "text/x.tlog.size; charset=utf-8") == Conflict(5)


def test_worthless_answers():
    """An answer with a false, foreign or missing cosignature is no answer."""
    checkpoint = _LOG.checkpoint(cosigned=False)
    right = cosign(checkpoint, WITNESS_NAME, _LOG.witness, 5)
    wrong = str(cosign(_LOG.checkpoint(299), WITNESS_NAME, _LOG.witness, 5))
    foreign = str(cosign(checkpoint, WITNESS_NAME, _LOG.key, 5))
    assert answered(200, f"{foreign}\n{right}\n".encode()) == (right,)
    for body in ("", "\n", str(right), f"{wrong}\n", f"{right}\n{wrong}\n", f"{foreign}\n", "x\n" * 300_000):
        with pytest.raises(VerificationError):
            answered(200, body.encode())
    for body in (b"", b"5", b"05\n", b"x\n", b"\xff\n"):
        with pytest.raises(VerificationError):
            answered(409, body, SIZE_CONTENT_TYPE)
