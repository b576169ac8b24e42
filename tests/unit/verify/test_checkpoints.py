"""Checkpoints and cosignatures: the documents' own examples, signatures of both types, and policies."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from chaukas.server.tlog.keys import SigningKey
from chaukas.server.tlog.signing import cosign, sign_checkpoint
from chaukas.verify import verifier_keys
from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint, read_checkpoint
from chaukas.verify.cosignatures import check_cosignature, cosignature_message, subtree_message
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.merkle import EMPTY_ROOT
from chaukas.verify.notes import SignatureLine, SignedNote
from chaukas.verify.signed_checkpoints import verify_checkpoint
from chaukas.verify.verifier_keys import COSIGNATURE_ML_DSA_44, VerifierKey
from tests.log_samples import WITNESS_NAME, sample_log, seeded

# C2SP tlog-cosignature, with the log's and a witness's signature.
_PUBLISHED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
_LOG = sample_log(5)
_MLDSA = MLDSA44PrivateKey.from_seed_bytes(seeded("ml-dsa"))
_MLDSA_KEY = VerifierKey("pq.example/w", COSIGNATURE_ML_DSA_44, _MLDSA.public_key().public_bytes_raw())


def ml_dsa_line(checkpoint: Checkpoint, timestamp: int) -> SignatureLine:
    message = subtree_message(_MLDSA_KEY.name, timestamp, checkpoint.origin, checkpoint.size, checkpoint.root)
    return SignatureLine(_MLDSA_KEY.name, _MLDSA_KEY.key_id, timestamp.to_bytes(8, "big") + _MLDSA.sign(message))


def with_lines(checkpoint: Checkpoint, *lines: SignatureLine) -> Checkpoint:
    return read_checkpoint(checkpoint.note.with_signatures(lines))


def test_the_published_checkpoint():
    """The example of tlog-cosignature is read: origin, size, root, and the time in the witness's line."""
    checkpoint = parse_checkpoint(_PUBLISHED.encode())
    assert (checkpoint.origin, checkpoint.size, checkpoint.extensions) == ("example.com/behind-the-sofa", 20852163, ())
    assert checkpoint.root.hex().startswith("0ac5186a")
    assert int.from_bytes(checkpoint.note.signatures[1].signature[:8], "big") == 1679315147
    assert bytes(checkpoint) == _PUBLISHED.encode()


def test_the_message_of_a_cosignature():
    """A witness signs two header lines and the text, as tlog-cosignature prints them."""
    text = "".join(line + "\n" for line in _PUBLISHED.splitlines()[:3])
    assert cosignature_message(1679315147, text).decode() == (
        "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


def test_the_message_of_a_subtree_cosignature():
    """The structure `cosigned_message` is laid out as tlog-cosignature declares it."""
    message = subtree_message("w", 2, "log", 3, b"\x07" * 32)
    assert (
        message == b"subtree/v1\n\0" + b"\x01w" + bytes(7) + b"\x02" + b"\x03log" + bytes(8) + bytes(7) + b"\x03" + b"\x07" * 32
    )
    with pytest.raises(UnsupportedError):
        subtree_message("w", 2, "x" * 256, 3, bytes(32))


def test_log_and_witness_have_signed():
    """A checkpoint is vouched for by the log's key and by each known witness, with the time of its cosignature."""
    signers = verify_checkpoint(_LOG.checkpoint(), [_LOG.log_key], [_LOG.witness_key], witnesses_min=1)
    assert (signers.log, signers.unknown_lines) == ((_LOG.log_key,), 0)
    assert [(one.key, one.timestamp) for one in signers.witnesses] == [(_LOG.witness_key, 1_795_000_005)]
    assert verify_checkpoint(_LOG.checkpoint(), [_LOG.log_key]).unknown_lines == 1


def test_both_keys_sign_while_a_key_is_replaced():
    """Whoever trusts the old or the new key verifies the checkpoint of the change; one invalid known key spoils it."""
    new = SigningKey.from_seed(seeded("new"))
    checkpoint = _LOG.checkpoint(keys=[_LOG.key, new])
    for keys in ([_LOG.log_key], [new.log_key(_LOG.origin)], [_LOG.log_key, new.log_key(_LOG.origin)]):
        assert verify_checkpoint(checkpoint, keys).log == tuple(keys)


def test_a_key_speaks_only_for_the_log_it_is_named_after():
    """A checkpoint of another log is refused although a trusted key has signed it."""
    other = sample_log(1, tenant_id="globex")
    text = other.checkpoint().note.text
    stolen = read_checkpoint(SignedNote(text, (SignatureLine(_LOG.origin, _LOG.log_key.key_id, _LOG.key.sign(text.encode())),)))
    with pytest.raises(VerificationError, match="no key was given for the origin"):
        verify_checkpoint(stolen, [_LOG.log_key])
    assert verify_checkpoint(stolen, [_LOG.log_key], origin=other.origin).log == (_LOG.log_key,)
    with pytest.raises(VerificationError, match="not of"):
        verify_checkpoint(_LOG.checkpoint(), [_LOG.log_key], origin=other.origin)


def test_too_few_witnesses():
    """A policy of n witnesses is not met by one witness with two keys."""
    second = SigningKey.from_seed(seeded("second key of the witness"))
    checkpoint = with_lines(_LOG.checkpoint(), cosign(_LOG.checkpoint(), WITNESS_NAME, second, 1))
    keys = [_LOG.witness_key, second.witness_key(WITNESS_NAME)]
    assert len(verify_checkpoint(checkpoint, [_LOG.log_key], keys, witnesses_min=1).witnesses) == 2
    with pytest.raises(VerificationError, match="1 known witnesses have signed, 2 are required"):
        verify_checkpoint(checkpoint, [_LOG.log_key], keys, witnesses_min=2)


def test_a_bad_cosignature_of_a_known_witness():
    """A cosignature over another checkpoint, with another time, or cut short rejects the checkpoint."""
    line = cosign(_LOG.checkpoint(4), WITNESS_NAME, _LOG.witness, 1000)
    good = cosign(_LOG.checkpoint(cosigned=False), WITNESS_NAME, _LOG.witness, 1000)
    moved = SignatureLine(good.name, good.key_id, (1001).to_bytes(8, "big") + good.signature[8:])
    short = SignatureLine(good.name, good.key_id, good.signature[:-1])
    far = SignatureLine(good.name, good.key_id, b"\xff" * 8 + good.signature[8:])
    zero = SignatureLine(good.name, good.key_id, bytes(8) + good.signature[8:])
    for bad in (line, moved, short, far, zero):
        with pytest.raises(VerificationError):
            verify_checkpoint(with_lines(_LOG.checkpoint(), bad), [_LOG.log_key], [_LOG.witness_key])


def test_ml_dsa_cosignatures():
    """A witness may sign with ML-DSA-44 (type 0x06), with a time or without one."""
    checkpoint = _LOG.checkpoint(cosigned=False)
    for timestamp in (0, 1_795_000_000):
        signers = verify_checkpoint(with_lines(checkpoint, ml_dsa_line(checkpoint, timestamp)), [_LOG.log_key], [_MLDSA_KEY])
        assert [one.timestamp for one in signers.witnesses] == [timestamp]
    bad = ml_dsa_line(_LOG.checkpoint(4), 5)
    with pytest.raises(VerificationError, match="not valid"):
        verify_checkpoint(with_lines(checkpoint, bad), [_LOG.log_key], [_MLDSA_KEY])


def test_where_ml_dsa_is_missing(monkeypatch: pytest.MonkeyPatch):
    """Where the library lacks ML-DSA-44 the line is kept, reported as not checked, and counts for nothing."""

    def missing(_: bytes) -> None:
        raise UnsupportedError("no ML-DSA-44")

    monkeypatch.setattr(verifier_keys, "_ml_dsa_44", missing)
    checkpoint = with_lines(_LOG.checkpoint(), ml_dsa_line(_LOG.checkpoint(), 1))
    signers = verify_checkpoint(checkpoint, [_LOG.log_key], [_MLDSA_KEY, _LOG.witness_key])
    assert [one.key for one in signers.witnesses] == [_LOG.witness_key]
    assert len(signers.not_checked) == 1
    with pytest.raises(VerificationError, match="0 known witnesses"):
        verify_checkpoint(checkpoint, [_LOG.log_key], [_MLDSA_KEY], witnesses_min=1)


def test_roles_of_keys_are_not_mixed():
    """A log's key is no witness and a witness's key no log, though both are Ed25519."""
    checkpoint = _LOG.checkpoint()
    with pytest.raises(UnsupportedError):
        verify_checkpoint(checkpoint, [_LOG.log_key], [_LOG.log_key])
    with pytest.raises(UnsupportedError):
        verify_checkpoint(checkpoint, [_LOG.key.witness_key(_LOG.origin)])
    with pytest.raises(VerificationError):
        check_cosignature(_LOG.log_key, checkpoint.note.signatures[0], checkpoint)


def test_an_empty_log_has_the_empty_root():
    """A tree of size 0 with any other root is refused."""
    key = _LOG.key
    assert verify_checkpoint(sign_checkpoint("o", 0, EMPTY_ROOT, [key]), [key.log_key("o")]).log
    with pytest.raises(VerificationError, match="empty tree"):
        verify_checkpoint(sign_checkpoint("o", 0, bytes(32), [key]), [key.log_key("o")])


_SIGNATURE = _PUBLISHED.partition("\n\n")[2]
_ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n",
        f"\n1\n{_ROOT}\n",
        f"o\n01\n{_ROOT}\n",
        f"o\n+1\n{_ROOT}\n",
        f"o\n-1\n{_ROOT}\n",
        f"o\n1 \n{_ROOT}\n",
        f"o\n\u0661\n{_ROOT}\n",
        f"o\n9223372036854775808\n{_ROOT}\n",
        f"o\n{'9' * 5000}\n{_ROOT}\n",
        f"o\n1\n{_ROOT[:-4]}\n",
        f"o\n1\n{_ROOT}\n\nextension\n",
        f"o\n\n1\n{_ROOT}\n",
        f"o\n1\n{_ROOT}AAAA\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str):
    """Only origin, size, root and non-empty extension lines are a checkpoint."""
    with pytest.raises(VerificationError):
        parse_checkpoint(f"{text}\n{_SIGNATURE}".encode())


def test_extension_lines_are_kept_and_signed():
    """Extension lines are opaque, but a signature covers them."""
    checkpoint = parse_checkpoint(f"o\n0\n{_ROOT}\nmore\nand more\n\n{_SIGNATURE}".encode())
    assert (checkpoint.extensions, checkpoint.size) == (("more", "and more"), 0)


@pytest.mark.parametrize(
    ("origin", "size", "root"), [("", 1, bytes(32)), ("a\nb", 1, bytes(32)), ("a b", 1, bytes(32)), ("o", -1, bytes(32)),
    ("o", 1 << 63, bytes(32)), ("o", 1, bytes(31)), ("\ud800", 1, bytes(32))],
)  # fmt: skip
def test_what_cannot_be_signed(origin: str, size: int, root: bytes):
    """The server never signs a text that a verifier would refuse."""
    with pytest.raises(VerificationError):
        sign_checkpoint(origin, size, root, [_LOG.key])
    with pytest.raises(ValueError, match="at least one key"):
        sign_checkpoint("o", 1, bytes(32), [])
    with pytest.raises(VerificationError):
        cosign(_LOG.checkpoint(), WITNESS_NAME, _LOG.witness, 0)
