"""The events of one run as they are written down: whose they are, when they happened, and which id they get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chaukas.server.demo.ids import hex_id, time_ordered_uuid
from chaukas.server.demo.style import Style
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["TENANT", "EventWriter"]

#: Whose events these are.
TENANT: Final = "demo"
_MS_NS: Final = 1_000_000


class EventWriter:
    """Writes events one after the other; `events` holds them in the order in which the client sent them."""

    def __init__(
        self, name: str, style: Style, began_ns: int, *, project: str, session_id: str, tags: Sequence[str], branch: str
    ) -> None:
        self.events: list[Event] = []
        #: Nanoseconds since 1970, always whole microseconds as the clients' clocks have them.
        self.now_ns = began_ns // 1000 * 1000
        self._name = name
        self._style = style
        self._project = project
        self._tags = tuple(tags)
        self._branch = branch
        self._made = 0
        self._trace = self.make_id("trace", 32)
        self.session_id = session_id or self.make_id("session", 32)
        self.session_span = self.make_id("span", 16)
        #: The spans that are open around what happens now, and the agents at work; the innermost is the last.
        self.parents = [self.session_span]
        self.agents: list[str] = []

    def wait(self, ms: float) -> None:
        """Time passes, with the unevenness of real clocks: up to 6 % and some microseconds more."""
        unevenness = int(hex_id(4, self._name, self._made, ms), 16)
        self.now_ns += int(ms * _MS_NS * (1 + unevenness / 0xFFFF * 0.06)) // 1000 * 1000 + unevenness % 97 * 1000

    def make_id(self, kind: str, digits: int) -> str:
        """A new id: as many hexadecimal digits where the style has such ids, a UUID elsewhere."""
        self._made += 1
        parts = (self._name, self._project, kind, self._made)
        return hex_id(digits, self.now_ns, *parts) if self._style.hex_ids else time_ordered_uuid(self.now_ns, *parts)

    def emit(
        self,
        kind: str,
        status: str = "COMPLETED",
        *,
        author: str = "SYSTEM",
        severity: str = "INFO",
        span: str | None = None,
        parent: str | None = None,
        agent: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **content: Any,  # noqa: ANN401  fields of an Event, each with a type of its own
    ) -> Event:
        """Write one event. Enums are named without their prefix; span, parent and agent are a new one and the innermost ones."""
        name = agent if agent is not None else self.agents[-1] if self.agents else ""
        event = Event(
            tenant_id=TENANT,
            project_id=self._project,
            session_id=self.session_id,
            trace_id=self._trace,
            span_id=span or self.make_id("span", 16),
            parent_span_id=self.parents[-1] if parent is None else parent,
            type=f"EVENT_TYPE_{kind}",
            status=f"EVENT_STATUS_{status}",
            severity=f"SEVERITY_{severity}",
            author=f"AUTHOR_{author}",
            agent_id=self._style.agent_id(name),
            agent_name=name,
            branch=self._branch,
            tags=self._tags,
            **content,
        )
        event.timestamp.FromNanoseconds(self.now_ns)
        if metadata:
            event.metadata.update(dict(metadata))
        self.seal(event)
        self.events.append(event)
        return event

    def seal(self, event: Event) -> None:
        """Give the event the id that follows from everything else in it."""
        event.event_id = ""
        event.event_id = time_ordered_uuid(event.timestamp.ToNanoseconds(), event.SerializeToString(deterministic=True))
