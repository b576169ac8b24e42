"""Events that are hidden in the workload, so that every filter has something rare to look for.

*rare*: one event in the middle that alone has its type, status, severity, tag, agent, span, session and trace.
*seldom*: twenty events of one session, trace and span, spread evenly from the first to the last commit, that alone have
their type, severity, tag and agent. It is the session of a long conversation, whose events never share a commit.
"""

from __future__ import annotations

from bench.encoding import length_delimited, struct_value, text, varint_field

__all__ = ["PlantPlan", "planted_events"]

SELDOM_EVENTS = 20


class PlantPlan:
    """Where the planted events lie, and what they are called."""

    rare_agent, rare_tag = "rare-agent", "rare"
    seldom_agent, seldom_tag = "seldom-agent", "seldom"
    #: EventType SYSTEM, EventStatus CANCELLED, Severity ERROR.
    rare_type, rare_status, rare_severity = 63, 5, 4
    #: EventType POLICY_DECISION, EventStatus FAILED, Severity WARN.
    seldom_type, seldom_status, seldom_severity = 60, 4, 3

    def __init__(self, sessions: int) -> None:
        self.rare_at = sessions // 2 if sessions else -1
        self.seldom_at = tuple((2 * k + 1) * sessions // (2 * SELDOM_EVENTS) for k in range(SELDOM_EVENTS)) if sessions else ()
        self._touched = frozenset((self.rare_at, *self.seldom_at)) if sessions else frozenset()

    @property
    def events(self) -> int:
        """How many events are planted."""
        return len(self.seldom_at) + (1 if self.rare_at >= 0 else 0)

    def touches(self, number: int) -> bool:
        """Whether something is planted behind this session."""
        return number in self._touched

    @staticmethod
    def identifier(kind: str, what: int, index: int = 0) -> str:
        """Ids of the planted: `kind` is "rare" or "seldom", `what` 1 session, 2 trace, 3 span, 4 event."""
        return f"{1 if kind == 'rare' else 2:08x}-0000-4000-8000-{what:04x}{index:08x}"


def planted_events(plan: PlantPlan, number: int, tenant: str, time_us: int) -> list[bytes]:
    """The serialised events to put behind session `number`, at a time in microseconds and with a tenant."""
    out = []
    if number == plan.rare_at:
        out.append(_event("rare", 0, tenant, time_us, (plan.rare_type, plan.rare_status, plan.rare_severity)))
    for index, at in enumerate(plan.seldom_at):
        if at == number:
            numbers = (plan.seldom_type, plan.seldom_status, plan.seldom_severity)
            out.append(_event("seldom", index, tenant, time_us, numbers))
    return out


def _event(kind: str, index: int, tenant: str, time_us: int, numbers: tuple[int, int, int]) -> bytes:
    event_type, status, severity = numbers
    agent, tag = f"{kind}-agent", kind
    second, fraction = divmod(time_us, 1_000_000)
    return b"".join(
        (
            text(1, PlantPlan.identifier(kind, 4, index)),
            text(2, tenant),
            text(3, "bench"),
            text(4, PlantPlan.identifier(kind, 1)),
            text(5, PlantPlan.identifier(kind, 3)),
            varint_field(7, event_type),
            varint_field(8, severity),
            varint_field(9, status),
            varint_field(10, 4),
            length_delimited(11, varint_field(1, second) + varint_field(2, fraction * 1_000)),
            text(12, agent),
            text(13, agent),
            text(22, tag),
            text(23, PlantPlan.identifier(kind, 2)),
            length_delimited(90, struct_value({"note": "planted", "number": index})),
        )
    )
