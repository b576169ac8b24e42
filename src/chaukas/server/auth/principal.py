"""The caller of an operation.

Keys, roles and single sign-on come later (DESIGN: who may do what); the place is here and every operation already takes a
`Principal`, so that adding them changes no signature.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANONYMOUS", "Principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a name for logs, and the scope that the caller is bound to (None means not bound)."""

    name: str
    tenant_id: str | None = None
    project_id: str | None = None


ANONYMOUS = Principal(name="anonymous")
