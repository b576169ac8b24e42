"""Formats of the log that outlive the code: what was frozen once is read, verified and written the same way today."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from chaukas.server.tlog.tiling import TileEdge
from chaukas.verify.checkpoints import parse_checkpoint
from chaukas.verify.evidence import Evidence
from chaukas.verify.export_check import check_export
from chaukas.verify.export_files import open_export
from chaukas.verify.exports import MANIFEST_NAME, ExportedEntry, Manifest, read_entries
from chaukas.verify.merkle import leaf_hash
from chaukas.verify.reports import check_consistency, check_evidence, check_proof
from chaukas.verify.signed_checkpoints import verify_checkpoint
from chaukas.verify.tiles import decode_bundle, encode_bundle
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import COMPLETENESS, Outcome
from chaukas.verify.verifier_keys import VerifierKey


def vectors(name: str) -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "vectors" / f"{name}_v1.json").read_text("utf-8"))


_CHECKPOINTS, _EVIDENCE, _TILES, _EXPORTS = map(vectors, ("checkpoint", "evidence", "tiles", "export"))


@pytest.mark.parametrize("vector", _CHECKPOINTS["checkpoints"], ids=lambda vector: vector["name"])
def test_frozen_checkpoints(vector: dict[str, Any]):
    """A checkpoint that somebody kept convicts or acquits the log in any later version."""
    checkpoint = parse_checkpoint(vector["note"].encode())
    assert (checkpoint.origin, checkpoint.size, checkpoint.root.hex()) == (vector["origin"], vector["size"], vector["root"])
    assert bytes(checkpoint).decode() == vector["note"]
    log_keys, witness_keys = (list(map(VerifierKey.parse, _CHECKPOINTS[name])) for name in ("log_keys", "witness_keys"))
    signers = verify_checkpoint(checkpoint, log_keys, witness_keys)
    assert len(signers.log) == vector["log_signers"]
    assert [one.timestamp for one in signers.witnesses] == vector["witness_times"]


_TRUST = Trust((VerifierKey.parse(_EVIDENCE["log_key"]),), (VerifierKey.parse(_EVIDENCE["witness_key"]),), witnesses_min=1)


@pytest.mark.parametrize("vector", _EVIDENCE["evidence"], ids=lambda vector: vector["name"])
def test_frozen_evidence(vector: dict[str, Any]):
    """Evidence and proof files that an auditor was given verify in any later version."""
    data = json.dumps(vector["evidence"]).encode()
    report = check_evidence(data, _TRUST)
    assert report.outcome is Outcome.VERIFIED
    assert (report.facts["kind"], report.facts.get("event_id")) == (vector["kind"], vector["event_id"])
    evidence = Evidence.parse(data)
    assert evidence.as_json() == vector["evidence"]
    assert bytes(evidence.proof_file()).decode() == vector["proof_file"]
    assert check_proof(vector["proof_file"].encode(), evidence.payload, _TRUST).outcome is Outcome.VERIFIED


@pytest.mark.parametrize("vector", _EVIDENCE["consistency"])
def test_frozen_consistency_proofs(vector: dict[str, Any]):
    """A consistency proof that somebody kept verifies in any later version."""
    proof = json.dumps(vector["proof"]).encode()
    assert check_consistency(vector["old"].encode(), vector["new"].encode(), proof, _TRUST).outcome is Outcome.VERIFIED


def test_frozen_tiles():
    """Tiles, bundles and roots of a tree are the same bytes for ever."""
    leaves = [leaf_hash(str(number).encode()) for number in range(_TILES["size"])]
    edge = TileEdge()
    tiles = {str(path): tile for path, tile in (*edge.extend(leaves), *edge.partial_tiles())}
    assert edge.root().hex() == _TILES["root"]
    assert {name: sha256(tiles[name]).hexdigest() for name in _TILES["tiles"]} == _TILES["tiles"]
    entries = [bytes.fromhex(entry) for entry in _TILES["bundle"]["entries"]]
    bundle = base64.b64decode(_TILES["bundle"]["bytes"])
    assert encode_bundle(entries) == bundle
    assert decode_bundle(bundle, len(entries)) == entries


@pytest.mark.parametrize("vector", _EXPORTS["exports"], ids=lambda vector: vector["name"])
def test_frozen_exports(vector: dict[str, Any], tmp_path: Path):
    """An export from today is verified, and its entries are read, by any later version."""
    for name, content in vector["files"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(base64.b64decode(content))
    report = check_export(tmp_path, Trust((VerifierKey.parse(_EXPORTS["log_key"]),)))
    assert report.outcome is Outcome.VERIFIED
    assert report.verdict(COMPLETENESS).outcome.value == vector["completeness"]
    files = open_export(tmp_path)
    manifest = Manifest.parse((tmp_path / MANIFEST_NAME).read_bytes())
    assert json.loads(bytes(manifest)) == json.loads((tmp_path / MANIFEST_NAME).read_bytes())
    found: list[ExportedEntry] = [
        one for log in manifest.logs for bundle in read_entries(files, manifest.kind, log) for one in bundle
    ]
    assert [one.entry.hex() for one in found] == vector["entries"]
    assert [base64.b64encode(one.payload or b"").decode() for one in found] == vector["payloads"]
