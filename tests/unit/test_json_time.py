"""Times in JSON at the edges of RFC 3339."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chaukas.server.wire.json_problem import JsonMismatch
from chaukas.server.wire.json_time import fill_time, time_to_json


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-11-22T11:43:40Z", "2026-11-22T11:43:40Z"),
        ("2026-11-22t11:43:40z", "2026-11-22T11:43:40Z"),
        ("2026-11-22 11:43:40.5", "2026-11-22T11:43:40.500Z"),
        ("2026-11-22T11:43:40.839041", "2026-11-22T11:43:40.839041Z"),
        ("2026-11-22T11:43:40.123456789+05:30", "2026-11-22T06:13:40.123456789Z"),
        ("2024-02-29T23:59:59-00:01", "2024-03-01T00:00:59Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ("1969-12-31T23:59:59.000000001Z", "1969-12-31T23:59:59.000000001Z"),
    ],
)
def test_times_that_are_read(text: str, written: str) -> None:
    """RFC 3339, small letters and a space included; without a zone it is UTC; to the nanosecond."""
    time = Timestamp()
    fill_time(time, text)
    assert time_to_json(time) == written


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "2026-11-22",
        "2026-11-22T11:43Z",
        "20261122T114340Z",
        "2026-11-22T11:43:40.Z",
        "2026-11-22T11:43:40.1234567891Z",
        "2026-11-22T11:43:40,5Z",
        "2026-11-22T11:43:40Z ",
        "2026-11-22T11:43:40+5:00",
        "2026-11-22T11:43:40+24:00",
        "2026-11-22T11:43:40+00:60",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T11:43:60Z",
        "0000-12-31T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "\u0662026-11-22T11:43:40Z",
        1763811820,
        True,
        [],
        {"seconds": "x"},
        {"seconds": 1, "nano": 1},
        {"seconds": 2**63},
        {"nanos": 2**31},
    ],
)
def test_times_that_are_refused(value: object) -> None:
    """Nothing is rounded, guessed or bent: a wrong time of an event is worse than none."""
    with pytest.raises(JsonMismatch):
        fill_time(Timestamp(), value)


def test_beyond_the_calendar() -> None:
    """A Timestamp that RFC 3339 has no words for stands as its two numbers; they may be strings, as protobuf writes int64."""
    time = Timestamp(seconds=-(2**63), nanos=2**31 - 1)
    assert time_to_json(time) == {"seconds": -(2**63), "nanos": 2**31 - 1}
    again = Timestamp()
    fill_time(again, {"seconds": str(-(2**63)), "nanos": 2**31 - 1})
    assert again == time
