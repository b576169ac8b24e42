"""From a key that the auditor trusts to the one that signs now, along the changes of key that the log itself holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from chaukas.verify.entries import KIND_KEY, decode_entry
from chaukas.verify.errors import VerificationError
from chaukas.verify.evidence import Evidence
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.merkle import leaf_hash, verify_inclusion
from chaukas.verify.notes import verify_note
from chaukas.verify.payloads import check_payload
from chaukas.verify.trust import Trust

__all__ = ["follow_key_change", "follow_key_changes"]


def follow_key_change(data: bytes, trust: Trust) -> Trust:
    """Trust in the new key of a change too, by the evidence of its entry (docs/verify.md, "A new key").

    1. The evidence is well formed, and its checkpoint is of the same log.
    2. The entry is canonical, of kind `key`, and the payload is what it commits to.
    3. The payload names two keys of this log, and the old one is trusted: named and identical, not only by its id.
    4. The checkpoint is signed by both keys: by the old one, which vouches for the new, and by the new one, whose owner thereby
       shows to have it.
    5. The entry stands at its index in the tree of the checkpoint.

    Raises `VerificationError` for everything else. A change that is trusted already changes nothing.
    """
    # 1.
    evidence = Evidence.parse(data)
    checkpoint = evidence.checkpoint
    if evidence.origin != checkpoint.origin:
        raise VerificationError(f"the evidence names {evidence.origin!r}, its checkpoint {checkpoint.origin!r}")
    # 2.
    entry = decode_entry(evidence.entry)
    if entry.kind != KIND_KEY or evidence.payload is None:
        raise VerificationError(
            f"the entry at index {evidence.index} is not a change of the log's key, or its payload is missing"
        )
    check_payload(entry, evidence.payload, evidence.salts)
    # 3.
    change = KeyChange.parse(evidence.payload)
    if change.old.name != evidence.origin:
        raise VerificationError(f"the key change is of {change.old.name!r}, not of this log")
    if change.old not in trust.log_keys:
        raise VerificationError(f"the key change at index {evidence.index} begins with a key that is not trusted")
    # 4.
    if len(verify_note(checkpoint.note, (change.old, change.new))) != 2:
        raise VerificationError("the checkpoint that covers the key change is not signed by both keys")
    # 5.
    verify_inclusion(leaf_hash(evidence.entry), evidence.index, checkpoint.size, evidence.inclusion_proof, checkpoint.root)
    if change in trust.followed:
        return trust
    return replace(trust, log_keys=(*trust.log_keys, change.new), followed=(*trust.followed, change))


def follow_key_changes(documents: Iterable[bytes], trust: Trust) -> Trust:
    """Several changes, in their order. Raises `VerificationError`."""
    for data in documents:
        trust = follow_key_change(data, trust)
    return trust
