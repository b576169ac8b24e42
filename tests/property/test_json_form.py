"""Any event has a JSON form; what JSON can say comes back as it was sent."""

from __future__ import annotations

import contextlib
import json
import re
from typing import NoReturn

import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from chaukas.server.errors import InvalidRequestError, ValidationError
from chaukas.server.wire.json_form import (
    JsonProblem,
    batch_from_text,
    event_from_json,
    event_from_text,
    event_to_openapi,
    json_bytes,
    page_to_openapi,
    query_request_from_json,
    query_response_from_json,
)
from chaukas.server.wire.json_time import fill_time, time_to_json
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.spec.common.v1.query_pb2 import QueryRequest
from tests.property.json_strategies import ANY_TIMES, TIMES, events, json_values


def _strict(text: bytes) -> object:
    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text.decode("utf-8"), parse_constant=refuse)


def _bytes(event: Event) -> bytes:
    """For comparing: NaN is not equal to itself, its bytes are."""
    return event.SerializeToString(deterministic=True)


@given(events())
def test_an_event_survives_the_public_form(event: Event) -> None:
    """An event that is asked for as JSON and posted again is the same event, so storing it again is a duplicate."""
    again = event_from_text(json_bytes(event_to_openapi(event)))
    assert isinstance(again, Event), str(again)
    assert _bytes(again) == _bytes(event)


@given(events(lossy=True))
def test_no_stored_event_makes_an_answer_fail(event: Event) -> None:
    """Every event that protobuf reads has strict JSON, which is read back, and reading it loses nothing more."""
    answer = json_bytes(event_to_openapi(Event.FromString(event.SerializeToString())))
    assert isinstance(_strict(answer), dict)
    again = event_from_text(answer)
    assert isinstance(again, Event), str(again)
    assert json_bytes(event_to_openapi(again)) == answer


@given(events(), st.booleans(), st.booleans())
def test_protobufs_own_json_is_read(event: Event, snake_case: bool, numbers: bool) -> None:
    """What protobuf's JSON writes, in either spelling, is the same event."""
    form = json_format.MessageToDict(event, preserving_proto_field_name=snake_case, use_integers_for_enums=numbers)
    assert _bytes(event_from_json(json.loads(json.dumps(form)))) == _bytes(event)


@given(events(), st.data())
def test_the_forms_may_be_mixed(event: Event, data: st.DataObject) -> None:
    """Each key may be in another form than its neighbour."""
    ours = event_to_openapi(event)
    theirs = json_format.MessageToDict(event)
    mixed: dict[str, object] = {}
    for key, value in theirs.items():
        name = Event.DESCRIPTOR.fields_by_camelcase_name[key].name
        if name in ours and data.draw(st.booleans()):
            mixed[name] = ours[name]
        else:
            mixed[key] = value
    assert _bytes(event_from_json(mixed)) == _bytes(event)


@given(json_values())
def test_any_json_is_an_event_or_a_named_mistake(value: object) -> None:
    """No JSON raises anything but the error that tells the caller what is wrong."""
    with contextlib.suppress(ValidationError):
        assert isinstance(event_from_json(value), Event)
    with contextlib.suppress(InvalidRequestError):
        assert isinstance(query_request_from_json(value), QueryRequest)


_KNOWN_TYPES = (
    *(
        f"google.protobuf.{name}"
        for name in ("Any", "BoolValue", "BytesValue", "DoubleValue", "Duration", "FieldMask", "Int64Value")
    ),
    *(f"google.protobuf.{name}" for name in ("ListValue", "StringValue", "Struct", "Timestamp", "Value")),
    *(f"chaukas.spec.common.v1.{name}" for name in ("Event", "LLMInvocation", "QueryRequest")),
)


@given(
    st.sampled_from(_KNOWN_TYPES), st.dictionaries(st.sampled_from(["value", "type", "tags", "@type"]), json_values(), max_size=3)
)
def test_any_extension_is_taken_or_refused(name: str, members: dict[str, object]) -> None:
    """The runtime's reader of known types meets whatever strangers send; its own exceptions reach nobody."""
    text = json.dumps({"extensions": [{**members, "@type": f"type.googleapis.com/{name}"}]}).replace("null", "NaN")
    for body in (text, text.replace("NaN", "null")):
        item = event_from_text(body.encode())
        if isinstance(item, Event):
            assert event_from_json(event_to_openapi(item)) == item


@given(events(), st.data())
def test_a_value_of_another_type_is_named_by_its_path(event: Event, data: st.DataObject) -> None:
    """Replacing any value by one of a wrong type gives an event, or a violation of just that key."""
    form = event_to_openapi(event)
    key = data.draw(st.sampled_from(sorted(form)))
    form[key] = data.draw(json_values())
    item = event_from_text(json_bytes(form))
    if isinstance(item, JsonProblem):
        assert {re.match(r"\w+", violation.field)[0] for violation in item.violations} == {key}


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u019eE-. \ud7ff', max_size=40).map(str.encode))
def test_any_bytes_are_answered(body: bytes) -> None:
    """Bytes that are no JSON are refused with a sentence, and nothing else happens."""
    for read in (event_from_text, batch_from_text):
        with contextlib.suppress(InvalidRequestError):
            assert read(body) is not None


_ITEMS = st.lists(json_values() | events().map(event_to_openapi), max_size=6)


@given(_ITEMS, st.sampled_from([None, 2]), st.booleans())
def test_a_batch_is_cut_into_the_texts_of_its_events(items: list[object], indent: int | None, ascii_only: bool) -> None:
    """Whatever stands in `events`, each item is read as if it had come alone, and what can not be read keeps its text."""
    body = json.dumps({"batch_id": "b", "events": items}, indent=indent, ensure_ascii=ascii_only).encode()
    batch = batch_from_text(body)
    assert batch.batch_id == "b"
    assert len(batch) == len(items)
    for found, item in zip(batch, items, strict=True):
        if isinstance(found, JsonProblem):
            assert json.loads(found.raw) == item
            with pytest.raises(ValidationError):
                event_from_json(item)
        else:
            assert _bytes(found) == _bytes(event_from_json(item))


@given(st.lists(events(), max_size=3), st.text(max_size=5), st.none() | st.integers(0, 2**40))
def test_a_page_is_read_back(found: list[Event], token: str, total: int | None) -> None:
    """A client that reads the public form gets the page that the server made."""
    response = query_response_from_json(json.loads(json_bytes(page_to_openapi(found, token, total))))
    assert list(map(_bytes, response.events)) == list(map(_bytes, found))
    assert (response.next_page_token, response.has_more) == (token, bool(token))
    assert response.total_count == (total or 0)


@given(TIMES)
def test_times_are_written_as_protobuf_writes_them(time: Timestamp) -> None:
    """Within the years 1 to 9999 our text is that of protobuf's own implementation, the oracle here."""
    assert time_to_json(time) == time.ToJsonString()


@given(ANY_TIMES)
def test_every_time_is_read_back(time: Timestamp) -> None:
    """Any content of a Timestamp survives, beyond the years that RFC 3339 knows too."""
    again = Timestamp()
    fill_time(again, json.loads(json_bytes(time_to_json(time))))
    assert again == time


@given(TIMES, st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_offsets_are_read_as_protobuf_reads_them(time: Timestamp, minutes: int) -> None:
    """A time with a distance from UTC is the instant that protobuf's own implementation finds."""
    sign, distance = ("-" if minutes < 0 else "+"), abs(minutes)
    text = time.ToJsonString().removesuffix("Z") + f"{sign}{distance // 60:02d}:{distance % 60:02d}"
    ours, theirs = Timestamp(), Timestamp()
    try:
        theirs.FromJsonString(text)
        theirs.ToJsonString()
    except ValueError:
        theirs = None
    try:
        fill_time(ours, text)
    except Exception:  # noqa: BLE001 - only whether it is refused is compared
        ours = None
    assert ours == theirs
