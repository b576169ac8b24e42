"""Times in JSON: RFC 3339 text, and an own form for what RFC 3339 can not say.

A `google.protobuf.Timestamp` may hold any 64-bit number of seconds and any 32-bit number of nanoseconds, while RFC 3339
ends with the years 0000 and 9999. Such a value stands as `{"seconds": …, "nanos": …}` and is read back the same.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from chaukas.server.wire.json_number import INT32, INT64, integer_from_json
from chaukas.server.wire.json_problem import JsonMismatch, describe, shorten

__all__ = ["fill_time", "time_to_json"]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - without a zone it prints without one; everything here is UTC
#: 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range of google.protobuf.Timestamp.
_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799
# RFC 3339 §5.6, which lets T and Z be small and a space stand for T. The zone may be missing: SDKs in file mode write UTC so.
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))?",
    re.ASCII,
)


def time_to_json(time: Timestamp) -> object:
    """RFC 3339 in UTC with 0, 3, 6 or 9 decimals, as protobuf's JSON has it; outside its range `{"seconds", "nanos"}`."""
    seconds, nanos = time.seconds, time.nanos
    if not (_SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos <= 999_999_999):
        return {"seconds": seconds, "nanos": nanos}
    whole = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    if not nanos:
        return f"{whole}Z"
    if nanos % 1_000:
        return f"{whole}.{nanos:09d}Z"
    if nanos % 1_000_000:
        return f"{whole}.{nanos // 1_000:06d}Z"
    return f"{whole}.{nanos // 1_000_000:03d}Z"


def fill_time(time: Timestamp, value: object, level: int = 0) -> None:  # noqa: ARG001 - the signature of every filler
    """Set `time` from RFC 3339 text (without a zone: UTC) or from `{"seconds", "nanos"}`.

    Raises `JsonMismatch` for anything else; nothing is rounded, and no date that does not exist is bent to one that does.
    """
    if isinstance(value, str):
        time.seconds, time.nanos = _instant(value)
    elif isinstance(value, dict):
        time.seconds, time.nanos = _seconds_and_nanos(value)
    else:
        raise JsonMismatch(f"expected a time as RFC 3339 text, got {describe(value)}")


def _instant(text: str) -> tuple[int, int]:
    parts = _RFC3339.fullmatch(text)
    if parts is None:
        raise JsonMismatch(f"expected an RFC 3339 time such as 2026-11-22T11:43:40.839041Z, got {shorten(text)}")
    year, month, day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = parts.groups()
    offset_s = 0
    if sign:
        if int(zone_hours) > 23 or int(zone_minutes) > 59:
            raise JsonMismatch(f"{shorten(text)} has no possible distance from UTC")
        offset_s = (int(zone_hours) * 60 + int(zone_minutes)) * (60 if sign == "+" else -60)
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        # Includes second 60: a leap second has no place on the scale of a Timestamp.
        raise JsonMismatch(f"{shorten(text)} is not a time that exists in the years 1 to 9999") from None
    seconds = moment.toordinal() * 86_400 + moment.hour * 3_600 + moment.minute * 60 + moment.second - _EPOCH_ORDINAL_S - offset_s
    if not _SECONDS_MIN <= seconds <= _SECONDS_MAX:
        raise JsonMismatch(f"{shorten(text)} is, in UTC, outside the years 1 to 9999")
    return seconds, int(fraction.ljust(9, "0")) if fraction else 0


_EPOCH_ORDINAL_S = _EPOCH.toordinal() * 86_400


def _seconds_and_nanos(value: dict[str, object]) -> tuple[int, int]:
    if unknown := [key for key in value if key not in ("seconds", "nanos")]:
        raise JsonMismatch(found=JsonMismatch("unknown key; a time has seconds and nanos").under(unknown[0]))
    return integer_from_json(value.get("seconds", 0), INT64), integer_from_json(value.get("nanos", 0), INT32)
