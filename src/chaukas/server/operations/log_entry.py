"""Which entry of which log is meant, and the entry with everything that proves it, checked before anybody sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import AmbiguousError, InvalidRequestError, NotFoundError, StorageError
from chaukas.server.operations.log_access import log_in, logs_for, may_audit
from chaukas.server.operations.log_checkpoint import signed_checkpoint
from chaukas.server.operations.services import Services, TransparencyLog
from chaukas.server.query import scope_of
from chaukas.server.storage.entry import KIND_KEY, entry_kind
from chaukas.server.storage.log_contract import EntryRecord, LogInfo, LogSnapshot, SignedHead
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


@dataclass(frozen=True, slots=True)
class _Parts:
    """What one state of the store says of an entry."""

    log: LogInfo
    record: EntryRecord
    head: SignedHead
    #: The inclusion proof under that head.
    hashes: list[bytes]


@dataclass(frozen=True, slots=True)
class _Unsigned:
    """An entry that the newest signed head does not cover."""

    log: LogInfo
    index: int


async def prove_entry(services: Services, principal: Principal, name: EntryName) -> ProvenEntry:
    """An entry with its proof.

    1. The name leads to one entry of a log that the caller may see.
    2. A signed head covers it; if none does, one is signed now.
    3. Entry, proof and head fit together, and the payload is what the entry commits to.

    Raises `InvalidRequestError` for a name that is none, `NotFoundError`, `AmbiguousError` naming the candidates, `StorageError`
    when something does not fit: a damaged store gives no wrong proofs.
    """
    # 1.
    logs, find = logs_for(services, principal), _finder(principal, name)
    found = await logs.store.read(lambda snapshot: _read(snapshot, logs, *find(snapshot)))
    # 2.
    if isinstance(found, _Unsigned):
        log, index, head = found.log, found.index, await logs.sequencer.head_of(found.log)
        found = await logs.store.read(lambda snapshot: _parts(snapshot, logs, log, index, head))
    log, record, head = found.log, found.record, found.head
    checkpoint = signed_checkpoint(log, head)
    # 3.
    try:
        salts = Salts(record.envelope_salt, record.content_salt, record.session_salt or None)
        verify_inclusion(leaf_hash(record.entry), record.index, head.size, found.hashes, head.root)
        check_payload(decode_entry(record.entry), record.stored, salts)
    except VerificationError as error:
        logs.tiles.forget(log.log_id)
        raise _damaged(log, record) from error
    evidence = Evidence(log.origin, record.index, record.entry, record.stored, salts, tuple(found.hashes), checkpoint)
    return ProvenEntry(evidence, record.envelope_bytes)


def _read(snapshot: LogSnapshot, logs: TransparencyLog, log: LogInfo, index: int) -> _Parts | _Unsigned:
    """The parts of the proof under the newest signed head, if it covers the entry."""
    head = snapshot.head(log.log_id)
    if head is None or head.size <= index:
        return _Unsigned(log, index)
    return _parts(snapshot, logs, log, index, head)


def _parts(snapshot: LogSnapshot, logs: TransparencyLog, log: LogInfo, index: int, newest: SignedHead) -> _Parts:
    """The parts under the newest signed head; for a change of the key under the first one, which both keys signed."""
    record = snapshot.entry_record(log.log_id, index)
    if record is None:
        raise StorageError(f"the log {log.origin} has no entry {index} any more")
    is_key = entry_kind(record.entry) == KIND_KEY
    head = (snapshot.covering_head(log.log_id, index) if is_key else None) or newest
    if index >= head.size:
        raise StorageError(f"no signed head of the log {log.origin} covers its entry {index}")
    [hashes] = logs.tiles.hashes(snapshot, log.log_id, inclusion_plan(index, head.size))
    return _Parts(log, record, head, hashes)


def _finder(principal: Principal, name: EntryName) -> Callable[[LogSnapshot], tuple[LogInfo, int]]:
    """What leads from the name to a log and an index."""
    if name.origin:
        if name.event_id or name.tenant_id or name.project_id:
            raise InvalidRequestError("origin", "names the log, so it stands without tenant_id, project_id and event_id")
        index = name.index
        if index is None or index < 0:
            raise InvalidRequestError("index", "is required with origin, a whole number from 0 on")
        return lambda snapshot: _place_of_index(snapshot, principal, name.origin, index)
    if name.index is not None:
        raise InvalidRequestError("index", "stands with origin")
    if not name.event_id:
        raise InvalidRequestError("event_id", "is required, or origin and index")
    scope = scope_of(principal, name.tenant_id, name.project_id, "")
    return lambda snapshot: _place_of_event(snapshot, principal, scope, name.event_id)


def _place_of_index(snapshot: LogSnapshot, principal: Principal, origin: str, index: int) -> tuple[LogInfo, int]:
    log = log_in(snapshot, principal, origin)
    if index >= log.size:
        raise NotFoundError(f"the log {log.origin} has {log.size} entries, none with the index {index}")
    return log, index


def _place_of_event(
    snapshot: LogSnapshot, principal: Principal, scope: tuple[str | None, str | None], event_id: str
) -> tuple[LogInfo, int]:
    places = [(log, index) for log, index in snapshot.find_event(*scope, event_id) if may_audit(principal, log)]
    if not places:
        raise NotFoundError(f"no event within this tenant and project has the id {event_id[:300]!r}")
    if len(places) > 1:
        named = ", ".join(f"{log.origin}#{index}" for log, index in places[:_CANDIDATES_MAX])
        raise AmbiguousError(
            f"the event id {event_id[:300]!r} stands in {len(places)} logs, as {named}; name origin and index, or one of",
            [(log.tenant_id, log.project_id) for log, _ in places[:_CANDIDATES_MAX]],
        )
    return places[0]


def _damaged(log: LogInfo, record: EntryRecord) -> StorageError:
    return StorageError(
        f"the record is damaged: entry {record.index} of the log {log.origin} does not lead to the head that was signed; "
        "no proof is given. `chaukas verify` tells where"
    )
