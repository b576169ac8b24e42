"""What the commands about sessions ask for, and a session as they show it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Asked", "SessionLine"]


class Asked(StrEnum):
    """The question; the value is the last part of its route."""

    SESSION = "session"
    EXPLANATION = "explanation"
    WHY = "why"


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One session of a listing; times are RFC 3339."""

    tenant_id: str
    project_id: str
    session_id: str
    events: int
    first_time: str
    last_time: str
