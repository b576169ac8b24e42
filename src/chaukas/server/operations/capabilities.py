"""GetCapabilities: what is true of this server as it is configured, and nothing more."""

from __future__ import annotations

from chaukas.server.auth.principal import Principal
from chaukas.server.operations.services import Services
from chaukas.spec.common.v1.query_pb2 import Capabilities

__all__ = ["get_capabilities"]


async def get_capabilities(services: Services, principal: Principal) -> Capabilities:
    """The published flags are false until their feature exists; our additions are set where the message has them."""
    del principal
    capabilities = Capabilities()
    declared = Capabilities.DESCRIPTOR.fields_by_name
    for name, value in (
        ("supports_batch_ingestion", True),
        ("supports_event_querying", True),
        ("supports_statistics", True),
        ("policy_decisions", True),
        ("data_access_events", True),
        ("audit_proofs", services.log is not None),
        ("max_batch_size", services.settings.batch_events_max),
    ):
        if name in declared:
            setattr(capabilities, name, value)
    return capabilities
