"""How much a run of the benchmark does: the full one, and the quick one for a glance."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "ROWS", "Plan", "with_needed"]

#: Every row, in the order in which it is measured.
ROWS = (
    "grpc-batch-1",
    "grpc-batch-4",
    "single-64",
    "http-20",
    "random-ids",
    "tenants-500",
    "bare-store",
    "growth",
    "growth-random",
    "million",
    "million-small",
    "text-ingest",
    "text-million",
    "log-cost",
    "log-million",
    "log-heads",
    "explain",
)

#: Rows that are stated as a ratio to another one of the same run.
_NEEDS = {"http-20": "grpc-batch-4", "random-ids": "grpc-batch-4", "tenants-500": "grpc-batch-4", "bare-store": "grpc-batch-4"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts are events; all are multiples of what a sender sends at once."""

    name: str
    runs: int
    batch_events: int
    single_events: int
    http_events: int
    #: The empty server is sent the same payloads several times: it does in a second what takes the other ten.
    limit_repeat: int
    store_events: int
    growth_small: int
    growth_large: int
    growth_window: int
    growth_windows: int
    million: int
    calls_per_question: int
    text_events: int
    log_window: int
    #: Sizes of a log at which it is asked for proofs; the largest is verified as well.
    log_sizes: tuple[int, ...]
    proofs_per_size: int
    heads_events: int
    explain_sizes: tuple[int, ...]


FULL = Plan(
    name="full",
    runs=3,
    batch_events=100_000,
    single_events=15_000,
    http_events=60_000,
    limit_repeat=5,
    store_events=100_000,
    growth_small=50_000,
    growth_large=2_000_000,
    growth_window=30_000,
    growth_windows=3,
    million=1_000_000,
    calls_per_question=60,
    text_events=200_000,
    log_window=60_000,
    log_sizes=(1_000, 10_000, 100_000, 1_000_000),
    proofs_per_size=200,
    heads_events=100_000,
    explain_sizes=(20, 200, 2_000, 20_000, 200_000),
)

QUICK = Plan(
    name="quick",
    runs=1,
    batch_events=40_000,
    single_events=6_000,
    http_events=20_000,
    limit_repeat=5,
    store_events=40_000,
    growth_small=20_000,
    growth_large=200_000,
    growth_window=20_000,
    growth_windows=2,
    million=100_000,
    calls_per_question=30,
    text_events=40_000,
    log_window=20_000,
    log_sizes=(1_000, 10_000, 100_000),
    proofs_per_size=60,
    heads_events=50_000,
    explain_sizes=(20, 2_000, 20_000),
)


def with_needed(rows: list[str]) -> list[str]:
    """The rows and those they are compared with, in the order of `ROWS`. Raises `ValueError` for an unknown one."""
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise ValueError(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    wanted = {*rows, *(_NEEDS[row] for row in rows if row in _NEEDS)}
    return [row for row in ROWS if row in wanted]
