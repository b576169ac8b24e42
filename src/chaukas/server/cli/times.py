"""The times that people type and the times that tables show."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from chaukas.server.cli.failure import CommandError

__all__ = ["parse_time", "shown_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_RELATIVE = re.compile(r"(?P<sign>[+-])(?P<parts>(?:\d{1,9}[smhdw])+)", re.ASCII)
_PART = re.compile(r"(\d+)([smhdw])", re.ASCII)
_ABSOLUTE = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?P<clock>\d{2}:\d{2})(?P<seconds>:\d{2}(?:\.\d{1,9})?)?(?P<zone>[Zz]|[+-]\d{2}:\d{2})?)?",
    re.ASCII,
)


def parse_time(flag: str, text: str, now_ns: int) -> Timestamp:
    """The instant that `text` means, to the nanosecond.

    `text` is RFC 3339 (`2026-11-22T11:43:40.839041Z`; seconds, zone and the whole clock may be left out, which means :00,
    UTC and midnight), `now`, or relative to now in weeks, days, hours, minutes and seconds: `-1h`, `-1d12h`, `+30m`.
    `now_ns` is nanoseconds since 1970. Raises `CommandError` that names `flag`, the flag the text was given to.
    """
    value = text.strip()
    if value == "now":
        return _timestamp(now_ns)
    try:
        if relative := _RELATIVE.fullmatch(value):
            seconds = sum(int(number) * _UNIT_S[unit] for number, unit in _PART.findall(relative["parts"]))
            return _timestamp(now_ns + (seconds if relative["sign"] == "+" else -seconds) * 1_000_000_000)
        if absolute := _ABSOLUTE.fullmatch(value):
            answer = Timestamp()
            clock = f"{absolute['clock'] or '00:00'}{absolute['seconds'] or ':00'}"
            answer.FromJsonString(f"{absolute['date']}T{clock}{(absolute['zone'] or 'Z').upper()}")
            return answer
    except ValueError as error:
        raise CommandError(f"{flag}: {text!r} is not a time that exists between the years 1 and 9999") from error
    raise CommandError(f"{flag}: {text!r} is not a time; write 2026-11-22T11:43:40Z, 2026-11-22, -1h, -1d12h or now")


def _timestamp(nanoseconds: int) -> Timestamp:
    answer = Timestamp()
    answer.FromNanoseconds(nanoseconds)
    answer.ToJsonString()  # Raises ValueError outside the years that a Timestamp may hold.
    return answer


def shown_time(value: Timestamp) -> str:
    """`2026-11-22 11:43:40.839` in UTC, always 23 characters; blank-free `-` for a time outside the years 1 to 9999."""
    try:
        instant = _EPOCH + timedelta(seconds=value.seconds, milliseconds=value.nanos // 1_000_000)
    except OverflowError:
        return "-"
    return f"{instant.year:04d}-{instant:%m-%d %H:%M:%S}.{instant.microsecond // 1000:03d}"
