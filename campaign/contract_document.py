"""The contract over HTTP as an OpenAPI document of its own, made from the contract's descriptors and nothing of the server.

What it describes is what every server of the contract must take from clients that keep to it: the public JSON form with all its
fields. It is narrower than the contract only where the contract leaves limits to the server (lengths of ids, a tenant for callers
without a key). So every request that follows from it must be accepted, and every answer must have the form that it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest

__all__ = ["contract_document"]

if TYPE_CHECKING:
    # The runtime's own classes, which stand in for those of google.protobuf.descriptor.
    from google._upb._message import Descriptor as _UpbDescriptor
    from google._upb._message import FieldDescriptor as _UpbFieldDescriptor

    _Descriptor = Descriptor | _UpbDescriptor
    _FieldDescriptor = FieldDescriptor | _UpbFieldDescriptor

Schema = dict[str, object]

#: Fields of the contract have lower numbers; what is above is ours.
_OURS_FROM = 1000
_JSON = "application/json"
_KINDS = {"policy": "policy_decision", "error": "error_info"}
_PREFIXES = {"EventType": "EVENT_TYPE_", "EventStatus": "EVENT_STATUS_", "Severity": "SEVERITY_", "Author": "AUTHOR_"}
_PREFIXES["SortOrder"] = "SORT_ORDER_"
#: What the public form lacks, and what only the server sets.
_LEFT_OUT = {"extensions", "state_update", "hash_prev", "content_hash", "worm_proof_id"}
_WHOLE_32 = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_NUMBER = {"type": "number", "minimum": -1e300, "maximum": 1e300}
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 40, "pattern": "^[ -~]*$"}
_OWN: dict[str, Schema] = {
    "Event.tenant_id": {"type": "string", "enum": ["acme", "globex"]},
    "Event.project_id": {"type": "string", "enum": ["shop", "web"]},
    "Event.agent_name": _ID,
    "Event.branch": _ID,
    "Event.tags": {"type": "array", "items": _ID, "maxItems": 20},
    "QueryRequest.page_size": {"type": "integer", "minimum": 0, "maximum": 1000},
    "QueryRequest.page_token": {"type": "string", "enum": [""]},
    "QueryFilter.text_query": {"type": "string", "pattern": "^[a-z]{1,20}$"},
    # Both ends at once would have to be in order, which a schema can not say.
    "TimeRange.end": {"type": "string", "enum": ["9999-12-31T23:59:59Z"]},
}
_REQUIRED = {"Event": ["event_id", "tenant_id", "type", "status", "timestamp", "session_id"], "EventBatch": ["events"]}


def contract_document() -> Schema:
    """The document, OpenAPI 3.0.3."""
    schemas: Schema = {}
    for message in (Event, EventBatch, QueryRequest):
        _add(message.DESCRIPTOR, schemas)
    capabilities = {field.name: {"type": "boolean"} for field in Capabilities.DESCRIPTOR.fields if field.number < _OURS_FROM}
    schemas["Capabilities"] = {"type": "object", "properties": capabilities, "required": list(capabilities)}
    page = {
        "events": {
            "type": "array",
            "items": {"type": "object", "required": ["event_id", "type", "status", "timestamp", "session_id"]},
        },
        "next_page_token": {"type": "string"},
    }
    schemas["QueryResponse"] = {"type": "object", "properties": page, "required": list(page)}
    return {
        "openapi": "3.0.3",
        "info": {"title": "The contract over HTTP", "version": "1.0.5"},
        "paths": {
            "/healthz": {"get": _operation("200")},
            "/v1/capabilities": {"get": _operation("200", answer="Capabilities")},
            "/v1/events": {"post": _operation("202", body="Event")},
            "/v1/events/batch": {"post": _operation("202", body="EventBatch")},
            "/v1/query": {"post": _operation("200", body="QueryRequest", answer="QueryResponse")},
        },
        "components": {"schemas": schemas},
    }


def _operation(status: str, *, body: str = "", answer: str = "") -> Schema:
    answered: Schema = {"description": "As the contract says."}
    if answer:
        answered["content"] = {_JSON: {"schema": _reference(answer)}}
    operation: Schema = {"responses": {status: answered}}
    if body:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": _reference(body)}}}
    return operation


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _add(message: _Descriptor, schemas: Schema) -> Schema:
    """The reference to the schema of a message, which is added with all that it refers to."""
    name = message.name
    if name not in schemas:
        properties: Schema = {}
        schemas[name] = {"type": "object", "properties": properties, "additionalProperties": False}
        if name in _REQUIRED:
            schemas[name] |= {"required": _REQUIRED[name]}  # type: ignore[operator]
        for field in message.fields:
            if field.number < _OURS_FROM and field.name not in _LEFT_OUT and field.containing_oneof is None:
                properties[field.name] = _OWN.get(f"{name}.{field.name}") or _of_field(field, schemas)
        contents = [field for field in message.fields if field.containing_oneof is not None and field.name not in _LEFT_OUT]
        if name == "Event":
            properties["content"] = {"oneOf": [_content(field, schemas) for field in contents]}
    return _reference(name)


def _content(field: _FieldDescriptor, schemas: Schema) -> Schema:
    """One alternative of `content`: the message's fields beside `kind`."""
    name = f"{field.name}_content"
    properties: Schema = {"kind": {"type": "string", "enum": [_KINDS.get(field.name, field.name)]}}
    for inner in field.message_type.fields if field.message_type is not None else ():
        properties[inner.name] = _of_field(inner, schemas)
    schemas[name] = {"type": "object", "properties": properties, "required": ["kind"], "additionalProperties": False}
    return _reference(name)


def _of_field(field: _FieldDescriptor, schemas: Schema) -> Schema:
    single = _of_value(field, schemas)
    return {"type": "array", "items": single, "maxItems": 5} if field.is_repeated else single


def _of_value(field: _FieldDescriptor, schemas: Schema) -> Schema:
    if field.message_type is not None:
        match field.message_type.full_name:
            case "google.protobuf.Struct":
                return {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 4}
            case "google.protobuf.Timestamp":
                return {"type": "string", "format": "date-time"}
        return _add(field.message_type, schemas)
    if field.enum_type is not None:
        prefix = _PREFIXES[field.enum_type.name]
        return {"type": "string", "enum": [value.name.removeprefix(prefix) for value in field.enum_type.values if value.number]}
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return (
                _ID
                if field.containing_type is not None and field.containing_type.name in {"Event", "QueryFilter"}
                else {"type": "string"}
            )
        case FieldDescriptor.TYPE_BOOL:
            return {"type": "boolean"}
        case FieldDescriptor.TYPE_DOUBLE:
            return _NUMBER
    return _WHOLE_32
