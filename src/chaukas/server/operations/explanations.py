"""What a session, a trace or the run of an event holds: its structure, its explanation, and why one event happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chaukas.server.auth.principal import Principal
from chaukas.server.explain.evidence_graph import Evidenced, evidenced
from chaukas.server.explain.findings import find_all
from chaukas.server.explain.grounding import ground, groundable
from chaukas.server.explain.grounds import grounds_of
from chaukas.server.explain.model import Explanation
from chaukas.server.explain.narrative import narrative
from chaukas.server.explain.quoting import one_line
from chaukas.server.explain.rendering.arrows import arrows_of
from chaukas.server.explain.rendering.evidence_form import edge_values, grounding_values
from chaukas.server.explain.rendering.forms import AnswerForm, Rendered
from chaukas.server.explain.rendering.json_form import JsonObject, explanation_values
from chaukas.server.explain.rendering.markdown import fenced, markdown_of
from chaukas.server.explain.rendering.mermaid import mermaid_of
from chaukas.server.explain.rendering.text import text_of
from chaukas.server.explain.sentences import Sentence
from chaukas.server.explain.steps import structure_of
from chaukas.server.operations.explained_events import LoadedEvents, Subject, load_events
from chaukas.server.operations.explainer import Explainer
from chaukas.server.operations.services import Services
from chaukas.server.wire.json_form import json_bytes

__all__ = ["Explained", "Subject", "answer", "get_explanation", "get_session", "json_text", "subject_values"]

_ID_CHARS = 120


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation and what was loaded for it."""

    loaded: LoadedEvents
    explanation: Explanation

    @property
    def title(self) -> str:
        """What the answer is about, as plain text on one line."""
        subject = self.loaded.subject
        words = {"session": "Session", "trace": "Trace", "event": "The run of event"}[subject.kind]
        return f"{words} {one_line(subject.id, _ID_CHARS)} of {self.loaded.tenant_id}/{self.loaded.project_id}"


async def get_session(services: Services, principal: Principal, subject: Subject, form: AnswerForm) -> Rendered:
    """Runs, steps and sessions as recorded. Raises what `load_events` raises, and `OverloadedError`."""
    return await answer(services, principal, subject, form, _render_session)


async def get_explanation(services: Services, principal: Principal, subject: Subject, form: AnswerForm) -> Rendered:
    """The whole explanation. Raises what `load_events` raises, and `OverloadedError`."""
    return await answer(services, principal, subject, form, _render_explanation)


async def answer(
    services: Services,
    principal: Principal,
    subject: Subject,
    form: AnswerForm,
    render: Callable[[Explained, AnswerForm], str],
) -> Rendered:
    """Load, explain and render within the limits; the work of a thread.

    Raises what `load_events` raises, and `OverloadedError` when too many explanations are under way.
    """
    explainer = services.explainer
    async with explainer.room():
        loaded = await load_events(services, principal, subject)

        def work() -> str:
            return render(explained_of(loaded, explainer), form)

        return Rendered(form, await explainer.compute(work))


def explained_of(loaded: LoadedEvents, explainer: Explainer) -> Explained:
    """The explanation of the runs that the asked id takes part in; what else was loaded has no run in common with it."""
    structure = structure_of(loaded.events)
    if len(loaded.asked) < len(loaded.events):
        rows = structure.record.rows
        kept = {
            position
            for run in structure.runs
            if any(rows[position].event_id in loaded.asked for position in run.events)
            for position in run.events
        }
        if len(kept) < len(rows):
            structure = structure_of([rows[position].event for position in sorted(kept)])
    return Explained(loaded, replace(structure, findings=find_all(structure, explainer.finders)))


def _render_session(explained: Explained, form: AnswerForm) -> str:
    explanation = explained.explanation
    if form is AnswerForm.JSON:
        values = explanation_values(explanation)
        findings = Counter(str(finding.severity) for finding in explanation.findings)
        return json_text(
            {**subject_values(explained), **values, "findings": {word: findings[word] for word in ("error", "warn", "info")}}
        )
    if form is AnswerForm.MERMAID:
        return mermaid_of(explanation)
    tree = text_of(replace(explanation, findings=()))
    return fenced(explained.title, tree) if form is AnswerForm.MARKDOWN else f"{explained.title}\n\n{tree}"


def _render_explanation(explained: Explained, form: AnswerForm) -> str:
    explanation = explained.explanation
    if form is AnswerForm.TEXT:
        return f"{explained.title}\n\n{text_of(explanation)}"
    known = evidenced(explanation)
    if form is AnswerForm.JSON:
        return json_text({**subject_values(explained), **explanation_values(explanation), **_evidence(known)})
    if form is AnswerForm.MERMAID:
        return mermaid_of(explanation, arrows_of(known, known.graph.edges))
    page = narrative(explanation, explained.title, basis=grounds_of(known), about=_about(explained))
    return markdown_of(page, explanation.record)


def _evidence(known: Evidenced) -> JsonObject:
    """The graph, and where what was said and asked for comes from."""
    record = known.explanation.record
    groundings = [grounding_values(record, ground(known, row.position)) for row in record.rows if groundable(row)]
    return {
        "edges": edge_values(record, known.graph.edges),
        "edges_complete": known.graph.complete,
        "groundings": groundings,
    }


def subject_values(explained: Explained) -> JsonObject:
    """The keys with which every JSON answer begins: what was asked for and what was loaded."""
    loaded = explained.loaded
    return {
        "tenant_id": loaded.tenant_id,
        "project_id": loaded.project_id,
        "asked": {f"{loaded.subject.kind}_id": loaded.subject.id},
        "loaded": {
            "events": len(loaded.events),
            "sessions": list(loaded.sessions),
            "traces": list(loaded.traces),
            "complete": loaded.complete,
        },
    }


def _about(explained: Explained) -> list[Sentence]:
    """What was looked at, and what was not."""
    loaded, rows = explained.loaded, explained.explanation.record.rows
    everything = tuple(range(len(rows)))
    text = (
        f"They were looked up by the {loaded.subject.kind}, and by the {_count(loaded.sessions, 'session')} and"
        f" {_count(loaded.traces, 'trace')} that they name"
    )
    others = len(loaded.events) - len(rows)
    if others > 0:
        text += f"; {others} more events that were found so belong to other runs, and are left out"
    sentences = [Sentence(text, everything, whole=True)]
    if not loaded.complete:
        text = "Not everything that is connected was looked at, because a limit of the server was reached"
        sentences.append(Sentence(text, everything, whole=True))
    return sentences


def _count(ids: Sequence[str], word: str) -> str:
    return f"{len(ids)} {word}" if len(ids) == 1 else f"{len(ids)} {word}s"


def json_text(values: JsonObject) -> str:
    """Compact JSON."""
    return json_bytes(values).decode()
