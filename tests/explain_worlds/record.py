"""Writes the events of a world, and beside them what is true of them.

The truth follows from who was given what, never from comparing texts: the writer is told which facts a text is made of, and each
fact knows the event that brought it into the record.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format

from chaukas.spec.common.v1 import events_pb2
from chaukas.spec.common.v1.events_pb2 import Event

from .facts import Fact, Sentence, facts_in, plain

__all__ = ["CONTENT", "EXPLICIT", "EventRecord", "Truth"]

EXPLICIT, CONTENT = "explicit", "content"
_BEGAN_NS = 1_790_000_000 * 1_000_000_000
_US = 1_000

#: (cause, effect, kind) by event ids.
Edge = tuple[str, str, str]


@dataclass
class Truth:
    """What is true of a world's events.

    `edges` must be found, and at least one of each set of `either`. `open_edges` may be found or not: what the record says
    twice over, or what one side leaves open. `rivals` are content edges from a second source of the same value: they may be
    claimed only as ambiguous. Everything else of type explicit or content must not be claimed. `sentences` and `arguments` are
    by event id; an argument stands with whether a source has it.
    """

    edges: set[Edge] = field(default_factory=set)
    either: list[frozenset[Edge]] = field(default_factory=list)
    open_edges: set[Edge] = field(default_factory=set)
    rivals: set[Edge] = field(default_factory=set)
    sentences: dict[str, list[Sentence]] = field(default_factory=dict)
    arguments: dict[str, list[tuple[Fact, bool]]] = field(default_factory=dict)


class EventRecord:
    """Events in order of time. What facts a text holds is told by its role:

    - `given`: it came from outside; facts that no event has said begin here, those that were said before are echoes;
    - `made`: the agent or model wrote it; facts that were said before have their cause there, others begin here;
    - `asked`, `part`: arguments, and pieces of a text that follows as a whole; they have causes, and nothing begins here;
    - `silent`: nothing follows from it (prompts, whose edges are of another kind).
    """

    def __init__(self, seed: int, session: str) -> None:
        self._rng = random.Random(f"record {seed}")
        self.events: list[Event] = []
        self.truth = Truth()
        self.session, self.trace = session, self.new_id()
        self._now_ns = _BEGAN_NS + seed * 1_000_000_000
        self._first: dict[str, str] = {}
        self._scattered = 0

    def new_id(self) -> str:
        """A UUID that depends on the seed only."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def wait(self, ms: float) -> None:
        """Let time pass."""
        self._now_ns += int(ms * 1_000) * _US

    def emit(
        self,
        kind: str,
        role: str = "silent",
        *,
        span: str = "",
        parent: str = "",
        agent: str = "",
        inner: bool = False,
        scattered: bool = False,
        echoes: Sequence[Fact] = (),
        **fields: Any,
    ) -> str:
        """Write one event and return its id. `echoes` are facts that a result only repeats; `inner` results have inner causes."""
        self.wait(self._rng.randrange(1, 40) / 7)
        event_id = self.new_id()
        span = span or self.new_id()
        started = kind.endswith("_START")
        status = "EVENT_STATUS_STARTED" if started else "EVENT_STATUS_COMPLETED"
        content = plain(fields)
        event = Event(
            event_id=event_id,
            tenant_id="acme",
            project_id="worlds",
            session_id=self.new_id() if scattered else self.session,
            trace_id=self.new_id() if scattered else self.trace,
            span_id=span,
            parent_span_id=parent,
            type=getattr(events_pb2, f"EVENT_TYPE_{kind}"),
            severity=events_pb2.SEVERITY_ERROR if kind in {"ERROR", "RETRY"} else events_pb2.SEVERITY_INFO,
            agent_id=agent,
            agent_name=agent,
        )
        event.timestamp.FromNanoseconds(self._now_ns)
        json_format.ParseDict({"status": status, **content}, event)
        self.events.append(event)
        self._tie(event_id, kind, span, parent)
        self._say(event_id, role, facts_in(fields), echoes, inner=inner)
        return event_id

    def _tie(self, event_id: str, kind: str, span: str, parent: str) -> None:
        """What spans say: a START leads to its END, a parent to what it holds."""
        if kind.endswith("_END") and span in self._first:
            self.edge(self._first[span], event_id, EXPLICIT)
            return
        if parent in self._first:
            self.edge(self._first[parent], event_id, EXPLICIT)
        self._first.setdefault(span, event_id)

    def _say(self, event_id: str, role: str, facts: list[Fact], echoes: Sequence[Fact], *, inner: bool) -> None:
        for fact in facts:
            if fact.cited:
                (self.may if role in {"input", "given"} else self.edge)(fact.cited, event_id, EXPLICIT)
            if role == "input":
                fact.origins.insert(0, event_id)
            elif any(fact is echo for echo in echoes):
                continue
            elif role == "given":
                if inner and fact.known:
                    self.edge(fact.origins[0], event_id, CONTENT)
                fact.origins.insert(0 if inner else len(fact.origins), event_id)
            elif role in {"made", "asked", "part"} and fact.known:
                self._caused(event_id, fact)
            elif role == "made":
                fact.origins.append(event_id)

    def _caused(self, event_id: str, fact: Fact) -> None:
        first, *others = ((origin, event_id, CONTENT) for origin in fact.origins)
        if fact.soft:
            self.truth.either.append(frozenset((first, *others)))
        else:
            self.truth.edges.add(first)
            self.truth.rivals.update(others)

    def edge(self, cause: str, effect: str, kind: str) -> None:
        """An edge that must be found."""
        self.truth.edges.add((cause, effect, kind))

    def may(self, cause: str, effect: str, kind: str) -> None:
        """An edge that may be found."""
        self.truth.open_edges.add((cause, effect, kind))
