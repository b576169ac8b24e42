"""The sessions of a scope, newest first."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Final

from chaukas.server.auth.principal import Principal
from chaukas.server.cursor import CursorSeal
from chaukas.server.errors import InvalidRequestError
from chaukas.server.operations.services import Services
from chaukas.server.query import scope_of
from chaukas.server.storage.contract import SessionPlace, SessionRow

__all__ = ["SESSIONS_PAGE_MAX", "SessionListing", "SessionQuestion", "list_sessions"]

SESSIONS_PAGE_MAX: Final = 1000
_PAGE_DEFAULT: Final = 100
#: last_us and log_id; the session's id follows in UTF-8.
_CURSOR: Final = struct.Struct(">qq")


@dataclass(frozen=True, slots=True)
class SessionQuestion:
    """Which sessions; empty means any. `page_size` 0 means 100."""

    tenant_id: str = ""
    project_id: str = ""
    page_size: int = 0
    page_token: str = ""


@dataclass(frozen=True, slots=True)
class SessionListing:
    """One page."""

    sessions: list[SessionRow]
    next_page_token: str


async def list_sessions(services: Services, principal: Principal, question: SessionQuestion) -> SessionListing:
    """Sessions by the time of their last event, newest first.

    Raises `InvalidRequestError` for a wrong size or token, `PermissionDeniedError` for a foreign tenant or project.
    """
    tenant_id, project_id = scope_of(principal, question.tenant_id, question.project_id, "")
    if not 0 <= question.page_size <= SESSIONS_PAGE_MAX:
        raise InvalidRequestError(
            "page_size", f"{question.page_size} is not between 0 and {SESSIONS_PAGE_MAX} (0 means {_PAGE_DEFAULT})"
        )
    size = question.page_size or _PAGE_DEFAULT
    bound = json.dumps([tenant_id, project_id, principal.tenant_id, principal.project_id]).encode("ascii")
    binding = hashlib.sha256(bound).digest()
    after = _opened(services.session_cursors, question.page_token, binding) if question.page_token else None
    rows = await services.store.sessions(tenant_id, project_id, size + 1, after)
    token = ""
    if len(rows) > size:
        rows = rows[:size]
        last = rows[-1].place
        token = services.session_cursors.token(_CURSOR.pack(last.last_us, last.log_id) + last.session_id.encode(), binding)
    return SessionListing(rows, token)


def _opened(seal: CursorSeal, token: str, binding: bytes) -> SessionPlace:
    payload = seal.payload(token, binding)
    if payload is None or len(payload) < _CURSOR.size:
        raise InvalidRequestError("page_token", "is not a token of this listing; send next_page_token as it was received")
    last_us, log_id = _CURSOR.unpack_from(payload)
    return SessionPlace(last_us, log_id, payload[_CURSOR.size :].decode())
