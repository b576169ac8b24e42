"""Why an event happened, and what it led to."""

from __future__ import annotations

from chaukas.server.auth.principal import Principal
from chaukas.server.errors import InvalidRequestError
from chaukas.server.explain.evidence_graph import evidenced
from chaukas.server.explain.grounding import ground, groundable
from chaukas.server.explain.quoting import one_line
from chaukas.server.explain.rendering.arrows import arrows_of
from chaukas.server.explain.rendering.evidence_form import grounding_values, slice_values
from chaukas.server.explain.rendering.forms import AnswerForm, Rendered
from chaukas.server.explain.rendering.mermaid import mermaid_of
from chaukas.server.explain.rendering.slices import slices_markdown, slices_text
from chaukas.server.explain.why import influence_of, why
from chaukas.server.operations.explanations import Explained, Subject, answer, json_text, subject_values
from chaukas.server.operations.services import Services

__all__ = ["get_why"]

_ID_CHARS = 120


async def get_why(services: Services, principal: Principal, subject: Subject, form: AnswerForm) -> Rendered:
    """The backward and the forward slice of an event; every form names the events and the evidence.

    Raises `InvalidRequestError` unless the subject is an event, and what `load_events` raises.
    """
    if not subject.event_id:
        raise InvalidRequestError("event_id", "is required")
    return await answer(services, principal, subject, form, _render)


def _render(explained: Explained, form: AnswerForm) -> str:
    explanation = explained.explanation
    record = explanation.record
    position = record.by_event_id[explained.loaded.subject.event_id]
    known = evidenced(explanation)
    before = why(explanation, known.graph, position)
    after = influence_of(explanation, known.graph, position)
    if form is AnswerForm.MERMAID:
        arrows = arrows_of(known, (link.evidence for link in (*before.links, *after.links)))
        steps = {known.step_of[position], *(number for arrow in arrows for number in (arrow.source, arrow.target))}
        return mermaid_of(explanation, arrows, only=frozenset(steps))
    if form is AnswerForm.JSON:
        row = record.rows[position]
        return json_text(
            {
                **subject_values(explained),
                "why": slice_values(record, before),
                "influence": slice_values(record, after),
                "grounding": grounding_values(record, ground(known, position)) if groundable(row) else None,
            }
        )
    loaded = explained.loaded
    title = f"Why event {one_line(loaded.subject.id, _ID_CHARS)} of {loaded.tenant_id}/{loaded.project_id} happened"
    write = slices_markdown if form is AnswerForm.MARKDOWN else slices_text
    return write(known, title, before, after)
