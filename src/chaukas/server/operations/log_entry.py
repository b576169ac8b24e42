"""Which entry of which log is meant, and the entry with everything that proves it, checked before anybody sees it."""

from __future__ import annotations

from dataclasses import dataclass

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import AmbiguousError, InvalidRequestError, NotFoundError, StorageError
from chaukas.server.operations.log_access import log_of_origin, logs_for, may_audit
from chaukas.server.operations.log_checkpoint import newest_head, signed_checkpoint
from chaukas.server.operations.services import Services
from chaukas.server.query import scope_of
from chaukas.server.storage.entry import KIND_KEY, entry_kind
from chaukas.server.storage.log_contract import EntryRecord, LogInfo, SignedHead
from chaukas.server.tlog.proving import inclusion_plan
from chaukas.verify.entries import decode_entry
from chaukas.verify.errors import VerificationError
from chaukas.verify.evidence import Evidence
from chaukas.verify.merkle import leaf_hash, verify_inclusion
from chaukas.verify.payloads import Salts, check_payload

__all__ = ["EntryName", "ProvenEntry", "prove_entry"]

_CANDIDATES_MAX = 20


@dataclass(frozen=True, slots=True)
class EntryName:
    """An entry: by the id of an event, within a tenant and project (empty means any), or by origin and index."""

    tenant_id: str = ""
    project_id: str = ""
    event_id: str = ""
    origin: str = ""
    index: int | None = None


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry with its payload and salts, its inclusion proof and the signed head that it leads to."""

    evidence: Evidence
    #: Length in bytes of the part of the payload that is the envelope.
    envelope_bytes: int

    @property
    def leaf_hash(self) -> bytes:
        """RFC 6962 §2.1, 32 bytes."""
        return leaf_hash(self.evidence.entry)


async def prove_entry(services: Services, principal: Principal, name: EntryName) -> ProvenEntry:
    """An entry with its proof.

    1. The name leads to one entry of a log that the caller may see.
    2. A signed head covers it; if none does, one is signed now.
    3. Entry, proof and head fit together, and the payload is what the entry commits to.

    Raises `InvalidRequestError` for a name that is none, `NotFoundError`, `AmbiguousError` naming the candidates, `StorageError`
    when something does not fit: a damaged store gives no wrong proofs.
    """
    # 1.
    log, index = await _place_of(services, principal, name)
    # 2.
    logs = logs_for(services, principal)
    record = await logs.store.entry_record(log.log_id, index)
    if record is None:
        raise StorageError(f"the log {log.origin} has no entry {index} any more")
    head = await _head_over(services, principal, log, record)
    checkpoint = signed_checkpoint(log, head)
    # 3.
    [hashes] = await logs.tiles.hashes(logs.store, log.log_id, inclusion_plan(index, head.size))
    salts = Salts(record.envelope_salt, record.content_salt, record.session_salt or None)
    try:
        verify_inclusion(leaf_hash(record.entry), index, head.size, hashes, head.root)
        check_payload(decode_entry(record.entry), record.stored, salts)
    except VerificationError as error:
        logs.tiles.forget(log.log_id)
        raise _damaged(log, record) from error
    return ProvenEntry(
        Evidence(log.origin, index, record.entry, record.stored, salts, tuple(hashes), checkpoint), record.envelope_bytes
    )


async def _head_over(services: Services, principal: Principal, log: LogInfo, record: EntryRecord) -> SignedHead:
    """The newest signed head if it covers the entry; for a change of the key the first one, which both keys signed."""
    head = await newest_head(services, principal, log, record.index + 1)
    if entry_kind(record.entry) == KIND_KEY:
        head = await logs_for(services, principal).store.covering_head(log.log_id, record.index) or head
    if record.index >= head.size:
        raise StorageError(f"no signed head of the log {log.origin} covers its entry {record.index}")
    return head


async def _place_of(services: Services, principal: Principal, name: EntryName) -> tuple[LogInfo, int]:
    if name.origin:
        if name.event_id or name.tenant_id or name.project_id:
            raise InvalidRequestError("origin", "names the log, so it stands without tenant_id, project_id and event_id")
        return await _place_of_index(services, principal, name.origin, name.index)
    if name.index is not None:
        raise InvalidRequestError("index", "stands with origin")
    if not name.event_id:
        raise InvalidRequestError("event_id", "is required, or origin and index")
    return await _place_of_event(services, principal, name)


async def _place_of_index(services: Services, principal: Principal, origin: str, index: int | None) -> tuple[LogInfo, int]:
    if index is None or index < 0:
        raise InvalidRequestError("index", "is required with origin, a whole number from 0 on")
    log = await log_of_origin(services, principal, origin)
    if index >= log.size:
        raise NotFoundError(f"the log {log.origin} has {log.size} entries, none with the index {index}")
    return log, index


async def _place_of_event(services: Services, principal: Principal, name: EntryName) -> tuple[LogInfo, int]:
    logs = logs_for(services, principal)
    tenant_id, project_id = scope_of(principal, name.tenant_id, name.project_id, "")
    places = await logs.store.find_event(tenant_id, project_id, name.event_id)
    places = [(log, index) for log, index in places if may_audit(principal, log)]
    if not places:
        raise NotFoundError(f"no event within this tenant and project has the id {name.event_id[:300]!r}")
    if len(places) > 1:
        named = ", ".join(f"{log.origin}#{index}" for log, index in places[:_CANDIDATES_MAX])
        raise AmbiguousError(
            f"the event id {name.event_id[:300]!r} stands in {len(places)} logs, as {named}; name origin and index, or one of",
            [(log.tenant_id, log.project_id) for log, _ in places[:_CANDIDATES_MAX]],
        )
    return places[0]


def _damaged(log: LogInfo, record: EntryRecord) -> StorageError:
    return StorageError(
        f"the record is damaged: entry {record.index} of the log {log.origin} does not lead to the head that was signed; "
        "no proof is given. `chaukas verify` tells where"
    )
