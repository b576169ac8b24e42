"""Times of the record for people: always UTC, and never a failure, whatever year a client wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["day_and_time", "iso_time", "time_of_day"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_S = 1_000_000_000
_LATEST_NS = 253_402_300_799 * _NS_PER_S
_EARLIEST_NS = -62_135_596_800 * _NS_PER_S


def _moment(time_ns: int) -> datetime:
    return _EPOCH + timedelta(seconds=max(_EARLIEST_NS, min(_LATEST_NS, time_ns)) // _NS_PER_S)


def day_and_time(time_ns: int) -> str:
    """`2026-11-22 11:43:37 UTC`."""
    return f"{_moment(time_ns).replace(tzinfo=None)} UTC"


def time_of_day(time_ns: int) -> str:
    """`11:43:37`."""
    return _moment(time_ns).strftime("%H:%M:%S")


def iso_time(time_ns: int) -> str:
    """RFC 3339 with as many digits as there are nanoseconds to tell: `2026-11-22T11:43:37.029037Z`."""
    seconds = _moment(time_ns).replace(tzinfo=None).isoformat()
    nanoseconds = f"{time_ns % _NS_PER_S:09d}".rstrip("0")
    return f"{seconds}.{nanoseconds}Z" if nanoseconds else f"{seconds}Z"
