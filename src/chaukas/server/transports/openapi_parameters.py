"""The query parameters of the event routes, as OpenAPI describes them."""

from __future__ import annotations

from chaukas.server.wire.json_schema import Schema

__all__ = ["filter_parameters", "page_parameters", "parameter", "tail_parameters"]

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_IDS = ("tenant_id", "project_id", "session_id", "agent_id", "span_id", "trace_id")
_ENUMS = {"type": "TOOL_CALL_START", "status": "FAILED", "severity": "ERROR"}


def parameter(name: str, schema: Schema, description: str, *, required: bool = False, place: str = "query") -> Schema:
    """One parameter."""
    return {"name": name, "in": place, "required": required, "schema": schema, "description": description}


def filter_parameters() -> list[Schema]:
    """What a filter without a range of time consists of."""
    names: Schema = {"type": "array", "items": _TEXT}
    return [
        *(parameter(name, _TEXT, "Only events with this value; empty means any.") for name in _IDS),
        *(
            parameter(
                name, names, f"{example}, with or without its prefix, or a number; several side by side, with commas or not."
            )
            for name, example in _ENUMS.items()
        ),
        parameter("tag", names, "Only events with this tag; with all of them when it is repeated."),
        parameter("text_query", _TEXT, "Words that an event's texts must hold; see text_query of QueryFilter."),
    ]


def page_parameters() -> list[Schema]:
    """What a page consists of besides."""
    size: Schema = {"type": "integer", "minimum": 0}
    return [
        parameter("start", _TIME, "Only events from this time on, by their timestamp."),
        parameter("end", _TIME, "Only events before this time."),
        parameter("page_size", size, "Most events of the page; 0 means the server's default."),
        parameter("page_token", _TEXT, "next_page_token of the page before."),
        parameter("order", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}, "By timestamp."),
        parameter("include_total", {"type": "boolean", "default": False}, "Also count all matches."),
    ]


def tail_parameters() -> list[Schema]:
    """Where a tail begins."""
    recent: Schema = {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0}
    return [
        parameter("since", _TEXT, "An id of this stream: goes on right behind it."),
        parameter("recent", recent, "Begin with the newest events that are stored already, oldest first."),
        parameter("Last-Event-ID", _TEXT, "As since, and before it; browsers send it when they connect again.", place="header"),
    ]
