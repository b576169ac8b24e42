from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.times import parse_time, shown_time

NOW_NS = 1_795_347_820_839_041_007  # 2026-11-22T11:43:40.839041007Z
_TIMESTAMPS = st.builds(Timestamp, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=st.integers(0, 999_999_999))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", "2026-11-22T11:43:40.839041007Z"),
        ("-1h", "2026-11-22T10:43:40.839041007Z"),
        ("-1d12h", "2026-11-20T23:43:40.839041007Z"),
        ("+30m", "2026-11-22T12:13:40.839041007Z"),
        ("-2w3s", "2026-11-08T11:43:37.839041007Z"),
        ("2026-11-22", "2026-11-22T00:00:00Z"),
        ("2026-11-22T11:43", "2026-11-22T11:43:00Z"),
        ("2026-11-22 11:43:40", "2026-11-22T11:43:40Z"),
        ("2026-11-22t11:43:40.839041z", "2026-11-22T11:43:40.839041Z"),
        ("2026-11-22T13:43:40+02:00", "2026-11-22T11:43:40Z"),
        ("0001-01-01", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_every_documented_form_means_what_it_says(text: str, instant: str) -> None:
    """A time on the command line means the instant that the documentation promises, to the nanosecond."""
    assert parse_time("--since", text, NOW_NS).ToJsonString() == instant


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-13-01T11:43",
        "0000-01-01",
        "10000-01-01",
        "2026-11-22T25:00",
        "2026-11-22T11:43:60Z",
        "2026-11-22T11:43:40.1234567890Z",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_a_time_that_does_not_exist_is_refused(text: str) -> None:
    """No time is bent to another one that exists."""
    with pytest.raises(CommandError, match=r"^--until: "):
        parse_time("--until", text, NOW_NS)


@pytest.mark.parametrize("text", ["", "yesterday", "1h", "-1y", "-", "-1.5h", "-999999w", "2026-11-22Z", "٢٠٢٦-11-22"])
def test_what_is_no_time_is_refused_with_the_flag(text: str) -> None:
    """A slip of the pen ends in one sentence that names the flag, never in a question about another time."""
    with pytest.raises(CommandError, match=r"^--since: "):
        parse_time("--since", text, NOW_NS)


@given(_TIMESTAMPS)
def test_every_instant_can_be_typed(instant: Timestamp) -> None:
    """Whatever `timestamp` an event answers with can be given back as a limit, without loss."""
    assert parse_time("--until", instant.ToJsonString(), NOW_NS) == instant


@given(_TIMESTAMPS)
def test_tables_show_milliseconds_in_one_width(instant: Timestamp) -> None:
    """The time column lines up and never rounds up into a time that did not happen."""
    shown = shown_time(instant)
    assert len(shown) == 23
    back = parse_time("--since", shown, NOW_NS)
    assert back.seconds == instant.seconds
    assert back.nanos == instant.nanos // 1_000_000 * 1_000_000


def test_a_time_outside_the_contract_is_shown_as_a_dash() -> None:
    """No stored number can make a table fail."""
    assert shown_time(Timestamp(seconds=2**62)) == "-"
