from __future__ import annotations

import pytest

from chaukas.server.cli.enums import EVENT_STATUSES, EVENT_TYPES, SEVERITIES
from chaukas.server.cli.failure import CommandError
from chaukas.spec.common.v1.events_pb2 import EventType


@pytest.mark.parametrize("text", ["TOOL_CALL_START", "tool-call-start", "EVENT_TYPE_TOOL_CALL_START", " Tool_Call_Start ", "22"])
def test_a_type_is_understood_however_it_is_written(text: str) -> None:
    """People write types as they saw them: in a table, in JSON, in the SDK, as a number."""
    assert EVENT_TYPES.parse("--type", [text]) == [EventType.EVENT_TYPE_TOOL_CALL_START]


def test_every_name_of_the_contract_reads_back() -> None:
    """What a table shows can be typed as a filter."""
    for name, number in EventType.items():
        if number:
            assert EVENT_TYPES.parse("--type", [EVENT_TYPES.shown(number)]) == [number], name


def test_several_values_may_stand_together() -> None:
    """`--status failed,cancelled` is the same as giving the flag twice."""
    assert EVENT_STATUSES.parse("--status", ["failed,cancelled", "STARTED"]) == [4, 5, 1]


def test_numbers_of_a_later_contract_are_kept() -> None:
    """An older command line can ask for types that only a newer server knows, and shows them as numbers."""
    assert EVENT_TYPES.parse("--type", ["777"]) == [777]
    assert EVENT_TYPES.shown(777) == "777"
    assert EVENT_STATUSES.shown(0) == ""


@pytest.mark.parametrize("text", ["", "fatal", "UNSPECIFIED", "0", "-1", "٣", "4294967296"])
def test_an_unknown_name_is_refused_with_those_that_exist(text: str) -> None:
    """A misspelt filter must not widen the question; the message lists what there is."""
    with pytest.raises(CommandError, match=r"^--severity: .*choose from DEBUG, INFO, WARN, ERROR$"):
        SEVERITIES.parse("--severity", [text])
