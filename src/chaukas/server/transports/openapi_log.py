"""The routes of the transparency log, as OpenAPI describes them."""

from __future__ import annotations

from chaukas.server.transports.http_log import CHECKPOINT_ROUTE, TILE_ROUTE
from chaukas.server.transports.http_witness import WITNESS_PATH
from chaukas.server.transports.openapi_parameters import parameter
from chaukas.server.wire.json_schema import Schema, reference

__all__ = ["LOG_TAG", "log_paths", "log_schemas", "tile_paths"]

LOG_TAG: Schema = {"name": "log", "description": "The transparency log: proofs, checkpoints and tiles (C2SP tlog-tiles)."}

_TEXT: Schema = {"type": "string"}
_SIZE: Schema = {"type": "integer", "minimum": 0}
_BASE64: Schema = {"type": "string", "contentEncoding": "base64"}
_HASHES: Schema = {"type": "array", "items": _BASE64}
_NOTE: Schema = {**_TEXT, "description": "A signed note, C2SP tlog-checkpoint."}


def log_paths() -> dict[str, dict[str, Schema]]:
    """What also exists under `/v1`."""
    return {
        "/logs": {
            "get": _operation(
                "listLogs",
                "The logs, one for each tenant and project",
                _json("Ordered by origin.", "LogList"),
                [
                    parameter("tenant_id", _TEXT, "Empty for all tenants that the caller may see."),
                    parameter("project_id", _TEXT, "Empty for all projects of the tenant."),
                ],
                problems=("400", "404", "500", "503"),
            )
        },
        "/proof/inclusion": {
            "get": _operation(
                "getInclusionProof",
                "That an entry is in the log of a signed head",
                _inclusion_answer(),
                [
                    *_entry_parameters(),
                    parameter(
                        "format", {"type": "string", "enum": ["json", "text"]}, "text gives a proof file, c2sp.org/tlog-proof@v1."
                    ),
                ],
            )
        },
        "/proof/consistency": {
            "get": _operation(
                "getConsistencyProof",
                "That a log only grew from one size to another",
                _json("The proof, RFC 6962 §2.1.2.", "ConsistencyProof"),
                [
                    parameter("origin", _TEXT, "Of the log.", required=True),
                    parameter("from", _SIZE, "The smaller size.", required=True),
                    parameter("to", _SIZE, "The larger size; that of the newest signed head where it is left out."),
                ],
                problems=("400", "404", "500", "503"),
            )
        },
        "/evidence": {
            "get": _operation(
                "getEvidence",
                "An entry with everything that proves it",
                _json("What `python -m chaukas.verify evidence` reads.", "Evidence"),
                _entry_parameters(),
            )
        },
    }


def tile_paths() -> dict[str, object]:
    """What stands below the prefix of a log (C2SP tlog-tiles)."""
    origin_hash = parameter(
        "origin_hash",
        {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "SHA-256 of the origin, in hex.",
        required=True,
        place="path",
    )
    level = parameter("level", _TEXT, "0 to 63, or entries for a bundle of entries.", required=True, place="path")
    number = parameter(
        "number",
        _TEXT,
        "In groups of three digits, slashes and all: x001/x234/067; a partial tile has .p/ and its width behind it.",
        required=True,
        place="path",
    )
    note: Schema = {"description": "A signed note.", "content": {"text/plain": {"schema": _TEXT}}}
    tile: Schema = {
        "description": "Hashes of 32 bytes, or entries with their lengths in 16 bits (big-endian).",
        "content": {"application/octet-stream": {}},
    }
    problems = ("400", "404", "500", "503")
    return {
        CHECKPOINT_ROUTE: {
            "get": _operation(
                "getCheckpoint", "A signed head of everything that is committed", note, [origin_hash], problems=problems
            )
        },
        TILE_ROUTE: {
            "get": _operation("getTile", "A tile or a bundle of entries", tile, [origin_hash, level, number], problems=problems)
        },
        WITNESS_PATH: {"post": _add_checkpoint()},
    }


def _add_checkpoint() -> Schema:
    """Serving as a witness (C2SP tlog-witness): its refusals are plain text, as that document says, the server's own problems."""
    lines: Schema = {"description": "The cosignature, a line of a signed note.", "content": {"text/plain": {"schema": _TEXT}}}
    refusals = {
        "403": "No key that the witness trusts has signed, or a signature is not valid.",
        "404": "The witness does not know the log, or the server is no witness.",
        "409": "The witness knows another size of the log; the body is that size.",
        "422": "The checkpoint contradicts what the witness cosigned.",
    }
    operation = _operation("addCheckpoint", "Cosign a checkpoint of another server's log", lines, [], problems=("400", "503"))
    text: Schema = {"text/plain": {"schema": _TEXT}}
    forms: dict[str, Schema] = {
        "404": {**text, "application/problem+json": {"schema": reference("Problem")}},
        "409": {"text/x.tlog.size": {"schema": _TEXT}},
    }
    responses: dict[str, Schema] = {
        status: {"description": about, "content": forms.get(status, text)} for status, about in refusals.items()
    }
    answers = operation["responses"]
    operation["responses"] = {**answers, **responses} if isinstance(answers, dict) else responses
    operation["requestBody"] = {
        "required": True,
        "description": "Old size, consistency proof, an empty line, checkpoint.",
        "content": {"text/plain": {"schema": _TEXT}},
    }
    return operation


def log_schemas() -> dict[str, Schema]:
    """What the answers hold."""
    place: dict[str, object] = {"origin": _TEXT, "index": _SIZE}
    maybe: Schema = {"type": ["string", "null"], "contentEncoding": "base64"}
    log: dict[str, object] = {
        "origin": _TEXT,
        "path": {**_TEXT, "description": "Prefix of its checkpoint and tiles."},
        "size": {**_SIZE, "description": "Entries that are committed now."},
        "verifier_key": {**_TEXT, "description": "C2SP signed-note; take it from the operator by a way of your own."},
        "tenant_id": _TEXT,
        "project_id": _TEXT,
    }
    return {
        "LogList": _whole({"logs": {"type": "array", "items": reference("Log")}}),
        "Log": _whole(log),
        "InclusionProof": _whole({**place, "size": _SIZE, "leaf_hash": _BASE64, "hashes": _HASHES, "checkpoint": _NOTE}),
        "ConsistencyProof": _whole(
            {
                "format": {"const": "chaukas-consistency@v1"},
                "origin": _TEXT,
                "old_size": _SIZE,
                "new_size": _SIZE,
                "hashes": _HASHES,
            }
        ),
        "Evidence": _whole(
            {
                "format": {"const": "chaukas-evidence@v1"},
                **place,
                "entry": {**_BASE64, "description": "The log entry as it is hashed."},
                "payload": {**maybe, "description": "The event as it was stored."},
                "salts": _whole({"envelope": maybe, "content": maybe, "session": maybe}),
                "inclusion_proof": _HASHES,
                "checkpoint": _NOTE,
            }
        ),
    }


def _entry_parameters() -> list[Schema]:
    return [
        parameter("event_id", _TEXT, "Of the event, or origin and index instead."),
        parameter("tenant_id", _TEXT, "Where the event is looked for; empty for all tenants that the caller may see."),
        parameter("project_id", _TEXT, "Where the event is looked for; empty for all projects."),
        parameter("origin", _TEXT, "Of the log, with index."),
        parameter("index", _SIZE, "Of the entry in this log."),
    ]


def _inclusion_answer() -> Schema:
    answer = _json("The proof, RFC 6962 §2.1.1; a proof file where format or Accept ask for text.", "InclusionProof")
    answer["content"] = {"application/json": {"schema": reference("InclusionProof")}, "text/plain": {"schema": _TEXT}}
    return answer


def _operation(
    name: str,
    summary: str,
    answer: Schema,
    parameters: list[Schema],
    *,
    problems: tuple[str, ...] = ("400", "404", "409", "500", "503"),
) -> Schema:
    responses: dict[str, object] = {
        "200": answer,
        **{status: {"$ref": f"#/components/responses/Problem{status}"} for status in problems},
    }
    return {"operationId": name, "summary": summary, "tags": ["log"], "parameters": parameters, "responses": responses}


def _json(description: str, schema: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": reference(schema)}}}


def _whole(properties: dict[str, object]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
