"""The OpenAPI 3.1 document of the HTTP interface, as `/openapi.json` gives it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from importlib.metadata import version

from chaukas.server.transports.openapi_explanations import EXPLAIN_TAG, explanation_paths, explanation_schemas
from chaukas.server.transports.openapi_log import LOG_TAG, log_paths, log_schemas, tile_paths
from chaukas.server.transports.openapi_parameters import filter_parameters, page_parameters, parameter, tail_parameters
from chaukas.server.wire.json_schema import Schema, contract_schemas, reference

__all__ = ["openapi_document"]

_JSON = "application/json"
_PROTOBUF = "application/x-protobuf"
_PROBLEM = "application/problem+json"

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}

_DESCRIPTION = """\
Takes events of AI agents, keeps them, and answers questions about them. Every path also exists without `/v1`, because
clients append theirs to whatever endpoint they were given.

Bodies are JSON or binary protobuf, by `Content-Type`, and may be compressed (`Content-Encoding: gzip`). JSON answers have
the form described here; requests may also have protobuf's JSON form. Times without a zone are UTC. `null` means "not set".
Keys that the contract does not know are refused.

An answer 202 tells for each event what became of it: `accepted`, `duplicate` (stored before, same content), `rejected` (its
id is taken by other content) or `quarantined` (invalid). What is not stored is kept aside, together with the reasons.
Everything that is reported is on disk. To send the same events again is always safe.\
"""

_PROBLEMS: Mapping[str, str] = {
    "400": "The request is wrong as a whole; nothing of it was stored.",
    "408": "The body did not arrive in time.",
    "404": "There is no such thing, or not within the caller's scope.",
    "409": "The event id is taken by other content; the event was not stored, but kept aside.",
    "413": "The body is larger than the server takes in one piece.",
    "415": "The media type or the content encoding is not one of those that are taken.",
    "422": "The event is invalid; it was not stored, but kept aside.",
    "500": "The event store failed; nothing was acknowledged. The same request may be sent again.",
    "503": "Overloaded or shutting down; nothing was acknowledged. The same request may be sent again later.",
}


def openapi_document() -> Schema:
    """The document, new and whole: who changes it changes nobody else's. Independent of the server's settings."""
    paths: dict[str, object] = {}
    for path, item in {**_event_paths(), **_quarantine_paths(), **log_paths(), **explanation_paths(), **_server_paths()}.items():
        paths[f"/v1{path}"] = item
        paths[path] = {method: _without_version(operation) for method, operation in item.items()}
    document: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "Chaukas server",
            "version": version("chaukas-spec-server"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "events", "description": "Storing events and asking for them."},
            {"name": "quarantine", "description": "What was kept aside instead of being stored."},
            LOG_TAG,
            EXPLAIN_TAG,
            {"name": "server", "description": "About the server itself."},
        ],
        "paths": {**paths, **tile_paths(), **_unversioned_paths()},
        "components": {"schemas": {**contract_schemas(), **_own_schemas()}, "responses": _problem_responses()},
    }
    # Many places share one small schema.
    return deepcopy(document)


def _event_paths() -> dict[str, dict[str, Schema]]:
    stored_one = _answer("The event is stored or kept aside.", "IngestAnswer", "chaukas.spec.server.v1.IngestEventResponse")
    stored_all = _answer(
        "Every event is stored or kept aside.", "IngestResults", "chaukas.spec.server.v1.IngestEventBatchResponse"
    )
    return {
        "/events": {
            "post": _operation(
                "ingestEvent",
                "Store one event",
                {"202": stored_one, **_problems("400", "408", "409", "413", "415", "422", "500", "503")},
                body=_body("EventInput", "chaukas.spec.client.v1.IngestEventRequest"),
            ),
            "get": _listing(),
        },
        "/events/batch": {
            "post": _operation(
                "ingestEventBatch",
                "Store events, each on its own",
                {"202": stored_all, **_problems("400", "408", "413", "415", "500", "503")},
                body=_body("EventBatch", "chaukas.spec.client.v1.IngestEventBatchRequest"),
            )
        },
        "/query": {
            "post": _operation(
                "queryEvents",
                "One page of the events that match",
                {
                    "200": _answer("One page.", "QueryResponse", "chaukas.spec.common.v1.QueryResponse"),
                    **_problems("400", "408", "413", "415", "500", "503"),
                },
                body=_body("QueryRequest", "chaukas.spec.common.v1.QueryRequest"),
            )
        },
        "/tail": {"get": _tail()},
        "/stats": {
            "get": _operation(
                "getEventStats",
                "Count events and sessions",
                {
                    "200": _answer("The counts.", "GetEventStatsResponse", "chaukas.spec.server.v1.GetEventStatsResponse"),
                    **_problems("400", "500", "503"),
                },
                parameters=[
                    parameter("tenant_id", _TEXT, "Empty for all tenants that the caller may see."),
                    parameter("project_id", _TEXT, "Empty for all projects of the tenant."),
                    parameter("start", _TIME, "Only events from this time on, by their timestamp."),
                    parameter("end", _TIME, "Only events before this time."),
                ],
            )
        },
    }


def _listing() -> Schema:
    page: Schema = _answer("One page.", "QueryResponse", "chaukas.spec.common.v1.QueryResponse")
    page["headers"] = {"Link": {"description": 'The next page, rel="next"; absent on the last one.', "schema": _TEXT}}
    return _operation(
        "listEvents",
        "One page of the events that match, asked for by parameters",
        {"200": page, **_problems("400", "500", "503")},
        parameters=[*filter_parameters(), *page_parameters()],
    )


def _tail() -> Schema:
    stream: Schema = {
        "description": "Server-sent events of the type `event`: `data` is an Event, `id` resumes behind it. Comments tell that"
        " the stream lives.",
        "content": {"text/event-stream": {"schema": _TEXT}},
    }
    return _operation(
        "tailEvents",
        "The events that match, as they arrive",
        {"200": stream, **_problems("400", "404", "500", "503")},
        parameters=[*filter_parameters(), *tail_parameters()],
    )


def _quarantine_paths() -> dict[str, dict[str, Schema]]:
    item_id = parameter("id", _TEXT, "The quarantine_id.", required=True)
    limit: Schema = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    return {
        "/quarantine": {
            "get": _operation(
                "listQuarantine",
                "What was kept aside, oldest first",
                {"200": _json_answer("Some items, without their bytes.", "QuarantineListing"), **_problems("400", "500")},
                parameters=[
                    parameter("tenant_id", _TEXT, "Given and empty: what is attributed to nobody."),
                    parameter("project_id", _TEXT, "Given and empty: what is attributed to no project."),
                    parameter("limit", limit, "Most items of the answer."),
                    parameter("after", _TEXT, "next_after of the answer before."),
                ],
                tag="quarantine",
            )
        },
        "/quarantine/item": {
            "get": _operation(
                "getQuarantineItem",
                "One item with its bytes",
                {"200": _json_answer("The item.", "QuarantineItem"), **_problems("400", "404", "500")},
                parameters=[item_id],
                tag="quarantine",
            )
        },
        "/quarantine/resubmit": {
            "post": _operation(
                "resubmitQuarantineItem",
                "Hand one item in again",
                {"200": _json_answer("What became of it.", "Resubmission"), **_problems("400", "404", "500", "503")},
                parameters=[
                    item_id,
                    parameter("tenant_id", _TEXT, "For an item that is attributed to nobody."),
                    parameter("project_id", _TEXT, "For an item that is attributed to no project."),
                ],
                tag="quarantine",
            )
        },
    }


def _server_paths() -> dict[str, dict[str, Schema]]:
    capabilities = _answer("The capabilities.", "Capabilities", "chaukas.spec.common.v1.Capabilities")
    return {
        "/capabilities": {"get": _operation("getCapabilities", "What this server can do", {"200": capabilities}, tag="server")},
        "/healthz": {
            "get": _operation(
                "healthz",
                "Whether the server is ready to work",
                {"200": _json_answer("It is ready.", "Health"), **_problems("503")},
                tag="server",
            )
        },
    }


def _unversioned_paths() -> dict[str, object]:
    figures: Schema = {"description": "The text exposition format.", "content": {"text/plain": {"schema": _TEXT}}}
    document: Schema = {"schema": {"type": "object", "additionalProperties": True}}
    described: Schema = {"description": "OpenAPI 3.1.", "content": {_JSON: document}}
    return {
        "/metrics": {"get": _operation("metrics", "Figures for Prometheus", {"200": figures, **_problems("500")}, tag="server")},
        "/openapi.json": {"get": _operation("openapi", "This document", {"200": described}, tag="server")},
    }


def _operation(
    name: str,
    summary: str,
    responses: dict[str, object],
    *,
    body: Schema | None = None,
    parameters: list[Schema] | None = None,
    tag: str = "events",
) -> Schema:
    operation: Schema = {"operationId": name, "summary": summary, "tags": [tag], "responses": responses}
    if body is not None:
        operation["requestBody"] = body
    if parameters is not None:
        operation["parameters"] = parameters
    return operation


def _without_version(operation: Schema) -> Schema:
    # Ids of operations are unique in a document, and these are the same operations.
    return {**operation, "operationId": f"{operation['operationId']}WithoutVersion"}


def _body(schema: str, message: str) -> Schema:
    return {
        "required": True,
        "description": f"JSON, or a serialised `{message}`.",
        "content": {_JSON: {"schema": reference(schema)}, _PROTOBUF: {}},
    }


def _answer(description: str, schema: str, message: str) -> Schema:
    return {
        "description": f"{description} A serialised `{message}` where `Accept` prefers protobuf.",
        "content": {_JSON: {"schema": reference(schema)}, _PROTOBUF: {}},
    }


def _json_answer(description: str, schema: str) -> Schema:
    return {"description": description, "content": {_JSON: {"schema": reference(schema)}}}


def _problems(*statuses: str) -> dict[str, object]:
    return {status: {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}


def _problem_responses() -> dict[str, object]:
    responses: dict[str, object] = {}
    for status, description in _PROBLEMS.items():
        response: Schema = {"description": description, "content": {_PROBLEM: {"schema": reference("Problem")}}}
        if status == "503":
            seconds: Schema = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
            response["headers"] = {"Retry-After": seconds}
        responses[f"Problem{status}"] = response
    return responses


def _own_schemas() -> dict[str, Schema]:
    """What the answers hold that is no message of the contract."""
    return {
        **_result_schemas(),
        **_quarantine_schemas(),
        **log_schemas(),
        **explanation_schemas(),
        "Problem": _problem_schema(),
        "Health": _whole({"status": {"const": "ok"}}),
    }


def _result_schemas() -> dict[str, Schema]:
    result: dict[str, object] = {
        "event_id": {**_TEXT, "description": "Empty where it could not be read."},
        "status": {"type": "string", "enum": ["accepted", "duplicate", "rejected", "quarantined"]},
        "reason": {**_TEXT, "description": "Why it is not stored, for a human reader."},
        "worm_proof_id": {**_TEXT, "description": "Where it stands: <origin>#<index>."},
        "quarantine_id": {**_TEXT, "description": "Where it is kept aside."},
    }
    processed: Schema = {"type": "integer", "format": "int64", "description": "Milliseconds since 1970-01-01 UTC."}
    required = ["event_id", "status"]
    results: dict[str, object] = {
        "batch_id": _TEXT,
        "accepted_count": {**_COUNT, "description": "Events that are stored, duplicates included."},
        "duplicate_count": {**_COUNT, "description": "Those of them that were stored before."},
        "rejected_count": {**_COUNT, "description": "Events that are kept aside, quarantined ones included."},
        "quarantined_count": {**_COUNT, "description": "Those of them that are invalid."},
        "rejected_event_ids": {"type": "array", "items": _TEXT},
        "results": {"type": "array", "items": reference("IngestResult"), "description": "In the order of the events."},
    }
    return {
        "IngestResult": {"type": "object", "properties": result, "required": required},
        "IngestAnswer": {
            "type": "object",
            "properties": {**result, "processed_at": processed},
            "required": [*required, "processed_at"],
        },
        "IngestResults": _whole(results),
    }


def _quarantine_schemas() -> dict[str, Schema]:
    row: dict[str, object] = {
        "quarantine_id": _TEXT,
        "tenant_id": _TEXT,
        "project_id": _TEXT,
        "event_id": {**_TEXT, "description": "As far as it could be read."},
        "reasons": {"type": "array", "items": _TEXT, "description": "One sentence per violation."},
        "first_received_at": _TIME,
        "last_received_at": _TIME,
        "count": {**_COUNT, "description": "How often the same bytes arrived."},
        "size_bytes": _COUNT,
    }
    raw: Schema = {"type": "string", "contentEncoding": "base64", "description": "The event as received: protobuf, or JSON text."}
    return {
        "QuarantineRow": _whole(row),
        "QuarantineItem": _whole({**row, "raw": raw}),
        "QuarantineListing": _whole(
            {
                "items": {"type": "array", "items": reference("QuarantineRow")},
                "next_after": {**_TEXT, "description": "Continues the listing; empty at its end."},
            }
        ),
        "Resubmission": _whole(
            {
                "quarantine_id": _TEXT,
                "removed": {"type": "boolean", "description": "It is stored now, and has left the quarantine."},
                "result": reference("IngestResult"),
            }
        ),
    }


def _problem_schema() -> Schema:
    violation = _whole({"field": {**_TEXT, "description": "A path, filter.types[0] for example."}, "message": _TEXT})
    properties: dict[str, object] = {
        "type": {"type": "string", "format": "uri-reference", "default": "about:blank"},
        "title": _TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": _TEXT,
        "request_id": {**_TEXT, "description": "The request's name in the server's log."},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "violations": {"type": "array", "items": violation},
        "event_id": {**_TEXT, "description": "Of the event that is kept aside, as far as it could be read."},
        "quarantine_id": {**_TEXT, "description": "Where it is kept aside."},
    }
    return {
        "description": "RFC 9457.",
        "type": "object",
        "properties": properties,
        "required": ["type", "title", "status", "detail", "request_id"],
        "additionalProperties": True,
    }


def _whole(properties: dict[str, object]) -> Schema:
    """An object that always has all of its properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}
