"""All sessions of the demonstration, and when each of them begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chaukas.server.demo.event_writer import TENANT
from chaukas.server.demo.scenes import coding, insurance, research, support, travel, tutoring
from chaukas.server.demo.script import Script
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["BEGAN_BEFORE_S", "DEMO_TENANT", "DemoSession", "demo_sessions"]

#: The tenant of all events of the demonstration: no other tenant's record is touched.
DEMO_TENANT: Final = TENANT
_SECOND_NS: Final = 1_000_000_000
#: What happens, and how many seconds before the given moment it begins; some run at the same time.
_SCENES: Final[tuple[tuple[int, str, Callable[[int], Script]], ...]] = (
    (57_600, "a nightly report with a missing region", insurance.nightly_report),
    (28_800, "a lesson of sixteen turns", tutoring.fractions_lesson),
    (27_000, "research with three documents, one set aside", research.heat_pumps),
    (21_600, "a bug fix through MCP servers", coding.bug_fix),
    (18_000, "a journey booked by two agents", travel.trip_to_lisbon),
    (14_400, "an insurance claim in German with personal data", insurance.water_damage),
    (10_800, "a migration that was killed", coding.killed_migration),
    (7_200, "a notice translated into four languages", research.translation),
    (3_600, "a double charge, handed off to billing", support.double_charge),
    (1_200, "an answer in Japanese, streamed", support.streamed_answer),
    (600, "a refund that a policy denied", support.refund_denied),
)
#: The first event is this many seconds before the moment; the last one is before the moment, too.
BEGAN_BEFORE_S: Final = max(seconds for seconds, _, _ in _SCENES)


@dataclass(frozen=True, slots=True)
class DemoSession:
    """One session: what it is about, whose integration recorded it, and its events in the order in which they were sent."""

    title: str
    framework: str
    project_id: str
    session_id: str
    events: Sequence[Event]


def demo_sessions(at_ns: int) -> list[DemoSession]:
    """All sessions of the day before `at_ns` (nanoseconds since 1970), the oldest first."""
    sessions = []
    for before_s, title, scene in _SCENES:
        run = scene(at_ns - before_s * _SECOND_NS)
        sessions.append(DemoSession(title, run.style.title, run.events[0].project_id, run.session_id, run.events))
    return sessions
