"""Content edges: which earlier event a text has its values and words from.

An event is the *origin* of a value or of words when they came into the record with it: an input, a document, a tool's result that
does not merely repeat the call's arguments, a model's or agent's text where it says something that nothing before it said. What
repeats is an effect, and no origin again. Arguments of a call have causes and are nobody's cause: what they brought about,
the result shows.

Origins are sought in the run of the effect first, then in the runs of the same session, then elsewhere; only the nearest of these
rooms that has one counts. More than three origins in it are boilerplate, two or three are all named and called ambiguous.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chaukas.server.explain.evidence import Basis, EdgeDrafts, EvidenceType
from chaukas.server.explain.matching import Pieces, SourceIndex, WordMatch
from chaukas.server.explain.model import EventRow, StepKind
from chaukas.server.explain.sources import Passage, PassageRole
from chaukas.server.explain.spelling import Value, sentence_spans, values_of, weight_of, word_spans

__all__ = ["Reading", "Repeats", "common_keys"]

_ORIGINS_MAX = 3
_PROSE_WEIGHT_MIN = 4.0
_PROSE_WORDS_MIN = 5
_SENTENCE_WEIGHT_MIN = 2.5
_ENOUGH = 0.999
_QUOTE_MAX = 400
_NAME_CHARS_MIN = 4
_BESIDE_WEIGHT_MIN = 1.0

#: An event's passage, taken apart.
Reading = tuple[Passage, Pieces]


@dataclass(frozen=True, slots=True)
class _Hit:
    """One thing that a text has in common with one source."""

    basis: Basis
    kind: EvidenceType
    key: object


def _is_sentence(text: str, start: int, end: int) -> bool:
    """Whether a range holds a whole sentence or the whole text, but for punctuation."""
    starts: set[int] = set()
    ends: set[int] = set()
    for first, last in sentence_spans(text):
        spans = word_spans(text[first:last])
        if spans:
            starts.add(first + spans[0][0])
            ends.add(first + spans[-1][1])
    return start in starts and end in ends


class Repeats:
    """Finds content edges while the record is read in its order."""

    def __init__(self, index: SourceIndex, edges: EdgeDrafts, kin: Sequence[int], common: frozenset[str]) -> None:
        self._index = index
        self._edges = edges
        #: Run -> the group of runs that share a session or trace.
        self._kin = kin
        #: Keys that stand everywhere: names of agents, tools and models.
        self._common = common

    def look(
        self, row: EventRow, run: int, step: int, readings: Iterable[Reading], allowed: frozenset[int] | None = None
    ) -> None:
        """Add the content edges that end at an event. `allowed` are the steps whose texts may be causes; None means any."""
        hits: defaultdict[int, list[_Hit]] = defaultdict(list)
        for passage, pieces in readings:
            self._values(hits, row, run, step, passage, pieces.values, allowed)
            if pieces.shingles:
                self._prose(hits, row, run, step, passage, pieces, allowed)
        for found in hits.values():
            weights: dict[object, float] = {}
            for hit in found:
                weights[hit.key] = max(hit.basis.weight, weights.get(hit.key, 0.0))
            if sum(weights.values()) >= _ENOUGH:
                for hit in found:
                    self._edges.add(hit.kind, hit.basis)

    def _nearest(self, numbers: Iterable[int], run: int, step: int, position: int, allowed: frozenset[int] | None) -> list[int]:
        """The sources of the nearest room, one for each event; none when there are too many."""
        rooms: tuple[dict[int, int], ...] = ({}, {}, {})
        sources, kin = self._index.sources, self._kin
        for number in numbers:
            other_step, other = sources.step[number], sources.position[number]
            if other_step == step or other >= position or (allowed is not None and other_step not in allowed):
                continue
            other_run = sources.run[number]
            near = 0 if other_run == run else 1 if kin[other_run] == kin[run] else 2
            rooms[near].setdefault(other, number)
        for room in rooms:
            if room:
                return list(room.values()) if len(room) <= _ORIGINS_MAX else []
        return []

    def _values(
        self,
        hits: defaultdict[int, list[_Hit]],
        row: EventRow,
        run: int,
        step: int,
        passage: Passage,
        values: Sequence[Value],
        allowed: frozenset[int] | None,
    ) -> None:
        for value in values:
            if value.key in self._common or not self._index.has_origin(value.key):
                continue
            numbers = self._index.origins(value.key)
            cited = passage.role is PassageRole.NAMED
            roles = self._index.sources.role
            named = [number for number in numbers if cited or roles[number] is PassageRole.NAMED]
            others = [number for number in numbers if not cited and roles[number] is not PassageRole.NAMED]
            effect = passage.place(row.position, value.start, value.end)
            what = passage.text[value.start : value.end]
            weight = _leaf_weight(value, passage)
            for kind, by, group in (
                (EvidenceType.CONTENT, value.kind, others),
                (EvidenceType.EXPLICIT, "document_id", named),
            ):
                nearest = self._nearest(group, run, step, row.position, allowed) if group else []
                for number in nearest:
                    cause = self._index.sources.place(number, *self._index.value_span(number, value.key))
                    proof = 1.0 if kind is EvidenceType.EXPLICIT else weight
                    basis = Basis(by, what, cause, effect, proof, len(nearest) - 1)
                    at = cause.position
                    hits[at if kind is EvidenceType.CONTENT else ~at].append(_Hit(basis, kind, value.key))

    def _prose(
        self,
        hits: defaultdict[int, list[_Hit]],
        row: EventRow,
        run: int,
        step: int,
        passage: Passage,
        pieces: Pieces,
        allowed: frozenset[int] | None,
    ) -> None:
        text = passage.text
        groups = self._groups(pieces, run)
        if not groups:
            return
        spans = word_spans(text)
        #: Word -> the longest match that was taken and holds it; beside it the same without what agents said, for what came
        #: from outside: that an agent's text is repeated with a source's words in it does not hide the source.
        holders = {True: [0] * len(spans), False: [0] * len(spans)}
        for taken, (start, end) in enumerate(sorted(groups, key=lambda span: (span[0] - span[1], span[0])), 1):
            group = [
                match
                for match in groups[start, end]
                if not (held := holders[self._made(match)])[start] or held[start] != held[end - 1]
            ]
            if not group:
                continue
            nearest = self._nearest((match.source for match in group), run, step, row.position, allowed)
            chosen = set(nearest)
            first, last = spans[start][0], spans[end - 1][1]
            whole = passage.leaf and end - start == len(pieces.words)
            weight = weight_of(pieces.words[start:end])
            matches = [
                match
                for match in group
                if match.source in chosen and self._proves(match, weight, text, (first, last), whole=whole)
            ]
            if not matches or _weight_beside_values(pieces, spans, start, end) < _BESIDE_WEIGHT_MIN:
                continue  # the words of ids and names count as values
            for held in (holders[True],) if all(map(self._made, matches)) else holders.values():
                for place in range(start, end):
                    held[place] = held[place] or taken
            effect = passage.place(row.position, first, last)
            what = text[first:last][:_QUOTE_MAX]
            for match in matches:
                cause = self._index.sources.place(match.source, *self._index.source_span(match))
                basis = Basis("quote", what, cause, effect, weight, len(matches) - 1)
                hits[cause.position].append(_Hit(basis, EvidenceType.CONTENT, (start, end)))

    def _groups(self, pieces: Pieces, run: int) -> dict[tuple[int, int], list[WordMatch]]:
        """The word matches of a text that prove anything, by the words that they cover."""
        groups: defaultdict[tuple[int, int], list[WordMatch]] = defaultdict(list)
        runs = self._index.sources.run
        for match in self._index.word_matches(pieces):
            # An agent that says the same in every answer does not quote itself.
            if runs[match.source] == run or not self._made(match):
                groups[match.start, match.end].append(match)
        return {
            span: matches for span, matches in groups.items() if weight_of(pieces.words[slice(*span)]) >= _SENTENCE_WEIGHT_MIN
        }

    def _proves(self, match: WordMatch, weight: float, text: str, span: tuple[int, int], *, whole: bool) -> bool:
        """Whether words in a row are a copy: enough telling words, or fewer when they are a whole sentence or value."""
        if weight >= _PROSE_WEIGHT_MIN and match.end - match.start >= _PROSE_WORDS_MIN:
            return True
        if not (whole or _is_sentence(text, *span)):
            return False
        return _is_sentence(self._index.sources.text[match.source], *self._index.source_span(match))

    def _made(self, match: WordMatch) -> bool:
        return self._index.sources.role[match.source] is PassageRole.MADE


def _weight_beside_values(pieces: Pieces, spans: Sequence[tuple[int, int]], start: int, end: int) -> float:
    """What the words `start`..`end` of a text prove that are no part of a value."""
    first, last = spans[start][0], spans[end - 1][1]
    values = [value for value in pieces.values if first < value.end and value.start < last]
    beside = {
        pieces.words[place]
        for place in range(start, end)
        if not any(value.start <= spans[place][0] and spans[place][1] <= value.end for value in values)
    }
    return weight_of(beside)


def _leaf_weight(value: Value, passage: Passage) -> float:
    """A name that is the whole value of a field proves more than a word with a capital in prose."""
    whole = passage.leaf and passage.role is PassageRole.ASKED and value.end - value.start == len(passage.text)
    return 1.0 if whole and value.kind == "name" and len(passage.text) >= _NAME_CHARS_MIN else value.weight


def common_keys(rows: Iterable[EventRow], names: Iterable[str]) -> frozenset[str]:
    """The keys of names that stand everywhere: of agents, tools, models and whoever handed over."""
    known = set(names)
    for row in rows:
        known.update((row.agent_id, row.agent_name))
        if row.kind is StepKind.HANDOFF and row.content == "agent_handoff":
            handoff = row.event.agent_handoff
            known.update((handoff.to_agent_id, handoff.to_agent_name, handoff.from_agent_name))
    return frozenset(value.key for name in known if name for value in values_of(name))
