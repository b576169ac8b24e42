"""JSON Schema of the public OpenAPI form, derived from the same descriptors as the form itself, so that neither can drift.

The published document's names, properties and required keys, made true where it is too narrow for what a stored event may
hold: numbers without a name in enums, numbers that are not finite, times beyond the year 9999. With the published modules in
place of ours, our additions are absent here as they are in the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from chaukas.server.wire.json_fields import CONTENT_KINDS, REQUIRED
from chaukas.server.wire.json_number import enum_writer
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import GetEventStatsResponse

__all__ = ["Schema", "contract_schemas", "reference"]

Schema = dict[str, object]

#: Of an event that is sent: what validation asks for. Fewer keys than of an answer, see `json_fields.REQUIRED`.
_EVENT_INPUT_REQUIRED = ["event_id", "tenant_id", "type"]
#: Words that the published document lists for fields which are free text on the wire.
_KNOWN_WORDS: Mapping[str, list[str]] = {
    "PolicyDecision.outcome": ["allow", "deny", "review"],
    "AgentHandoff.handoff_type": ["sequential", "parallel", "conditional"],
    "RedactionInfo.method": ["mask", "hash", "drop"],
}
_DESCRIPTIONS: Mapping[str, str] = {
    "Event": "One fact about a running agent, as its client stated it, with the server's values in the integrity fields.",
    "Event.event_id": "Names the event within its tenant and project. Storing is idempotent by it.",
    "Event.tenant_id": "Whose event it is.",
    "Event.project_id": "A division of the tenant.",
    "Event.session_id": "The conversation or job; empty where the client gave none.",
    "Event.span_id": "The action; START and END of one action share it.",
    "Event.parent_span_id": "The action that caused this one; its events may never arrive.",
    "Event.timestamp": "When it happened, by the client's clock. Filled in by the server where the client sent none.",
    "Event.hash_prev": "Hex SHA-256 leaf hash of the log entry before; set by the server.",
    "Event.content_hash": "Hex SHA-256 of the stored bytes; set by the server.",
    "Event.worm_proof_id": "Where the event stands, <origin>#<index>; set by the server.",
    "Event.trace_id": "The distributed trace that the event belongs to.",
    "Event.metadata": "Free notes of the client.",
    "Event.extensions": "Messages of types that the contract does not know.",
    "Event.server_timestamp": "When the server received the event; set by the server, ignored when sent.",
    "EventBatch": "Events that travel together; each is stored, or not, on its own.",
    "EventBatch.batch_id": "The sender's name for this posting; repeated in the answer.",
    "LLMInvocation": "One call of a language model.",
    "MCPCall": "A request to a Model Context Protocol server.",
    "QueryFilter": "An event matches when it satisfies every key that is set.",
    "QueryFilter.types": "One match is enough; so it is for statuses and severities.",
    "QueryFilter.tags": "An event must carry every one of them.",
    "QueryFilter.text_query": 'Words, "phrases" and prefix* that must all occur in the event\'s texts.',
    "QueryFilter.time": "Compared with timestamp.",
    "QueryRequest.page_size": "Most events on the page; 0 means 100.",
    "QueryRequest.page_token": "Empty for the first page, then next_page_token as received; filter and order stay the same.",
    "QueryRequest.session_id": "Shorthand for filter.session_id.",
    "QueryRequest.include_total": "Also count all matches of the query.",
    "QueryResponse.next_page_token": "Asks for the next page; empty on the last one.",
    "QueryResponse.total_count": "Matches on all pages together; present when it was asked for.",
    "QueryResponse.has_more": "Whether there is a next page.",
    "Capabilities": "What this server can do, as it is configured.",
    "Capabilities.max_batch_size": "The most events that one batch may hold.",
    "GetEventStatsResponse": "Exact counts.",
    "GetEventStatsResponse.total_sessions": "Sessions of which at least one event was counted.",
    "GetEventStatsResponse.events_by_type": "By the full name of the type, EVENT_TYPE_SESSION_START for example.",
    "GetEventStatsResponse.avg_session_duration_ms": "Mean time from the first to the last event of the whole session.",
    "TimeRange": "A half-open range: start belongs to it, end does not. A side that is missing is open.",
}
_OVERRIDES: Mapping[str, Schema] = {
    "QueryRequest.page_size": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 100},
    # Validated before it is stored, unlike the times within an event.
    "Event.timestamp": {"type": "string", "format": "date-time"},
    "Event.server_timestamp": {"type": "string", "format": "date-time"},
}
_SHARED: Mapping[str, Schema] = {
    "Double": {
        "description": "A number; as text where it is not finite.",
        "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
    },
    "Time": {
        "description": "RFC 3339, and an own form for times outside the years 1 to 9999.",
        "anyOf": [
            {"type": "string", "format": "date-time"},
            {
                "type": "object",
                "properties": {
                    "seconds": {"type": "integer", "format": "int64"},
                    "nanos": {"type": "integer", "format": "int32"},
                },
                "required": ["seconds", "nanos"],
            },
        ],
    },
    "Extension": {
        "description": "A message of any type: its JSON where the server knows the type, its bytes in base64 otherwise.",
        "type": "object",
        "properties": {"@type": {"type": "string"}, "@encoding": {"enum": ["base64"]}, "value": True},
        "additionalProperties": True,
    },
}


def reference(name: str) -> Schema:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def contract_schemas() -> dict[str, Schema]:
    """The component schemas of the contract's messages and enums, by their published names."""
    schemas: dict[str, Schema] = {name: dict(schema) for name, schema in _SHARED.items()}
    for root in (Event, EventBatch, QueryRequest, QueryResponse, Capabilities, GetEventStatsResponse):
        # The runtime's own class of descriptors stands in for the one that its type stubs know.
        _add_message(schemas, cast("Descriptor", root.DESCRIPTOR))
    event = schemas["Event"]
    schemas["EventInput"] = {
        **event,
        "description": "An event to be stored. Keys that are not listed are refused. Protobuf's JSON form is taken as well.",
        "required": _EVENT_INPUT_REQUIRED,
    }
    _require(schemas["Event"], ["event_id", "type", "status", "timestamp", "session_id"])
    _require(schemas["EventBatch"], ["events"])
    _require(schemas["QueryResponse"], ["events", "next_page_token", "has_more"])
    _properties(schemas["EventBatch"])["events"] = {"type": "array", "items": reference("EventInput")}
    for name in ("Capabilities", "GetEventStatsResponse"):
        _require(schemas[name], list(_properties(schemas[name])))
    return schemas


def _add_message(schemas: dict[str, Schema], message: Descriptor) -> None:
    if message.name in schemas:
        return
    schema: Schema = {"type": "object"}
    schemas[message.name] = schema
    if message.name in _DESCRIPTIONS:
        schema["description"] = _DESCRIPTIONS[message.name]
    contents = [field for field in message.fields if field.containing_oneof is not None]
    properties: dict[str, object] = {}
    for field in message.fields:
        if field not in contents:
            properties[field.name] = _described(f"{message.name}.{field.name}", _field(schemas, field))
    schema["properties"] = properties
    if contents:
        properties["content"] = reference("EventContent")
        schemas["EventContent"] = _content(schemas, contents)


def _content(schemas: dict[str, Schema], contents: list[FieldDescriptor]) -> Schema:
    """The union of the contents, told apart by `kind`, which only exists in JSON."""
    mapping: dict[str, str] = {}
    for field in contents:
        message = field.message_type
        if message is None:
            continue
        kind = CONTENT_KINDS.get(field.name, field.name)
        if message.full_name == "google.protobuf.Struct":
            name = "StateUpdate"
            properties: dict[str, object] = {field.name: _object()}
            schemas[name] = {"type": "object", "description": "The new values of the agent's state."}
            required = [field.name]
        else:
            name = message.name
            _add_message(schemas, message)
            properties = _properties(schemas[name])
            required = list(REQUIRED.get(name, ()))
        schemas[name] |= {
            "properties": {"kind": {"type": "string", "enum": [kind]}, **properties},
            "required": ["kind", *required],
        }
        mapping[kind] = f"#/components/schemas/{name}"
    return {
        "description": "What happened, in detail.",
        "oneOf": [{"$ref": target} for target in mapping.values()],
        "discriminator": {"propertyName": "kind", "mapping": mapping},
    }


def _field(schemas: dict[str, Schema], field: FieldDescriptor) -> Schema:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _value(schemas, message.fields_by_name["value"])}
    one = _value(schemas, field)
    return {"type": "array", "items": one} if field.is_repeated else one


def _value(schemas: dict[str, Schema], field: FieldDescriptor) -> Schema:
    if field.message_type is not None:
        return _message(schemas, field.message_type)
    if field.enum_type is not None:
        _add_enum(schemas, field.enum_type)
        return reference(field.enum_type.name)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return reference("Double")
    return dict(_SCALARS[field.type])


_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "integer", "format": "int64"},
}


def _message(schemas: dict[str, Schema], message: Descriptor) -> Schema:
    shared = {"google.protobuf.Timestamp": "Time", "google.protobuf.Any": "Extension"}.get(message.full_name)
    if shared is not None:
        return reference(shared)
    if message.full_name == "google.protobuf.Struct":
        return _object()
    _add_message(schemas, message)
    return reference(message.name)


def _add_enum(schemas: dict[str, Schema], enum: EnumDescriptor) -> None:
    write = enum_writer(enum)
    schemas[enum.name] = {
        "description": "A name; a number where this server has no name for the value that a client sent.",
        "anyOf": [
            {"type": "string", "enum": [write(value.number) for value in enum.values]},
            {"type": "integer", "format": "int32"},
        ],
    }


def _described(path: str, schema: Schema) -> Schema:
    schema = dict(_OVERRIDES.get(path, schema))
    if path in _KNOWN_WORDS:
        schema = {"anyOf": [{"type": "string", "enum": _KNOWN_WORDS[path]}, {"type": "string"}]}
    if path in _DESCRIPTIONS:
        schema["description"] = _DESCRIPTIONS[path]
    return schema


def _properties(schema: Schema) -> dict[str, object]:
    properties = schema["properties"]
    if not isinstance(properties, dict):
        raise TypeError("the schema of a message has properties")
    return properties


def _require(schema: Schema, names: list[str]) -> None:
    schema["required"] = [name for name in names if name in _properties(schema)]


_object = partial(dict[str, object], type="object", additionalProperties=True)
