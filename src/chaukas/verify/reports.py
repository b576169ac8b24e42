"""Verifications as reports with numbered steps: a checkpoint, consistency, evidence, a proof file.

The functions take bytes as they came from the server and what the auditor trusts. They raise nothing for malformed input: it is
a failed step. `report.require()` turns a report into an exception.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.consistency_proofs import ConsistencyProof
from chaukas.verify.entries import KIND_EVENT, KIND_KEY, KIND_NAMES, LogEntry, decode_entry
from chaukas.verify.errors import VerificationError
from chaukas.verify.evidence import Evidence
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.merkle import leaf_hash, verify_consistency, verify_inclusion
from chaukas.verify.origins import check_event_belongs, read_event_origin
from chaukas.verify.payloads import Salts, check_payload
from chaukas.verify.proofs import ProofExtra, parse_proof_file
from chaukas.verify.signed_checkpoints import Signers
from chaukas.verify.stored_events import StoredEvent
from chaukas.verify.trust import Trust
from chaukas.verify.verdict import AUTHENTICITY, COMPLETENESS, INTEGRITY, Report

__all__ = ["check_checkpoint", "check_consistency", "check_evidence", "check_proof", "check_signers", "check_witnesses_asked"]

_NO_WITNESS = "no witness was asked for: a server that shows different logs to different people is not found out by this alone"
_CLOCK = "times of receipt are the server's word; the log shows only that none lies before that of an earlier entry"


def utc(seconds: int) -> str:
    """A POSIX time in ISO 8601; as a number where the calendar ends."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def check_signers(
    report: Report, checkpoint: Checkpoint, trust: Trust, name: str = "the checkpoint", facts: dict[str, Any] | None = None
) -> Signers | None:
    """The step of authenticity: who has signed, and what that leaves open. What is learned goes to `facts`, or the report's."""
    facts = report.facts if facts is None else facts
    facts |= {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
    text = f"{name} is signed by the log's key"
    if trust.witnesses_min:
        text += f", and by at least {trust.witnesses_min} known witnesses"
    elif trust.witness_keys:
        text += "; the known witnesses' cosignatures on it, if any, are valid"
    signers = report.run(AUTHENTICITY, text, lambda: trust.check(checkpoint))
    if signers is None:
        report.leave([f"{name} has no valid signature that is trusted here: all else is only as good as this checkpoint"])
    else:
        facts["signed_by"] = [str(key) for key in signers.log]
        if trust.followed:
            facts["followed_key_changes"] = [
                {"old_key": str(change.old), "new_key": str(change.new)} for change in trust.followed
            ]
        facts["witnesses"] = [
            {"key": str(one.key), "time": utc(one.timestamp) if one.timestamp else None} for one in signers.witnesses
        ]
        report.leave(signers.not_checked)
        if signers.unknown_lines:
            report.leave([f"{signers.unknown_lines} signatures on {name} are by keys that were not given"])
    return signers


def check_witnesses_asked(report: Report, signers: Signers | None) -> None:
    """Say what it means that no witness has vouched."""
    if signers is None or not signers.witnesses:
        report.leave([_NO_WITNESS])


def check_checkpoint(data: bytes, trust: Trust) -> Report:
    """A checkpoint: 1. it is one; 2. the log has signed it, and the witnesses."""
    report = Report("the checkpoint", required=frozenset({AUTHENTICITY}))
    report.silent |= dict.fromkeys((INTEGRITY, COMPLETENESS), "a checkpoint alone holds no entries")
    # 1.
    checkpoint = report.run(AUTHENTICITY, "the checkpoint is well formed", lambda: parse_checkpoint(data))
    if checkpoint is None:
        return report
    # 2.
    signers = check_signers(report, checkpoint, trust)
    check_witnesses_asked(report, signers)
    report.leave(["whether any entry is in the log: a checkpoint alone shows who vouches for a state, not what is in it"])
    return report


def check_consistency(old_data: bytes, new_data: bytes, proof_data: bytes | None, trust: Trust) -> Report:
    """Two checkpoints of one log.

    1. Both are checkpoints.
    2. Both are signed by the log: of two that contradict each other this is what convicts the server. How many witnesses must
       have signed is asked of the new one only; the old one is the auditor's own.
    3. Both are of the same log, and the proof is for them.
    4. The newer tree begins with the older one: nothing was changed or taken away in between.
    """
    report = Report("the consistency of two checkpoints")
    report.silent[COMPLETENESS] = "no entries were read; what was in the older log is in the newer one"
    # 1.
    old = report.run(AUTHENTICITY, "the old checkpoint is well formed", lambda: parse_checkpoint(old_data))
    new = report.run(AUTHENTICITY, "the new checkpoint is well formed", lambda: parse_checkpoint(new_data))
    if old is None or new is None:
        return report
    # 2.
    check_signers(report, old, replace(trust, witnesses_min=0), "the old checkpoint")
    check_witnesses_asked(report, check_signers(report, new, trust, "the new checkpoint"))
    report.facts["old_size"] = old.size

    # 3.
    def read_proof() -> tuple[bytes, ...]:
        if old.origin != new.origin:
            raise VerificationError(f"the checkpoints are of two logs, {old.origin!r} and {new.origin!r}")
        if proof_data is None:
            return ()
        proof = ConsistencyProof.parse(proof_data)
        if (proof.origin, proof.old_size, proof.new_size) != (old.origin, old.size, new.size):
            raise VerificationError(f"the proof is for sizes {proof.old_size} and {proof.new_size} of {proof.origin!r}")
        return proof.hashes

    hashes = report.run(INTEGRITY, "the checkpoints are of one log, and the proof is for them", read_proof)
    if hashes is None:
        return report
    # 4.
    text = f"the log of {new.size} entries begins with the log of {old.size} entries"
    if proof_data is None and 0 < old.size < new.size:
        report.skip(INTEGRITY, text, "no consistency proof was given (--proof)")
    else:
        report.run(INTEGRITY, text, lambda: verify_consistency(old.size, old.root, new.size, new.root, hashes))
    report.leave(["what the entries say: the proof shows that the log only grew"])
    return report


def check_evidence(data: bytes, trust: Trust) -> Report:
    """Evidence of one entry.

    1. It is well formed.
    2. Its checkpoint is signed by the log, and by the witnesses asked for.
    3. It is of one log throughout.
    4. The entry is canonical.
    5. The entry stands at its index in the tree of the checkpoint.
    6. The payload is what the entry commits to.
    7. An event stands in the log of its tenant and project; a change of the log's key names this log.
    """
    report = Report("the evidence")
    # 1.
    evidence = report.run(INTEGRITY, "the evidence is well formed", lambda: Evidence.parse(data))
    if evidence is None:
        return report
    # 2.
    check_witnesses_asked(report, check_signers(report, evidence.checkpoint, trust))

    # 3.
    def one_log() -> bool:
        if evidence.origin != evidence.checkpoint.origin:
            raise VerificationError(f"the evidence names {evidence.origin!r}, its checkpoint {evidence.checkpoint.origin!r}")
        return True

    report.run(INTEGRITY, "evidence and checkpoint are of the same log", one_log)
    # 4. to 7.
    _check_entry(
        report, evidence.entry, evidence.salts, evidence.payload, evidence.index, evidence.inclusion_proof, evidence.checkpoint
    )
    return report


def check_proof(data: bytes, payload: bytes | None, trust: Trust) -> Report:
    """A proof file (tlog-proof, "Verifying a tlog proof"); `payload` is the stored event that it is said to be of.

    1. It is well formed, and its extra data hold an entry.
    2. Its checkpoint is signed by the log, and by the witnesses asked for.
    3. to 6. as 4. to 7. of `check_evidence`.
    """
    report = Report("the proof")
    # 1.
    proof = report.run(INTEGRITY, "the proof is well formed", lambda: parse_proof_file(data))
    if proof is None:
        return report

    def read_extra() -> ProofExtra:
        if proof.extra is None:
            raise VerificationError("the proof has no extra data, and so no entry")
        return ProofExtra.parse(proof.extra)

    extra = report.run(INTEGRITY, "its extra data hold an entry and salts", read_extra)
    # 2.
    check_witnesses_asked(report, check_signers(report, proof.checkpoint, trust))
    # 3. to 6.
    if extra is not None:
        _check_entry(report, extra.entry, extra.salts, payload, proof.index, proof.hashes, proof.checkpoint)
    return report


def _check_entry(
    report: Report,
    entry_data: bytes,
    salts: Salts,
    payload: bytes | None,
    index: int,
    hashes: tuple[bytes, ...],
    checkpoint: Checkpoint,
) -> None:
    """Steps 4 to 7 of `check_evidence`."""
    report.facts["index"] = index
    report.silent[COMPLETENESS] = "evidence of one entry is silent about all others"
    # 4.
    entry = report.run(INTEGRITY, "the log entry is in canonical form", lambda: decode_entry(entry_data))
    # 5.
    text = f"the entry stands at index {index} of the {checkpoint.size} entries of the checkpoint"
    report.run(INTEGRITY, text, lambda: verify_inclusion(leaf_hash(entry_data), index, checkpoint.size, hashes, checkpoint.root))
    report.leave(["whether other entries are missing", _CLOCK])
    if entry is None:
        return
    _tell_entry(report, entry)
    # 6.
    what = f"the payload is what the {KIND_NAMES[entry.kind]} entry commits to"
    if payload is None:
        report.skip(INTEGRITY, what, "the payload was not given; only its commitments are proven")
        return
    event = report.run(INTEGRITY, what, lambda: check_payload(entry, payload, salts))
    # 7.
    if event is not None:
        _tell_event(report, event)
        _check_place(report, event, checkpoint.origin)
        if entry.session_commitment is not None and salts.session is None:
            report.leave(["the commitment to the session: its salt was not given"])
    elif entry.kind == KIND_KEY:
        _check_key_change(report, payload, checkpoint.origin)
    elif entry.kind != KIND_EVENT:
        report.leave([f"what the payload of a {KIND_NAMES[entry.kind]} entry means"])


def _check_place(report: Report, event: StoredEvent, origin: str) -> None:
    log = read_event_origin(origin)
    if log is None:
        report.leave(["whether the event belongs in this log: its origin does not name a tenant"])
        return
    text = "the event stands in the log of its tenant and project"

    def belongs() -> bool:
        check_event_belongs(event, log)
        return True

    report.run(INTEGRITY, text, belongs)


def _check_key_change(report: Report, payload: bytes, origin: str) -> None:
    def names_log() -> KeyChange:
        change = KeyChange.parse(payload)
        if change.old.name != origin:
            raise VerificationError(f"the key change is of {change.old.name!r}, not of this log")
        return change

    change = report.run(INTEGRITY, "the key change names two keys of this log", names_log)
    if change is not None:
        report.facts |= {"old_key": str(change.old), "new_key": str(change.new)}


def _tell_entry(report: Report, entry: LogEntry) -> None:
    report.facts |= {
        "kind": KIND_NAMES[entry.kind],
        "received_at": f"{utc(entry.received_at_ns // 10**9).removesuffix('Z')}.{entry.received_at_ns % 10**9:09}Z",
        "session_sequence": entry.session_sequence,
        "principal_key": entry.principal_key or None,
    }


def _tell_event(report: Report, event: StoredEvent) -> None:
    seconds, nanos = event.timestamp
    report.facts |= {
        "event_id": event.event_id,
        "tenant_id": event.tenant_id,
        "project_id": event.project_id,
        "session_id": event.session_id,
        "event_type_number": event.type,
        "timestamp": f"{utc(seconds).removesuffix('Z')}.{nanos:09}Z",
    }
