"""Builds the evidence graph of an explanation in one pass over its events, in the explained order.

The order makes the direction: a text is compared with what was said before it, then becomes part of what later ones are compared
with. What ids prove does not need the order. Nothing is read twice, so work grows near-linearly with the text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from chaukas.server.explain.contents import output_text
from chaukas.server.explain.evidence import Basis, EdgeDrafts, EvidenceGraph, EvidenceType, Place
from chaukas.server.explain.links import add_explicit, add_order
from chaukas.server.explain.matching import SourceIndex
from chaukas.server.explain.model import Edge, EventRow, Explanation, Nesting, StepKind
from chaukas.server.explain.model_calls import ModelCalls
from chaukas.server.explain.prompt_context import PromptReader, WholeTexts
from chaukas.server.explain.repeats import Reading, Repeats, common_keys
from chaukas.server.explain.sources import Passage, PassageRole, instructions_of, passages_of
from chaukas.server.explain.spelling import values_of, weight_of_word, words_of
from chaukas.server.explain.step_lookup import steps_by_position

__all__ = ["Evidenced", "evidence_of", "evidenced"]

_CALLS = frozenset({StepKind.TOOL, StepKind.MCP})
_TOLD = frozenset({StepKind.ERROR, StepKind.RETRY})
_REPEATING = frozenset({StepKind.OUTPUT, StepKind.ERROR, StepKind.RETRY})
_QUOTE_MAX = 400
#: A word that stands in more sources than this leads to the first of them only.
_WORD_SOURCES_MAX = 1_000
_CITED_CHARS_MIN = 4
#: Texts are searched for the ids that were named last.
_CITABLE_MAX = 64


class Evidenced:
    """An explanation with its evidence graph and the index behind it, which `grounding` asks.

    `kin` leads from a run to its group of runs that share a session or trace, `step_of` from a position to its step.
    """

    __slots__ = ("_by_word", "explanation", "graph", "index", "kin", "step_of")

    def __init__(
        self, explanation: Explanation, graph: EvidenceGraph, index: SourceIndex, kin: list[int], step_of: list[int]
    ) -> None:
        self.explanation = explanation
        self.graph = graph
        self.index = index
        self.kin = kin
        self.step_of = step_of
        self._by_word: dict[str, list[int]] | None = None

    def sources_with(self, words: Sequence[str]) -> Sequence[int]:
        """The sources that may have all of these words: those of the rarest one. The directory is made when first asked for."""
        if self._by_word is None:
            self._by_word = {}
            for number, text in enumerate(self.index.sources.text):
                for word in dict.fromkeys(words_of(text)):
                    if weight_of_word(word):
                        places = self._by_word.setdefault(word, [])
                        if len(places) < _WORD_SOURCES_MAX:
                            places.append(number)
        lists = [self._by_word.get(word, []) for word in words if weight_of_word(word)]
        return min(lists, key=len, default=[])


def evidence_of(explanation: Explanation) -> EvidenceGraph:
    """The evidence graph of an explanation; deterministic for the same set of events."""
    return evidenced(explanation).graph


def evidenced(explanation: Explanation) -> Evidenced:
    """The same with the index, for those who also want groundings."""
    builder = _Builder(explanation)
    builder.read()
    return Evidenced(explanation, builder.graph(), builder.index, builder.kin, builder.step_of)


class _Builder:
    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.index = SourceIndex()
        self.edges = EdgeDrafts()
        self.kin = _kin(explanation)
        self.step_of = steps_by_position(explanation)
        names = {step.name for step in explanation.steps if step.kind in _CALLS}
        names.update(step.model for step in explanation.steps if step.kind is StepKind.MODEL)
        self._repeats = Repeats(self.index, self.edges, self.kin, common_keys(explanation.record.rows, names))
        self._wholes = WholeTexts()
        self._prompts = PromptReader(self.index, self.edges, self._wholes)
        #: Step -> keys that its START was given and that others had brought in; None where the START tells no arguments.
        self._given: dict[int, set[str] | None] = {}
        #: Id -> the event that carries it, its field, and what it is the id of.
        self._citable: dict[str, tuple[int, str, str]] = {}
        self._children: defaultdict[int, list[int]] = defaultdict(list)
        for step in explanation.steps:
            if step.within is not None:
                self._children[step.within].append(step.number)

    def graph(self) -> EvidenceGraph:
        """The finished graph."""
        return EvidenceGraph.of(self.edges.frozen(), self._prompts.repeated, complete=self.index.complete)

    def read(self) -> None:
        """Explicit edges, then all texts in order, then order itself where nothing better was found."""
        add_explicit(self.explanation, ModelCalls(self.explanation), self.edges)
        for row in self.explanation.record.rows:
            self._read(row)
        add_order(self.explanation, self.edges)

    def _read(self, row: EventRow) -> None:
        number = self.step_of[row.position]
        step = self.explanation.steps[number]
        group = self.kin[step.run]
        for passage in instructions_of(row):
            self._wholes.add_text(group, passage.text, row.position, passage.field)
        if not row.content and row.kind is not StepKind.RETRY:
            return
        if row.content in {"policy", "data_access"}:
            self._make_citable(row)
        if row.content == "policy" and row.event.policy.policy_id:
            # The id names the decision: it grounds a text that cites it, and is the origin of no content.
            named = Passage("policy.policy_id", row.event.policy.policy_id, PassageRole.NAMED, leaf=True)
            self.index.add(row.position, step.run, number, named, self.index.pieces_of(named.text), silent=True)
        if row.kind is StepKind.MODEL and row.edge is Edge.START and row.content == "llm_invocation":
            self._prompts.read(row, step.run, group, number)
            return
        readings: list[Reading] = [(passage, self.index.pieces_of(passage.text)) for passage in passages_of(row)]
        if not readings:
            return
        copied = row.kind in _REPEATING and self._copy(row, step.run, readings)
        if not (copied and row.kind in _TOLD):
            self._look(row, step.run, number, readings)
        if self._citable:
            self._cite(row, readings)
        self._remember(row, step.run, number, group, readings, copied=copied)

    def _look(self, row: EventRow, run: int, number: int, readings: list[Reading]) -> None:
        """Add content edges. What comes from outside has causes in the record only inside a call: an agent wrote it there."""
        if row.kind in _CALLS and row.edge is Edge.END:
            inner = self._inner_steps(number)
            if inner:
                self._repeats.look(row, run, number, readings, inner)
                self._returned(row, inner)
        elif row.kind is not StepKind.INPUT or self._inside_call(number):
            self._repeats.look(row, run, number, readings)

    def _inside_call(self, number: int) -> bool:
        """Whether a step stands inside a tool call."""
        within = self.explanation.steps[number].within
        while within is not None:
            step = self.explanation.steps[within]
            if step.kind in _CALLS:
                return True
            within = step.within
        return False

    def _inner_steps(self, number: int) -> frozenset[int]:
        """The steps directly or indirectly inside a call."""
        found: list[int] = []
        waiting = [number]
        while waiting:
            for child in self._children.get(waiting.pop(), ()):
                found.append(child)
                waiting.append(child)
        return frozenset(found)

    def _returned(self, row: EventRow, inner: frozenset[int]) -> None:
        """What a tool returned and an agent inside it put out, word for word, however short."""
        text = output_text(row).strip()
        for number in sorted(inner):
            step = self.explanation.steps[number]
            if step.kind is StepKind.OUTPUT and step.within == self.step_of[row.position]:
                said = self.explanation.event(step.first).message.text
                whole = step.nested_by is Nesting.CONTENT or said.strip() == text
                start = said.find(text) if text and whole else -1
                if start >= 0 and step.first < row.position:
                    cause = Place(step.first, "message.text", start, start + len(text))
                    basis = Basis("text", text[:_QUOTE_MAX], cause, Place(row.position, row.content))
                    self.edges.add(EvidenceType.CONTENT, basis)

    def _copy(self, row: EventRow, run: int, readings: Iterable[Reading]) -> bool:
        """An output that is, as a whole, what the model answered, and an error that is the failed step's: short ones too."""
        copied = False
        for passage, _ in readings:
            whole = self._wholes.text(~run, passage.text)
            if whole is not None and self.step_of[whole.position] != self.step_of[row.position]:
                cause, effect = Place(whole.position, whole.field), passage.place(row.position, 0, len(passage.text))
                self.edges.add(EvidenceType.CONTENT, Basis("text", passage.text[:_QUOTE_MAX], cause, effect))
                copied = True
        return copied

    def _cite(self, row: EventRow, readings: Iterable[Reading]) -> None:
        """A later text that cites the id of a policy that has decided, or of a document that reads like a word."""
        for cited_id, (position, field, by) in self._citable.items():
            if position == row.position or self.explanation.record.rows[position].kind is row.kind:
                continue
            for passage, _ in readings:
                start = _find_id(passage.text, cited_id)
                if start >= 0:
                    effect = passage.place(row.position, start, start + len(cited_id))
                    self.edges.add(EvidenceType.EXPLICIT, Basis(by, cited_id, Place(position, field), effect))

    def _make_citable(self, row: EventRow) -> None:
        """Ids of policies, and ids of documents and chunks that are no values by themselves; the latest event of each counts."""
        if row.content == "policy":
            named = [(row.event.policy.policy_id, "policy.policy_id", "policy_id")]
        else:
            named = [
                (passage.text, passage.field, "document_id")
                for passage in passages_of(row)
                if not any(value.start == 0 and value.end == len(passage.text) for value in values_of(passage.text))
            ]
        for cited_id, field, by in named:
            if len(cited_id) >= _CITED_CHARS_MIN and (by == "policy_id" or not cited_id.isalpha()):
                self._citable.pop(cited_id, None)
                self._citable[cited_id] = (row.position, field, by)
                if len(self._citable) > _CITABLE_MAX:
                    del self._citable[next(iter(self._citable))]

    def _remember(self, row: EventRow, run: int, number: int, group: int, readings: list[Reading], *, copied: bool) -> None:
        """Make an event's texts part of what later ones are compared with."""
        position = row.position
        if row.kind is StepKind.OUTPUT and row.event.is_partial:
            return  # the whole follows
        is_call = row.kind in _CALLS
        if is_call and row.edge is Edge.START:
            self._given[number] = {
                value.key for _, pieces in readings for value in pieces.values if self.index.has_origin(value.key)
            }
        echoed = self._echoed(row, number, readings)
        for passage, pieces in readings:
            silent = passage.role is PassageRole.ASKED or (copied and row.kind in _TOLD)
            without = self.index.known_words(pieces, passage.role) if not silent else ()
            own: AbstractSet[str] = frozenset() if passage.role is PassageRole.NAMED else echoed
            self.index.add(position, run, number, passage, pieces, echoed=own, without=without, silent=silent)
            if not copied and passage.role in {PassageRole.GIVEN, PassageRole.MADE}:
                self._wholes.add_text(group, passage.text, position, passage.field)
                if not passage.leaf or row.kind is StepKind.MODEL:
                    self._wholes.add_text(~run, passage.text, position, passage.field)
        if is_call and row.edge is Edge.END:
            self._remember_result(row, group, readings)

    def _remember_result(self, row: EventRow, group: int, readings: list[Reading]) -> None:
        signature = tuple(sorted(passage.text for passage, _ in readings if passage.leaf))
        self._wholes.add_result(group, signature, row.position, row.content)
        if row.content == "tool_response":
            call_id = row.event.tool_response.tool_call_id
            self._wholes.add_result_id(group, call_id, row.position, "tool_response.tool_call_id")

    def _echoed(self, row: EventRow, number: int, readings: Iterable[Reading]) -> set[str]:
        """The values of an event that it did not bring in itself."""
        if row.kind is StepKind.INPUT:
            return set()
        if row.kind in _CALLS and row.edge is Edge.END and number in self._given:
            return self._given[number] or set()
        return {value.key for _, pieces in readings for value in pieces.values if self.index.has_origin(value.key)}


def _find_id(text: str, cited_id: str) -> int:
    """Where an id stands in a text as a whole and not as a part of a longer one; -1 for nowhere."""
    start = text.find(cited_id)
    while start >= 0:
        end = start + len(cited_id)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
            return start
        start = text.find(cited_id, start + 1)
    return -1


def _kin(explanation: Explanation) -> list[int]:
    """Run -> the smallest number of a run that a chain of shared sessions or traces leads to."""
    parents = list(range(len(explanation.runs)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    first: dict[str, int] = {}
    for run in explanation.runs:
        for name in (*(f"s{session}" for session in run.sessions), *(f"t{trace}" for trace in run.traces)):
            one, other = root(first.setdefault(name, run.number)), root(run.number)
            parents[max(one, other)] = min(one, other)
    return [root(number) for number in range(len(parents))]
