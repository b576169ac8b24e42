"""The routes of the transparency log: C2SP tlog-tiles under each log's prefix, and proofs by parameters."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from chaukas.server.auth.principal import ANONYMOUS
from chaukas.server.errors import InvalidRequestError, NotFoundError
from chaukas.server.operations.log_checkpoint import get_checkpoint_of_hash
from chaukas.server.operations.log_consistency import get_consistency_proof
from chaukas.server.operations.log_entry import EntryName, ProvenEntry, prove_entry
from chaukas.server.operations.log_list import list_logs
from chaukas.server.operations.log_tiles import get_tile
from chaukas.server.operations.services import Services
from chaukas.server.transports.http_exchange import JSON_TYPE, Exchange
from chaukas.server.transports.http_parameters import parameters, whole_number
from chaukas.server.wire.json_form import json_bytes
from chaukas.verify.encodings import base64_text

__all__ = ["CHECKPOINT_ROUTE", "TILE_ROUTE", "LogRoutes", "log_route"]

#: What `log_route` calls the paths below `/log/`. The number of a tile has slashes in it, `x001/x234/067`.
CHECKPOINT_ROUTE: Final = "/log/{origin_hash}/checkpoint"
TILE_ROUTE: Final = "/log/{origin_hash}/tile/{level}/{number}"

_PREFIX: Final = "/log/"
_ENTRY: Final = ("tenant_id", "project_id", "event_id", "origin", "index")
_NOTE_TYPE: Final = "text/plain; charset=utf-8"
_TILE_TYPE: Final = "application/octet-stream"
#: Logs are not public, so caches that several people share must not keep them.
_CACHE_FULL: Final = "private, max-age=31536000, immutable"
_CACHE_PARTIAL: Final = "private, max-age=86400"


def log_route(path: str) -> str:
    """The name of the route for a path; the path itself if it is none of a log."""
    if path.startswith(_PREFIX):
        _, _, below = path.removeprefix(_PREFIX).partition("/")
        if below == "checkpoint":
            return CHECKPOINT_ROUTE
        if below.startswith("tile/"):
            return TILE_ROUTE
    return path


class LogRoutes:
    """One Starlette endpoint each. Errors leave as exceptions; the application makes problems of them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def logs(self, request: Request, _exchange: Exchange) -> Response:
        """The logs that the caller may see."""
        given = parameters(request, "tenant_id", "project_id")
        found = await list_logs(self._services, ANONYMOUS, given.get("tenant_id", ""), given.get("project_id", ""))
        listed = [
            {
                "origin": one.log.origin,
                "path": one.path,
                "size": one.log.size,
                "verifier_key": one.verifier_key,
                "tenant_id": one.log.tenant_id,
                "project_id": one.log.project_id,
            }
            for one in found
        ]
        return _json(json_bytes({"logs": listed}))

    async def checkpoint(self, request: Request, exchange: Exchange) -> Response:
        """A signed head of everything that is committed."""
        parameters(request)
        origin_hash, _ = _parts(exchange.path)
        checkpoint = await get_checkpoint_of_hash(self._services, ANONYMOUS, origin_hash)
        return Response(bytes(checkpoint), media_type=_NOTE_TYPE, headers={"cache-control": "no-cache"})

    async def tile(self, request: Request, exchange: Exchange) -> Response:
        """A tile or a bundle of entries."""
        parameters(request)
        origin_hash, path = _parts(exchange.path)
        data = await get_tile(self._services, ANONYMOUS, origin_hash, path)
        caching = _CACHE_PARTIAL if ".p/" in path else _CACHE_FULL
        return Response(data, media_type=_TILE_TYPE, headers={"cache-control": caching})

    async def inclusion_proof(self, request: Request, _exchange: Exchange) -> Response:
        """That an entry is in its log: JSON, or a proof file."""
        given = parameters(request, *_ENTRY, "format")
        form = given.get("format") or ("text" if _prefers_text(request.headers.get("accept")) else "json")
        if form not in ("json", "text"):
            raise InvalidRequestError("format", f"{form[:40]!r} is neither json nor text")
        proven = await prove_entry(self._services, ANONYMOUS, _entry_of(request))
        if form == "text":
            return Response(bytes(proven.evidence.proof_file()), media_type=_NOTE_TYPE)
        return _json(json_bytes(_inclusion(proven)))

    async def consistency_proof(self, request: Request, _exchange: Exchange) -> Response:
        """That a log only grew between two sizes."""
        given = parameters(request, "origin", "from", "to", required="origin")
        if "from" not in given:
            raise InvalidRequestError("from", "is required")
        sizes = [whole_number(name, given[name]) if name in given else 0 for name in ("from", "to")]
        consistency = await get_consistency_proof(self._services, ANONYMOUS, given["origin"], *sizes)
        return _json(json_bytes(consistency.proof.as_json()))

    async def evidence(self, request: Request, _exchange: Exchange) -> Response:
        """An entry with everything that proves it."""
        parameters(request, *_ENTRY)
        proven = await prove_entry(self._services, ANONYMOUS, _entry_of(request))
        return _json(bytes(proven.evidence))


def _parts(path: str) -> tuple[str, str]:
    """The hash of the origin, and the path below the log's prefix."""
    origin_hash, _, below = path.removeprefix(_PREFIX).partition("/")
    if not below:
        raise NotFoundError(f"there is no route {path[:200]!r}")
    return origin_hash, below


def _entry_of(request: Request) -> EntryName:
    given = request.query_params
    return EntryName(
        tenant_id=given.get("tenant_id", ""),
        project_id=given.get("project_id", ""),
        event_id=given.get("event_id", ""),
        origin=given.get("origin", ""),
        index=whole_number("index", given["index"]) if "index" in given else None,
    )


def _inclusion(proven: ProvenEntry) -> dict[str, object]:
    evidence = proven.evidence
    return {
        "origin": evidence.origin,
        "index": evidence.index,
        "size": evidence.checkpoint.size,
        "leaf_hash": base64_text(proven.leaf_hash),
        "hashes": [base64_text(one) for one in evidence.inclusion_proof],
        "checkpoint": bytes(evidence.checkpoint).decode(),
    }


def _prefers_text(accept: str | None) -> bool:
    """Whether `Accept` names plain text and no JSON."""
    return accept is not None and "text/plain" in accept.lower() and "json" not in accept.lower()


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON_TYPE.decode())
