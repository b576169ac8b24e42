"""What the evidence graph is made of: edges from cause to effect, each with what it rests on (DESIGN §7).

Nodes are positions of events. Between two events there is at most one edge of each type. The types, the strongest first:

- `explicit`: ids say so. A step's END belongs to its START, an event names its parent's span, a call carries the id that a model
  or a result carries, a handoff names the agents, a later text cites a document's, a chunk's or a policy's id.
- `content`: distinctive values, or words in a row, that the cause brought into the record stand in the effect as well.
- `context`: the cause's text is part of that model call's prompt. What the model made of it is not told.
- `time`: only the order says so; such an edge is given where nothing better is known, and never claims a cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Basis", "Evidence", "EvidenceGraph", "EvidenceType", "Place"]


class EvidenceType(StrEnum):
    """How an edge is known; ordered by strength."""

    EXPLICIT = "explicit"
    CONTENT = "content"
    CONTEXT = "context"
    TIME = "time"


class Place(NamedTuple):
    """Where something stands: an event, a field's path, and characters `start`..`end` (half-open) of that field's text.

    `start` and `end` are None where the whole field is meant. A number in a Struct is read as JSON prints it.
    """

    position: int
    field: str
    start: int | None = None
    end: int | None = None


class Basis(NamedTuple):
    """One piece of evidence: `what` (an id, a value, a quotation as it stands in the effect) and where both sides have it.

    `by` is one of `span`, `parent`, `id`, `tool_call_id`, `handoff`, `document_id`, `policy_id` (explicit); `number`, `id`,
    `name`, `quote`, `text` (the whole text), `arguments` (content); `text`, `values` (all of a result's), `prompt` (context);
    `order` (time). `alternatives` counts the other events that could be the cause as well.
    """

    by: str
    what: str
    cause: Place
    effect: Place
    weight: float = 1.0
    alternatives: int = 0


class Evidence(NamedTuple):
    """One edge: the event at `cause` led to the event at `effect`, as far as `bases` show. `ambiguous`: others fit as well."""

    type: EvidenceType
    cause: int
    effect: int
    bases: tuple[Basis, ...]

    @property
    def ambiguous(self) -> bool:
        """Whether other events fit as well, and what fits this one alone would be no proof by itself (a year, a small number)."""
        alone: dict[str, float] = {}
        for basis in self.bases:
            if not basis.alternatives:
                alone[basis.what] = max(basis.weight, alone.get(basis.what, 0.0))
        return any(basis.alternatives for basis in self.bases) and sum(alone.values()) < 1.0


_KINDS = tuple(EvidenceType)
_STRENGTH = {kind: place for place, kind in enumerate(_KINDS)}
_BASES_MAX = 16
_CAUSE_BITS, _STRENGTH_BITS = 40, 4


@dataclass(slots=True)
class EdgeDrafts:
    """Edges while they are collected; bases of the same pair and type come together, the first ones stay."""

    #: `effect << 44 | strength << 40 | cause` -> what the edge rests on; most edges have one basis, which stands there alone.
    _bases: dict[int, Basis | list[Basis]] = field(default_factory=dict)
    _causes: dict[int, set[int]] = field(default_factory=dict)

    def add(self, kind: EvidenceType, basis: Basis) -> None:
        """Add a basis to the edge between the events of its two places; an event is never its own cause."""
        cause, effect = basis.cause.position, basis.effect.position
        if cause == effect:
            return
        key = (effect << _STRENGTH_BITS | _STRENGTH[kind]) << _CAUSE_BITS | cause
        bases = self._bases.get(key)
        if bases is None:
            self._bases[key] = basis
        elif not isinstance(bases, list):
            if bases != basis:
                self._bases[key] = [bases, basis]
        elif len(bases) < _BASES_MAX and basis not in bases:
            bases.append(basis)
        if basis.by != "parent":
            self._causes.setdefault(effect, set()).add(cause)

    def causes_of(self, position: int) -> set[int]:
        """The causes of an event so far, without the step that it is recorded under."""
        return self._causes.get(position, set())

    def frozen(self) -> tuple[Evidence, ...]:
        """The edges by effect, strength and cause."""
        edges = []
        for key in sorted(self._bases):
            bases = self._bases[key]
            left = key >> _CAUSE_BITS
            kind, effect = _KINDS[left & (1 << _STRENGTH_BITS) - 1], left >> _STRENGTH_BITS
            cause = key & (1 << _CAUSE_BITS) - 1
            edges.append(Evidence(kind, cause, effect, tuple(bases) if isinstance(bases, list) else (bases,)))
        return tuple(edges)


@dataclass(frozen=True, slots=True)
class EvidenceGraph:
    """All edges of an explanation, by effect, then strength, then cause.

    `prompts` leads from a model call's START to the earlier START whose whole prompt its own repeats: context edges of
    the repeated part are kept there once, and `context_of` follows them. `complete` is False when the record was too large to
    index all of its prose (`matching.SHINGLES_MAX`): content edges may then be missing, never wrong.
    """

    edges: tuple[Evidence, ...]
    prompts: Mapping[int, int]
    complete: bool
    _into: Mapping[int, Sequence[Evidence]] = field(repr=False)
    _out_of: Mapping[int, Sequence[Evidence]] = field(repr=False)

    @classmethod
    def of(cls, edges: Iterable[Evidence], prompts: Mapping[int, int], *, complete: bool) -> EvidenceGraph:
        """A graph with its two directories."""
        listed = tuple(edges)
        into: dict[int, list[Evidence]] = {}
        out_of: dict[int, list[Evidence]] = {}
        for edge in listed:
            into.setdefault(edge.effect, []).append(edge)
            out_of.setdefault(edge.cause, []).append(edge)
        return cls(listed, prompts, complete, into, out_of)

    def causes_of(self, position: int) -> Sequence[Evidence]:
        """The edges that lead to an event, the strongest type first."""
        return self._into.get(position, ())

    def effects_of(self, position: int) -> Sequence[Evidence]:
        """The edges that start at an event, by effect."""
        return self._out_of.get(position, ())

    def context_of(self, position: int) -> Iterator[Evidence]:
        """Every context edge of a model call's prompt, those of the prompts that it repeats included, the newest first."""
        at: int | None = position
        while at is not None:
            before = self.prompts.get(at)
            for edge in self.causes_of(at):
                if edge.type is EvidenceType.CONTEXT and edge.cause != before:
                    yield edge
            at = before
