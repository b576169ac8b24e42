"""Edges, slices and groundings as JSON values; `docs/explain.md` lists the keys."""

from __future__ import annotations

from collections.abc import Iterable

from chaukas.server.explain.evidence import Evidence, Place
from chaukas.server.explain.grounding import GroundedItem, GroundedPart, Grounding
from chaukas.server.explain.model import EventRef, Record
from chaukas.server.explain.rendering.json_form import JsonObject
from chaukas.server.explain.why import Slice

__all__ = ["edge_values", "grounding_values", "slice_values"]


def edge_values(record: Record, edges: Iterable[Evidence]) -> list[JsonObject]:
    """Edges from cause to effect with everything that they rest on."""
    return [_edge(record, edge) for edge in edges]


def slice_values(record: Record, part: Slice) -> JsonObject:
    """A slice with its links in order."""
    return {
        "event": part.event.event_id,
        "complete": part.complete,
        "sources": [_id(ref) for ref in part.sources],
        "links": [{"sentence": link.sentence, "distance": link.distance, **_edge(record, link.evidence)} for link in part.links],
    }


def grounding_values(record: Record, grounding: Grounding) -> JsonObject:
    """Which parts of an event stand in a source."""
    return {
        "event": grounding.event.event_id,
        "share": round(grounding.share, 4),
        "exact_found": grounding.exact_found,
        "exact_total": grounding.exact_total,
        "parts": [_part(record, part) for part in grounding.parts],
    }


def _id(ref: EventRef) -> str:
    return ref.event_id


def _edge(record: Record, edge: Evidence) -> JsonObject:
    return {
        "type": str(edge.type),
        "cause": record.rows[edge.cause].event_id,
        "effect": record.rows[edge.effect].event_id,
        "ambiguous": edge.ambiguous,
        "bases": [
            {
                "by": basis.by,
                "what": basis.what,
                "cause": _place(record, basis.cause),
                "effect": _place(record, basis.effect),
                "weight": round(basis.weight, 4),
                "alternatives": basis.alternatives,
            }
            for basis in edge.bases
        ],
    }


def _place(record: Record, place: Place) -> JsonObject:
    return {"event": record.rows[place.position].event_id, "field": place.field, "start": place.start, "end": place.end}


def _part(record: Record, part: GroundedPart) -> JsonObject:
    return {
        "field": part.field,
        "start": part.start,
        "end": part.end,
        "text": part.text,
        "verdict": str(part.verdict),
        "share": round(part.share, 4),
        "items": [_item(record, item) for item in part.items],
    }


def _item(record: Record, item: GroundedItem) -> JsonObject:
    return {
        "kind": str(item.kind),
        "text": item.text,
        "start": item.start,
        "end": item.end,
        "exact": item.strict,
        "found": [_place(record, place) for place in item.found],
    }
