"""Why something happened, and what came of it: slices of the evidence graph, with a sentence for each edge.

Backward from an output, a tool call, a handoff, an error or a policy decision; forward from a document, a tool's result or a
decision. A slice follows every edge but one kind: that a step was recorded under a session's span is no reason for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from chaukas.server.explain.evidence import Basis, Evidence, EvidenceGraph, EvidenceType
from chaukas.server.explain.model import Edge, EventRef, Explanation, StepKind
from chaukas.server.explain.step_lookup import steps_by_position
from chaukas.server.explain.wording import capital, clipped, step_words

__all__ = ["LINKS_MAX", "Link", "Slice", "influence_of", "why"]

LINKS_MAX = 500
_STRENGTH = {kind: place for place, kind in enumerate(EvidenceType)}
_VALUES_SHOWN = 4
_ENDINGS = {
    (StepKind.TOOL, Edge.START): "the call of {}",
    (StepKind.TOOL, Edge.END): "the result of {}",
    (StepKind.MCP, Edge.START): "the start of {}",
    (StepKind.MCP, Edge.END): "the result of {}",
    (StepKind.MODEL, Edge.END): "the response of {}",
    (StepKind.AGENT, Edge.START): "the start of {}",
    (StepKind.AGENT, Edge.END): "the end of {}",
    (StepKind.SESSION, Edge.START): "the start of {}",
    (StepKind.SESSION, Edge.END): "the end of {}",
}


@dataclass(frozen=True, slots=True)
class Link:
    """One edge of a slice with its sentence. `distance` counts edges to the event that was asked about, 1 next to it."""

    evidence: Evidence
    sentence: str
    events: tuple[EventRef, EventRef]
    distance: int


@dataclass(frozen=True, slots=True)
class Slice:
    """What led to an event (`why`), or what it led to (`influence_of`).

    `links` of a backward slice start at the event and go back, the strongest evidence first where several end at one event; those
    of a forward slice go on in the explained order. `sources` are the events where the slice ends: nothing recorded leads to them
    (or, forward, nothing follows from them). `complete` is False when there were more than `links_max` links.
    """

    event: EventRef
    forward: bool
    links: tuple[Link, ...]
    sources: tuple[EventRef, ...]
    complete: bool


def why(
    explanation: Explanation, graph: EvidenceGraph, position: int, *, links_max: int = LINKS_MAX, order: bool = True
) -> Slice:
    """The backward slice of the event at a position. `order=False` leaves out edges that only time gives."""
    return _slice(explanation, graph, position, forward=False, links_max=links_max, order=order)


def influence_of(
    explanation: Explanation, graph: EvidenceGraph, position: int, *, links_max: int = LINKS_MAX, order: bool = False
) -> Slice:
    """The forward slice: what the event at a position had a part in, as far as the record shows."""
    return _slice(explanation, graph, position, forward=True, links_max=links_max, order=order)


def _slice(explanation: Explanation, graph: EvidenceGraph, position: int, *, forward: bool, links_max: int, order: bool) -> Slice:
    neighbours = _Neighbours(explanation, graph)
    distances = {position: 0}
    waiting = deque([position])
    found: list[tuple[Evidence, int]] = []
    ends: set[int] = set()
    complete = True
    while waiting and complete:
        at = waiting.popleft()
        any_link = False
        for edge in neighbours.after(at) if forward else neighbours.before(at):
            if edge.type is EvidenceType.TIME and not order:
                continue
            if len(found) >= links_max:
                complete = False
                break
            any_link = True
            found.append((edge, distances[at] + 1))
            other = edge.effect if forward else edge.cause
            if other not in distances:
                distances[other] = distances[at] + 1
                waiting.append(other)
        if not any_link and at != position:
            ends.add(at)
    sign = 1 if forward else -1
    found.sort(key=lambda item: (sign * item[0].effect, _STRENGTH[item[0].type], sign * item[0].cause))
    words = _Words(explanation)
    links = tuple(Link(edge, words.sentence(edge), words.refs(edge), distance) for edge, distance in found)
    rows = explanation.record.rows
    return Slice(rows[position].ref, forward, links, tuple(rows[end].ref for end in sorted(ends)), complete)


class _Neighbours:
    """Edges around an event; prompts that repeat earlier ones are followed to where their messages first stood."""

    def __init__(self, explanation: Explanation, graph: EvidenceGraph) -> None:
        self._explanation = explanation
        self._graph = graph
        self._seen_prompts: set[int] = set()
        self._moved: set[tuple[int, int]] = set()
        self._repeated_by: dict[int, list[int]] = {}
        for later, earlier in graph.prompts.items():
            self._repeated_by.setdefault(earlier, []).append(later)

    def before(self, position: int) -> Iterator[Evidence]:
        """The edges into an event; those of repeated messages as if they ended here, where they stand at the same place."""
        earlier = self._graph.prompts.get(position)
        for edge in self._graph.causes_of(position):
            if not self._is_frame(edge) and not (edge.type is EvidenceType.CONTEXT and edge.cause == earlier):
                yield edge
        self._seen_prompts.add(position)
        while earlier is not None and earlier not in self._seen_prompts:
            self._seen_prompts.add(earlier)
            before = self._graph.prompts.get(earlier)
            for edge in self._graph.causes_of(earlier):
                if edge.type is EvidenceType.CONTEXT and edge.cause != before:
                    yield _moved(edge, position)
            earlier = before

    def after(self, position: int) -> Iterator[Evidence]:
        """The edges out of an event, and one to each later prompt that repeats the messages which hold it."""
        for edge in self._graph.effects_of(position):
            repeats = edge.type is EvidenceType.CONTEXT and self._graph.prompts.get(edge.effect) == edge.cause
            if self._is_frame(edge) or repeats:
                continue
            yield edge
            if edge.type is EvidenceType.CONTEXT:
                waiting = list(self._repeated_by.get(edge.effect, ()))
                while waiting:
                    later = waiting.pop()
                    if (later, position) not in self._moved:
                        self._moved.add((later, position))
                        yield _moved(edge, later)
                        waiting.extend(self._repeated_by.get(later, ()))

    def _is_frame(self, edge: Evidence) -> bool:
        kind = self._explanation.record.rows[edge.cause].kind
        return kind is StepKind.SESSION and all(basis.by in {"parent", "span"} for basis in edge.bases)


def _moved(edge: Evidence, position: int) -> Evidence:
    bases = tuple(basis._replace(effect=basis.effect._replace(position=position)) for basis in edge.bases)
    return Evidence(edge.type, edge.cause, position, bases)


class _Words:
    """Sentences for edges."""

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation
        self._steps = steps_by_position(explanation)

    def refs(self, edge: Evidence) -> tuple[EventRef, EventRef]:
        """Cause and effect as citations."""
        rows = self._explanation.record.rows
        return rows[edge.cause].ref, rows[edge.effect].ref

    def event(self, position: int) -> str:
        """An event in the middle of a sentence."""
        step = self._explanation.steps[self._steps[position]]
        row = self._explanation.record.rows[position]
        return _ENDINGS.get((step.kind, row.edge), "{}").format(step_words(step))

    def sentence(self, edge: Evidence) -> str:
        """What the edge says, no stronger than its evidence."""
        text = self._said(edge, self.event(edge.cause), self.event(edge.effect))
        others = min((basis.alternatives for basis in edge.bases), default=0)
        if others:
            text += f"; {others} other {'event fits' if others == 1 else 'events fit'} as well"
        return capital(text) + "."

    def _said(self, edge: Evidence, cause: str, effect: str) -> str:
        basis = edge.bases[0]
        if edge.type is EvidenceType.TIME:
            return f"{effect} came after {cause}; only the order says so"
        if edge.type is EvidenceType.CONTEXT:
            return f"{cause} was part of the prompt of {effect}"
        if edge.type is EvidenceType.CONTENT:
            return _content(edge, cause, effect)
        if basis.by == "handoff":
            return f'{effect} follows from {cause}: the handoff names "{clipped(basis.what, 60)}"'
        if basis.by in {"document_id", "policy_id"}:
            noun = "document" if basis.by == "document_id" else "policy"
            return f"{effect} cites {noun} {_shown(edge.bases)}, which {cause} names"
        ids = {"span": "the same span", "parent": "its parent span", "tool_call_id": "the same tool call id"}
        return f"{effect} belongs to {cause}: {ids.get(basis.by, 'the same id')} says so"


def _content(edge: Evidence, cause: str, effect: str) -> str:
    kinds = {basis.by for basis in edge.bases}
    if "text" in kinds:
        return f"{effect} is, word for word, the text of {cause}"
    if "arguments" in kinds:
        return f"{cause} asked for {effect} with the same arguments"
    quotes = [basis for basis in edge.bases if basis.by == "quote"]
    if quotes:
        longest = max(quotes, key=lambda basis: basis.weight)
        return f'{effect} repeats "{clipped(longest.what, 120)}" from {cause}'
    if kinds == {"name"} and edge.bases[0].cause.field.endswith("name"):
        return f"{effect} carries the name of {cause}"
    return f"{effect} holds {_shown(edge.bases)}, which came into the record with {cause}"


def _shown(bases: tuple[Basis, ...]) -> str:
    """The values of some evidence, the most telling first, each once."""
    ordered = sorted(bases, key=lambda basis: -basis.weight)
    shown = list(dict.fromkeys(clipped(basis.what, 60) for basis in ordered))
    more = f" and {len(shown) - _VALUES_SHOWN} more" if len(shown) > _VALUES_SHOWN else ""
    return ", ".join(f'"{value}"' for value in shown[:_VALUES_SHOWN]) + more
