"""Healthz: whether the server takes requests."""

from __future__ import annotations

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import ShuttingDownError
from chaukas.server.operations.services import Services

__all__ = ["check_health"]


async def check_health(services: Services, principal: Principal) -> None:
    """Return when the server is ready. Raises `ShuttingDownError` before that and while it drains."""
    del principal
    if not services.readiness.ready:
        raise ShuttingDownError("the server is starting or shutting down")
