"""`chaukas.audit.v1.AuditService`: the transparency log over gRPC, from the operations to the contract's messages."""

from __future__ import annotations

from chaukas.audit.v1 import audit_pb2
from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.framework.call import Context, rpc
from chaukas.server.operations.log_checkpoint import get_checkpoint
from chaukas.server.operations.log_consistency import get_consistency_proof
from chaukas.server.operations.log_entry import EntryName, prove_entry
from chaukas.server.operations.log_list import list_logs
from chaukas.server.operations.services import Services

__all__ = ["AUDIT_SERVICE", "AuditServicer"]

AUDIT_SERVICE = audit_pb2.DESCRIPTOR.services_by_name["AuditService"]


class AuditServicer:
    """The five RPCs under their names in the contract; an exception becomes the status of the call."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def ListLogs(self, request: audit_pb2.ListLogsRequest, context: Context) -> audit_pb2.ListLogsResponse:  # noqa: N802
        """The logs that the caller may see."""
        return await rpc(self._list_logs, request, context, audit_pb2.ListLogsResponse)

    async def GetCheckpoint(  # noqa: N802
        self, request: audit_pb2.GetCheckpointRequest, context: Context
    ) -> audit_pb2.GetCheckpointResponse:
        """A signed head."""
        return await rpc(self._checkpoint, request, context, audit_pb2.GetCheckpointResponse)

    async def GetInclusionProof(  # noqa: N802
        self, request: audit_pb2.GetInclusionProofRequest, context: Context
    ) -> audit_pb2.GetInclusionProofResponse:
        """That an entry is in its log."""
        return await rpc(self._inclusion_proof, request, context, audit_pb2.GetInclusionProofResponse)

    async def GetConsistencyProof(  # noqa: N802
        self, request: audit_pb2.GetConsistencyProofRequest, context: Context
    ) -> audit_pb2.GetConsistencyProofResponse:
        """That a log only grew."""
        return await rpc(self._consistency_proof, request, context, audit_pb2.GetConsistencyProofResponse)

    async def GetEvidence(self, request: audit_pb2.GetEvidenceRequest, context: Context) -> audit_pb2.GetEvidenceResponse:  # noqa: N802
        """An entry with everything that proves it."""
        return await rpc(self._evidence, request, context, audit_pb2.GetEvidenceResponse)

    async def _list_logs(self, request: audit_pb2.ListLogsRequest, _context: Context) -> audit_pb2.ListLogsResponse:
        answer = audit_pb2.ListLogsResponse()
        for one in await list_logs(self._services, ANONYMOUS, request.tenant_id, request.project_id):
            answer.logs.add(
                origin=one.log.origin,
                path=one.path,
                size=one.log.size,
                verifier_key=one.verifier_key,
                tenant_id=one.log.tenant_id,
                project_id=one.log.project_id,
            )
        return answer

    async def _checkpoint(self, request: audit_pb2.GetCheckpointRequest, _context: Context) -> audit_pb2.GetCheckpointResponse:
        checkpoint = await get_checkpoint(self._services, ANONYMOUS, request.origin, request.size)
        return audit_pb2.GetCheckpointResponse(checkpoint=bytes(checkpoint).decode())

    async def _inclusion_proof(
        self, request: audit_pb2.GetInclusionProofRequest, _context: Context
    ) -> audit_pb2.GetInclusionProofResponse:
        proven = await prove_entry(self._services, ANONYMOUS, _entry_name(request.entry))
        evidence = proven.evidence
        return audit_pb2.GetInclusionProofResponse(
            origin=evidence.origin,
            index=evidence.index,
            leaf_hash=proven.leaf_hash,
            hashes=evidence.inclusion_proof,
            checkpoint=bytes(evidence.checkpoint).decode(),
            proof=bytes(evidence.proof_file()).decode(),
        )

    async def _consistency_proof(
        self, request: audit_pb2.GetConsistencyProofRequest, _context: Context
    ) -> audit_pb2.GetConsistencyProofResponse:
        found = await get_consistency_proof(self._services, ANONYMOUS, request.origin, request.from_size, request.to_size)
        return audit_pb2.GetConsistencyProofResponse(
            origin=found.proof.origin,
            from_size=found.proof.old_size,
            to_size=found.proof.new_size,
            hashes=found.proof.hashes,
            checkpoint=bytes(found.checkpoint).decode() if found.checkpoint is not None else "",
        )

    async def _evidence(self, request: audit_pb2.GetEvidenceRequest, _context: Context) -> audit_pb2.GetEvidenceResponse:
        proven = await prove_entry(self._services, ANONYMOUS, _entry_name(request.entry))
        evidence = proven.evidence
        return audit_pb2.GetEvidenceResponse(
            origin=evidence.origin,
            index=evidence.index,
            stored=evidence.payload,
            envelope_bytes=proven.envelope_bytes,
            envelope_salt=evidence.salts.envelope,
            content_salt=evidence.salts.content,
            session_salt=evidence.salts.session,
            entry=evidence.entry,
            hashes=evidence.inclusion_proof,
            checkpoint=bytes(evidence.checkpoint).decode(),
            json=bytes(evidence).decode(),
        )


def _entry_name(name: audit_pb2.EntryName) -> EntryName:
    # Without an origin the index says nothing; with one, an index that is not set is the first entry.
    index = name.index if name.origin or name.index else None
    return EntryName(name.tenant_id, name.project_id, name.event_id, name.origin, index)
