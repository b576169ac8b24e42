"""The rules of an event: each one at its limit and behind it, and all violations at once."""

from __future__ import annotations

import pytest

from chaukas.server.storage.entry import origin_of
from chaukas.server.validation import Limits, origin_bytes, violations
from chaukas.spec.common.v1.events_pb2 import Event

SERVER = "chaukas.example.org"
ID_FIELDS = [
    "event_id",
    "tenant_id",
    "project_id",
    "session_id",
    "span_id",
    "parent_span_id",
    "agent_id",
    "invocation_id",
    "response_id",
    "branch",
    "trace_id",
]
# Wide enough that tenant and project meet their own limit before that of the origin.
WIDE = Limits(origin_bytes_max=10_000)


def _event(**fields: object) -> Event:
    return Event(**{"event_id": "e", "tenant_id": "acme", "type": 1, **fields})  # type: ignore[arg-type]


def _found(event: Event, limits: Limits = WIDE, size_bytes: int = 100) -> dict[str, str]:
    found = violations(event, size_bytes, limits, SERVER)
    assert len({violation.field for violation in found}) == len(found)
    return {violation.field: violation.message for violation in found}


def test_smallest_event_is_valid() -> None:
    """Promise: an id, a tenant and a type are all that is required."""
    assert _found(_event(), Limits()) == {}


def test_required_fields_are_named_together() -> None:
    """Promise: everything that is missing is said at once."""
    assert _found(Event()) == {
        "event_id": "is required",
        "tenant_id": "is required",
        "type": "is required, and must not be EVENT_TYPE_UNSPECIFIED",
    }


@pytest.mark.parametrize("number", [-1, 64, 2_147_483_647])
def test_type_that_the_contract_does_not_have_yet_is_valid(number: int) -> None:
    """Promise: an event type of a newer contract is stored."""
    assert _found(_event(type=number)) == {}


@pytest.mark.parametrize("name", ID_FIELDS)
@pytest.mark.parametrize("character", ["x", "ä", "語", "🎻", "\x00"])
def test_ids_have_a_limit_in_bytes(name: str, character: str) -> None:
    """Promise: every id may have 256 bytes of UTF-8 and not one more, NUL and characters of any script included."""
    size = len(character.encode())
    fits = character * (256 // size)
    assert _found(_event(**{name: fits})) == {}
    too_long = fits + character
    assert _found(_event(**{name: too_long})) == {name: f"has {len(too_long.encode())} bytes; at most 256 are allowed"}


def test_agent_name_has_a_limit_of_its_own() -> None:
    """Promise: the name of an agent, which is for people, may be longer than an id."""
    assert _found(_event(agent_name="n" * 1024)) == {}
    assert _found(_event(agent_name="n" * 1025)) == {"agent_name": "has 1025 bytes; at most 1024 are allowed"}


def test_tags_are_limited_in_number_and_size() -> None:
    """Promise: 64 tags of 256 bytes each; every one that is too long is named, and work on too many is bounded."""
    assert _found(_event(tags=["t" * 256] * 64)) == {}
    assert _found(_event(tags=["", "ü" * 128 + "x", "ok", "t" * 300])) == {
        "tags[1]": "has 257 bytes; at most 256 are allowed",
        "tags[3]": "has 300 bytes; at most 256 are allowed",
    }
    assert _found(_event(tags=["t"] * 65)) == {"tags": "has 65 entries; at most 64 are allowed"}
    assert len(_found(_event(tags=["t" * 300] * 10_000))) == 65


def test_event_has_a_size() -> None:
    """Promise: the limit of the whole event is in the bytes of its serialisation."""
    assert _found(_event(), size_bytes=2 * 1024 * 1024) == {}
    assert _found(_event(), size_bytes=2 * 1024 * 1024 + 1) == {"event": "has 2097153 bytes; at most 2097152 are allowed"}


@pytest.mark.parametrize(
    ("seconds", "nanos", "fields"),
    [
        (-62_135_596_800, 0, set()),
        (253_402_300_799, 999_999_999, set()),
        (-62_135_596_801, 999_999_999, {"timestamp.seconds"}),
        (253_402_300_800, 0, {"timestamp.seconds"}),
        (0, -1, {"timestamp.nanos"}),
        (0, 1_000_000_000, {"timestamp.nanos"}),
        (2**63 - 1, 2**31 - 1, {"timestamp.seconds", "timestamp.nanos"}),
        (-(2**63), -(2**31), {"timestamp.seconds", "timestamp.nanos"}),
    ],
)
def test_timestamp_lies_in_the_years_1_to_9999(seconds: int, nanos: int, fields: set[str]) -> None:
    """Promise: a timestamp has the range that protobuf defines, to the nanosecond."""
    event = _event()
    event.timestamp.seconds, event.timestamp.nanos = seconds, nanos
    assert set(_found(event)) == fields


@pytest.mark.parametrize(
    ("tenant", "project"), [("acme", ""), ("acme", "p"), ("a/b c", "ü"), ("", ""), ("\x00", "🎻"), ("x" * 256, "y" * 256)]
)
@pytest.mark.parametrize("server", [SERVER, "a name/with ü"])
def test_size_of_an_origin_is_that_of_the_log(server: str, tenant: str, project: str) -> None:
    """Promise: the origin that is checked here is the one under which the log is kept."""
    assert origin_bytes(server, tenant, project) == len(origin_of(server, tenant, project).encode())


def test_origin_has_a_limit() -> None:
    """Promise: tenant and project must leave the log an origin of at most 255 bytes, percent-encoded."""
    room = 255 - len(f"{SERVER}/events/")
    assert _found(_event(tenant_id="t" * room), Limits()) == {}
    for tenant, project in (("t" * (room + 1), ""), ("t" * (room - 1), "p"), ("ü" * (room // 6 + 1), ""), ("t", "🎻" * 30)):
        assert set(_found(_event(tenant_id=tenant, project_id=project), Limits())) == {"tenant_id"}
    message = _found(_event(tenant_id="t" * (room + 1)), Limits())["tenant_id"]
    assert message == "makes, with project_id, a log origin of 256 bytes; at most 255 are allowed"


def test_origin_of_an_endless_tenant_is_not_even_encoded() -> None:
    """Promise: an absurd tenant costs neither time nor a place in the cache."""
    before = origin_bytes.cache_info().currsize
    found = violations(_event(tenant_id="t" * 1_000_000), 1_000_100, Limits(), SERVER)
    assert [violation.field for violation in found] == ["tenant_id", "tenant_id"]
    assert origin_bytes.cache_info().currsize == before


def test_all_violations_are_reported_together() -> None:
    """Promise: one round is enough to learn everything that is wrong with an event."""
    event = Event(tenant_id="acme", session_id="s" * 300, branch="b" * 300, tags=["t" * 300])
    event.timestamp.nanos = -5
    assert list(_found(event, size_bytes=3_000_000)) == [
        "event",
        "event_id",
        "type",
        "session_id",
        "branch",
        "tags[0]",
        "timestamp.nanos",
    ]


def test_limits_can_be_set() -> None:
    """Promise: every limit is a setting."""
    limits = Limits(event_bytes_max=10, id_bytes_max=4, name_bytes_max=3, tags_max=1, tag_bytes_max=4, origin_bytes_max=20)
    event = _event(event_id="eeeee", agent_name="nnnn", tags=["ttttt", "t"])
    assert _found(event, limits, size_bytes=11) == {
        "event": "has 11 bytes; at most 10 are allowed",
        "event_id": "has 5 bytes; at most 4 are allowed",
        "agent_name": "has 4 bytes; at most 3 are allowed",
        "tags": "has 2 entries; at most 1 are allowed",
        "tags[0]": "has 5 bytes; at most 4 are allowed",
        "tenant_id": "makes, with project_id, a log origin of 31 bytes; at most 20 are allowed",
    }
