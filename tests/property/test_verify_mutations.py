"""Proofs that were tampered with, and bytes from nowhere: refused by `VerificationError`, or the same meaning as before."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaukas.server.tlog.exporting import ExportWriter, ZipSink
from chaukas.server.tlog.witness import TrustedLogs, decide
from chaukas.server.tlog.witness_messages import build_add_checkpoint, parse_add_checkpoint, read_answer
from chaukas.verify.bulk_check import check_events
from chaukas.verify.checkpoints import parse_checkpoint
from chaukas.verify.consistency_proofs import ConsistencyProof
from chaukas.verify.entries import decode_entry
from chaukas.verify.errors import VerificationError
from chaukas.verify.evidence import Evidence
from chaukas.verify.export_check import check_export
from chaukas.verify.exports import Manifest
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.notes import parse_note, parse_signature_lines
from chaukas.verify.proofs import ProofExtra, parse_proof_file
from chaukas.verify.reports import check_checkpoint, check_evidence, check_proof
from chaukas.verify.stored_events import read_stored_event
from chaukas.verify.tiles import decode_bundle, parse_tile_path
from chaukas.verify.verdict import Outcome, Report
from chaukas.verify.verifier_keys import VerifierKey, parse_verifier_keys
from tests.log_samples import sample_log
from tests.strategies import unhurried

_LOG = sample_log(20)
_INDEX = 13
_EVIDENCE = json.dumps(_LOG.evidence(_INDEX).as_json()).encode()
_PROOF = bytes(_LOG.evidence(_INDEX).proof_file())
_CHECKPOINT = bytes(_LOG.checkpoint())


def same_or_refused(check: Callable[[bytes], Report], good: bytes, changed: bytes) -> None:
    expected, found = check(good), check(changed)
    assert expected.outcome is Outcome.VERIFIED
    if found.outcome is not Outcome.VERIFIED:
        return
    facts = dict(found.facts)
    # A signature line whose name or key id was changed is one by an unknown key, and rightly skipped.
    if facts["witnesses"] == []:
        facts["witnesses"] = expected.facts["witnesses"]
    assert facts == expected.facts


_CHECKS: dict[str, tuple[bytes, Callable[[bytes], Report]]] = {
    "evidence": (_EVIDENCE, lambda data: check_evidence(data, _LOG.trust)),
    "proof": (_PROOF, lambda data: check_proof(data, _LOG.payloads[_INDEX], _LOG.trust)),
    "checkpoint": (_CHECKPOINT, lambda data: check_checkpoint(data, _LOG.trust)),
}


@pytest.mark.parametrize("name", _CHECKS)
def test_every_single_byte_counts(name: str):
    """Each byte of evidence, proof and checkpoint, changed by one bit: refused, or nothing was changed in meaning."""
    good, check = _CHECKS[name]
    bits = random.Random(7)
    for at in range(len(good)):
        same_or_refused(check, good, good[:at] + bytes((good[at] ^ 1 << bits.randrange(8),)) + good[at + 1 :])


@unhurried
@given(st.sampled_from(sorted(_CHECKS)), st.data())
def test_mutations_change_no_meaning(name: str, data: st.DataObject):
    """Bytes set, inserted, removed and moved in evidence, proof and checkpoint: refused, or the same meaning."""
    good, check = _CHECKS[name]
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        match data.draw(st.sampled_from(["set", "insert", "delete", "repeat", "swap"])):
            case "set":
                changed[at] = data.draw(st.integers(0, 255))
            case "insert":
                changed[at:at] = data.draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del changed[at : at + data.draw(st.integers(1, 40))]
            case "repeat":
                changed[at:at] = changed[at : at + data.draw(st.integers(1, 80))]
            case _:
                other = data.draw(st.integers(0, len(changed) - 1))
                changed[at], changed[other] = changed[other], changed[at]
        if not changed:
            break
    same_or_refused(check, good, bytes(changed))


_READERS: list[Callable[[bytes], object]] = [
    parse_note,
    parse_signature_lines,
    parse_checkpoint,
    parse_proof_file,
    parse_add_checkpoint,
    Evidence.parse,
    ConsistencyProof.parse,
    Manifest.parse,
    ProofExtra.parse,
    KeyChange.parse,
    decode_entry,
    read_stored_event,
    lambda data: decode_bundle(data, 2),
    lambda data: VerifierKey.parse(data.decode("utf-8", "surrogateescape")),
    lambda data: parse_verifier_keys(data.decode("utf-8", "surrogateescape")),
    lambda data: parse_tile_path(data.decode("utf-8", "surrogateescape")),
    lambda data: read_answer(200, "x", data, _LOG.checkpoint(), [_LOG.witness_key]),
    lambda data: read_answer(409, "text/x.tlog.size", data, _LOG.checkpoint(), [_LOG.witness_key]),
    lambda data: check_events([data], bytes(32), [data], [len(data) // 2]),
    lambda data: decide(data, TrustedLogs([_LOG.log_key]), None),
    lambda data: check_evidence(data, _LOG.trust).as_json(),
    lambda data: check_proof(data, data, _LOG.trust).as_json(),
]
_SEEDS = [
    _EVIDENCE,
    _PROOF,
    _CHECKPOINT,
    str(_LOG.log_key).encode(),
    _LOG.entries[1],
    _LOG.payloads[1],
    build_add_checkpoint(5, _LOG.consistency(5, 20), _LOG.checkpoint()),
    b'{"format": "chaukas-export@v1", "kind": "log", "created_at": "", "query": null, "logs": [], "files": {}}',
    json.dumps(ConsistencyProof("o", 1, 2, (bytes(32),)).as_json()).encode(),
]


@st.composite
def bytes_from_nowhere(draw: st.DrawFn) -> bytes:
    """Random bytes, random text, and pieces of good messages glued together."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        seed = draw(st.sampled_from(_SEEDS))
        start = draw(st.integers(0, len(seed)))
        parts.append(draw(st.sampled_from([seed[start:], seed[:start], b"\n", b"\n\n", seed, draw(st.binary(max_size=8))])))
    return b"".join(parts)


@settings(unhurried, max_examples=300)
@given(bytes_from_nowhere())
def test_any_bytes_raise_nothing_else(data: bytes):
    """Whatever bytes a reader is given, they are read or refused by `VerificationError`; reports raise nothing at all."""
    for read in _READERS:
        try:
            read(data)
        except VerificationError:
            continue


@cache
def exported(directory: Path) -> bytes:
    path = directory / "good.zip"
    writer = ExportWriter(ZipSink(path))
    writer.complete_log((_LOG.exported(index) for index in range(20)), _LOG.checkpoint(), [_LOG.log_key])
    writer.finish("")
    return path.read_bytes()


@pytest.fixture(scope="module")
def export_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@settings(unhurried, max_examples=150)
@given(data=st.data())
def test_damaged_archives(export_dir: Path, data: st.DataObject):
    """An archive with changed, missing or added bytes gives a report, never an exception, and no false facts."""
    good = exported(export_dir)
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        if data.draw(st.booleans()):
            changed[at] = data.draw(st.integers(0, 255))
        else:
            del changed[at : at + data.draw(st.integers(1, 100))]
        if not changed:
            break
    path = export_dir / "damaged.zip"
    path.write_bytes(changed)
    report = check_export(path, _LOG.trust)
    report.as_json()
    if report.outcome is Outcome.VERIFIED:
        (log,) = report.facts["logs"]
        assert (log["origin"], log["size"], log["root"]) == (_LOG.origin, 20, _LOG.checkpoint().root.hex())
