"""The routes about sessions and explanations, as OpenAPI describes them."""

from __future__ import annotations

from chaukas.server.transports.openapi_parameters import parameter
from chaukas.server.wire.json_schema import Schema, reference

__all__ = ["EXPLAIN_TAG", "explanation_paths", "explanation_schemas"]

EXPLAIN_TAG: Schema = {"name": "explain", "description": "What agents did, on what evidence, and what is missing."}

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_PROBLEM = "application/problem+json"
_FORMS = ("json", "markdown", "mermaid", "text")


def explanation_paths() -> dict[str, dict[str, Schema]]:
    """What also exists under `/v1`."""
    event_id = parameter("event_id", _TEXT, "The event.", required=True)
    subject = [
        parameter("session_id", _TEXT, "One of the three ids names what is asked about."),
        parameter("trace_id", _TEXT, "A trace."),
        parameter("event_id", _TEXT, "The run of this event."),
    ]
    return {
        "/sessions": {"get": _sessions()},
        "/session": {"get": _about("getSession", "Runs and steps of a session", "SessionStructure", subject)},
        "/explanation": {
            "get": _about("getExplanation", "What an agent did, on what evidence, and what is missing", "Explanation", subject)
        },
        "/why": {"get": _about("getWhy", "What led to an event, and what it led to", "Why", [event_id])},
    }


def _sessions() -> Schema:
    size: Schema = {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0}
    page: Schema = {
        "description": "One page.",
        "headers": {"Link": {"description": 'The next page, rel="next"; absent on the last one.', "schema": _TEXT}},
        "content": {"application/json": {"schema": reference("SessionListing")}},
    }
    return {
        "operationId": "listSessions",
        "summary": "Sessions, those with the newest events first",
        "tags": ["explain"],
        "parameters": [
            *_scope(),
            parameter("page_size", size, "Most sessions of the page; 0 means 100."),
            parameter("page_token", _TEXT, "next_page_token of the page before."),
        ],
        "responses": {"200": page, **_problems("400", "500", "503")},
    }


def _about(name: str, summary: str, schema: str, subject: list[Schema]) -> Schema:
    form: Schema = {"type": "string", "enum": list(_FORMS), "default": "json"}
    text: Schema = {"schema": _TEXT}
    answer: Schema = {
        "description": "The answer in the form of `format`, or else of `Accept`.",
        "content": {
            "application/json": {"schema": reference(schema)},
            "text/markdown": text,
            "text/vnd.mermaid": text,
            "text/plain": text,
        },
    }
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["explain"],
        "parameters": [*_scope(), *subject, parameter("format", form, "How it is written; goes before Accept.")],
        "responses": {
            "200": answer,
            **_problems("400", "404", "500", "503"),
            "409": _problem("Several tenants or projects have this id; `candidates` names them."),
            "422": _problem("More events than one explanation takes; `detail` names the setting."),
        },
    }


def _scope() -> list[Schema]:
    return [
        parameter("tenant_id", _TEXT, "Empty for all tenants that the caller may see."),
        parameter("project_id", _TEXT, "Empty for all projects of the tenant."),
    ]


def _problem(description: str) -> Schema:
    return {"description": description, "content": {_PROBLEM: {"schema": reference("Problem")}}}


def _problems(*statuses: str) -> Schema:
    return {status: {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}


def explanation_schemas() -> dict[str, Schema]:
    """Listings whole, explanations by the keys at their top: docs/explain.md has the rest."""
    session: dict[str, object] = {
        "tenant_id": _TEXT,
        "project_id": _TEXT,
        "session_id": _TEXT,
        "events": _COUNT,
        "first_time": {**_TIME, "description": "Of the events' own times."},
        "last_time": _TIME,
    }
    asked: dict[str, object] = {
        "tenant_id": _TEXT,
        "project_id": _TEXT,
        "asked": {"type": "object", "description": "The id that was asked for, under its name."},
        "loaded": {"type": "object", "description": "Events, sessions and traces that were looked at."},
    }
    rows: Schema = {"type": "array", "items": {"type": "object", "additionalProperties": True}}
    structure: dict[str, object] = {
        **asked,
        "events": _COUNT,
        "duplicates": _COUNT,
        "first_time": _TEXT,
        "last_time": _TEXT,
        "runs": rows,
        "steps": rows,
        "sessions": rows,
    }
    found: Schema = {"type": "object", "additionalProperties": _COUNT, "description": "How many of each severity."}
    part: Schema = {"type": "object", "additionalProperties": True}
    return {
        "SessionRow": _whole(session),
        "SessionListing": _whole(
            {
                "sessions": {"type": "array", "items": reference("SessionRow")},
                "next_page_token": {**_TEXT, "description": "Empty on the last page."},
                "has_more": {"type": "boolean"},
            }
        ),
        "SessionStructure": _whole({**structure, "findings": found}),
        "Explanation": _whole(
            {**structure, "findings": rows, "edges": rows, "edges_complete": {"type": "boolean"}, "groundings": rows}
        ),
        "Why": _whole({**asked, "why": part, "influence": part, "grounding": {"type": ["object", "null"]}}),
    }


def _whole(properties: dict[str, object]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}
