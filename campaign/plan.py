"""How much a campaign does: the whole one, and the quick one for a glance."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts and durations; `README.md` says what they mean for each part."""

    name: str
    #: A part that takes longer than this is ended.
    part_s_max: int
    kills: int
    #: Longest time from the first acknowledgement of a round to its kill.
    kill_window_s: float
    #: On a slow machine the kills end after this time, however many there were.
    kills_s_max: float
    #: Everything is read back after so many kills, not only what the last round sent.
    kills_per_reading: int
    disk_rounds: int
    clock_rounds: int
    fsync_rounds: int
    soak_minutes: float
    #: The part of the soak during which caches fill, and which is not judged.
    soak_warm_up_minutes: float
    soak_events_per_s: float
    abuse_connections: int
    abuse_s: float
    fuzz_inputs: int
    fuzz_http_inputs: int
    #: Seconds of coverage-guided fuzzing for each target.
    fuzz_guided_s: int
    schemathesis_examples: int
    schemathesis_max_s: int


FULL = Plan(
    name="full",
    part_s_max=1_500,
    kills=200,
    kill_window_s=0.7,
    kills_s_max=1_200,
    kills_per_reading=25,
    disk_rounds=8,
    clock_rounds=10,
    fsync_rounds=8,
    soak_minutes=10,
    soak_warm_up_minutes=3,
    soak_events_per_s=600,
    abuse_connections=2_000,
    abuse_s=30,
    fuzz_inputs=1_000_000,
    fuzz_http_inputs=40_000,
    fuzz_guided_s=20,
    schemathesis_examples=150,
    schemathesis_max_s=240,
)

QUICK = Plan(
    name="quick",
    part_s_max=600,
    kills=10,
    kill_window_s=0.5,
    kills_s_max=120,
    kills_per_reading=5,
    disk_rounds=2,
    clock_rounds=2,
    fsync_rounds=2,
    soak_minutes=1,
    soak_warm_up_minutes=0.4,
    soak_events_per_s=600,
    abuse_connections=300,
    abuse_s=5,
    fuzz_inputs=40_000,
    fuzz_http_inputs=2_000,
    fuzz_guided_s=2,
    schemathesis_examples=10,
    schemathesis_max_s=60,
)
