"""The document of the HTTP interface is valid, holds everything that the published one holds, and is true of real answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from chaukas.server.storage.contract import IngestStatus, Outcome
from chaukas.server.transports.http import ROUTES
from chaukas.server.transports.openapi import openapi_document
from chaukas.server.wire.json_form import (
    capabilities_to_openapi,
    event_from_json,
    event_to_openapi,
    json_bytes,
    page_to_openapi,
    query_request_to_openapi,
    stats_to_openapi,
)
from chaukas.server.wire.json_results import result_to_openapi, results_to_openapi
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest
from chaukas.spec.server.v1.server_pb2 import GetEventStatsResponse
from tests.property.json_strategies import events

_EVENT_TYPES = (
    "SESSION_START SESSION_END AGENT_START AGENT_END AGENT_HANDOFF MODEL_INVOCATION_START MODEL_INVOCATION_END TOOL_CALL_START "
    "TOOL_CALL_END MCP_CALL_START MCP_CALL_END INPUT_RECEIVED OUTPUT_EMITTED ERROR RETRY POLICY_DECISION DATA_ACCESS "
    "STATE_UPDATE SYSTEM"
)
#: The published document (release 1.0.5): enums by schema.
_PUBLISHED_ENUMS = {
    "EventType": _EVENT_TYPES,
    "EventStatus": "STARTED IN_PROGRESS COMPLETED FAILED CANCELLED",
    "Severity": "DEBUG INFO WARN ERROR",
    "Author": "USER AGENT TOOL SYSTEM LLM",
    "SortOrder": "ASC DESC",
}
#: The published document: properties by schema, the required ones marked.
_PUBLISHED_PROPERTIES = {
    "MessageContent": "kind* role text* metadata",
    "ToolCall": "kind* id name* arguments auth_required function_name",
    "ToolResponse": "kind* tool_call_id* output error_message execution_time_ms http_status",
    "LLMInvocation": "kind* provider* model* request response prompt_tokens completion_tokens total_tokens temperature "
    "max_tokens top_p frequency_penalty presence_penalty start_time end_time duration_ms finish_reason",
    "PolicyDecision": "kind* policy_id* outcome* rule_ids rationale",
    "DataAccess": "kind* datasource* document_ids chunk_ids pii_categories",
    "ErrorInfo": "kind* error_message* error_code stack_trace recoverable recovery_action",
    "AgentHandoff": "kind* from_agent_id* from_agent_name to_agent_id* to_agent_name handoff_data reason handoff_type",
    "MCPCall": "kind* server_name* server_url operation* method request response protocol_version execution_time_ms",
    "RedactionInfo": "fields method salt_id",
    "RetryInfo": "attempt strategy backoff_ms",
    "PerformanceMetrics": "cpu_percent memory_mb duration_ms throughput latency_ms",
    "InfrastructureMetrics": "resource_type metrics host process_id thread_id",
    "CostDetails": "provider service input_tokens output_tokens total_tokens input_cost output_cost total_cost currency "
    "input_rate_per_token output_rate_per_token",
    "Event": "event_id* tenant_id project_id session_id* span_id parent_span_id type* severity status* author timestamp* "
    "agent_id agent_name invocation_id response_id is_partial is_final hash_prev content_hash worm_proof_id branch tags trace_id "
    "content retry redaction pii_categories performance infrastructure cost metadata",
    "EventBatch": "batch_id timestamp events* metadata total_cost total_tokens total_duration_ms",
    "TimeRange": "start end",
    "QueryFilter": "tenant_id project_id session_id agent_id span_id trace_id types statuses severities tags text_query time",
    "QueryRequest": "filter page_size page_token order_by_time",
    "QueryResponse": "events next_page_token",
    "Capabilities": "worm_retention audit_proofs distributed_query rbac sso policy_decisions data_access_events",
}
_PUBLISHED_KINDS = "message tool_call tool_response llm_invocation policy_decision data_access error_info agent_handoff mcp_call"
_PUBLISHED_WORDS = {
    ("PolicyDecision", "outcome"): ["allow", "deny", "review"],
    ("AgentHandoff", "handoff_type"): ["sequential", "parallel", "conditional"],
    ("RedactionInfo", "method"): ["mask", "hash", "drop"],
}
_DOCUMENT = openapi_document()
_SCHEMAS = _DOCUMENT["components"]["schemas"]


def _validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": _DOCUMENT["components"]}
    return Draft202012Validator(schema, format_checker=FormatChecker())


def test_the_document_is_valid() -> None:
    """Tools that read OpenAPI 3.1 can read it."""
    assert _DOCUMENT["openapi"].startswith("3.1.")
    validate(_DOCUMENT, cls=OpenAPIV31SpecValidator)
    assert json.loads(json_bytes(_DOCUMENT)) == _DOCUMENT


def test_a_copy_is_given() -> None:
    """Who changes the document changes a copy."""
    changed = openapi_document()
    changed["components"]["schemas"]["Event"]["properties"].clear()
    changed["paths"]["/v1/stats"]["get"]["parameters"][0]["schema"]["type"] = "integer"
    assert openapi_document() == _DOCUMENT


def test_every_route_is_there() -> None:
    """The document has the routes that the server has, with and without /v1; no operation is named twice."""
    found = {(path, method.upper()) for path, item in _DOCUMENT["paths"].items() for method in item}
    assert found == {(path, route.method) for route in ROUTES for path in (route.path, route.path.removeprefix("/v1"))}
    names = [operation["operationId"] for item in _DOCUMENT["paths"].values() for operation in item.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", ["/events", "/events/batch", "/query"])
def test_bodies_and_errors(path: str) -> None:
    """Both media types are taken; what goes wrong is a problem of RFC 9457."""
    operation = _DOCUMENT["paths"][f"/v1{path}"]["post"]
    assert operation["requestBody"]["content"].keys() == {"application/json", "application/x-protobuf"}
    assert {"400", "413", "415", "500", "503"} < operation["responses"].keys()
    problem = _DOCUMENT["components"]["responses"]["Problem503"]
    assert problem["content"].keys() == {"application/problem+json"}
    assert "Retry-After" in problem["headers"]


@pytest.mark.parametrize(("name", "words"), _PUBLISHED_ENUMS.items())
def test_published_enums(name: str, words: str) -> None:
    """Each published value is there; numbers may stand for what has no name."""
    named, number = _SCHEMAS[name]["anyOf"]
    assert set(words.split()) <= set(named["enum"])
    assert number["type"] == "integer"


@pytest.mark.parametrize(("name", "words"), _PUBLISHED_PROPERTIES.items())
def test_published_properties(name: str, words: str) -> None:
    """A client made from the published document finds each property, and those that it relies on are required of us."""
    schema = _SCHEMAS[name]
    assert {word.rstrip("*") for word in words.split()} <= schema["properties"].keys()
    assert {word.rstrip("*") for word in words.split() if word.endswith("*")} <= set(schema.get("required", ()))


@pytest.mark.parametrize(("place", "words"), _PUBLISHED_WORDS.items())
def test_published_words(place: tuple[str, str], words: list[str]) -> None:
    """Words that the published document lists are named, though any text may stand there."""
    known, text = _SCHEMAS[place[0]]["properties"][place[1]]["anyOf"]
    assert (known["enum"], text) == (words, {"type": "string"})


def test_published_kinds() -> None:
    """Each published kind of content, and the one that we add."""
    content = _SCHEMAS["EventContent"]
    assert content["discriminator"]["propertyName"] == "kind"
    assert content["discriminator"]["mapping"].keys() == {*_PUBLISHED_KINDS.split(), "state_update"}
    for kind, target in content["discriminator"]["mapping"].items():
        assert _SCHEMAS[target.rpartition("/")[2]]["properties"]["kind"]["enum"] == [kind]


@settings(max_examples=60, deadline=None)
@given(events(lossy=True))
def test_every_answered_event_is_as_documented(event: Event) -> None:
    """An event that is stored with a valid timestamp, whatever else it holds, fits the documented schema."""
    for field in ("timestamp", "server_timestamp"):
        event.ClearField(field)
        getattr(event, field).FromJsonString("2026-11-22T11:43:40.839041Z")
    form = json.loads(json_bytes(event_to_openapi(event)))
    _validator("Event").validate(form)
    _validator("QueryResponse").validate(json.loads(json_bytes(page_to_openapi([event], "t", 1))))


def test_other_answers_are_as_documented() -> None:
    """Results, capabilities and statistics fit their schemas."""
    outcomes = [
        Outcome(IngestStatus.ACCEPTED, "a", origin="o", index=0),
        Outcome(IngestStatus.QUARANTINED, "", "r", quarantine_id="q"),
    ]
    _validator("IngestResults").validate(results_to_openapi(outcomes))
    for outcome in outcomes:
        _validator("IngestResult").validate(result_to_openapi(outcome))
        _validator("IngestAnswer").validate({**result_to_openapi(outcome), "processed_at": 1})
    _validator("Capabilities").validate(capabilities_to_openapi(Capabilities()))
    _validator("GetEventStatsResponse").validate(stats_to_openapi(GetEventStatsResponse()))
    _validator("QueryRequest").validate(query_request_to_openapi(QueryRequest(page_size=1000, session_id="s")))


def test_what_is_documented_for_input_is_taken() -> None:
    """The smallest event that the document allows is one that the server reads."""
    smallest = {"event_id": "e", "tenant_id": "t", "type": "SYSTEM"}
    _validator("EventInput").validate(smallest)
    assert event_from_json(smallest).type
    assert not _validator("EventInput").is_valid({"event_id": "e", "type": "SYSTEM"})


def test_both_forms_of_a_refused_checkpoint() -> None:
    """A witness that does not know the log answers in plain text, a server that is none with a problem: both are 404."""
    answers = _DOCUMENT["paths"]["/add-checkpoint"]["post"]["responses"]
    assert answers["404"]["content"].keys() == {"text/plain", "application/problem+json"}
