"""The contract's messages in JSON: the public form that is written, both forms that are read, and what is refused.

It is one room because every case is the same question asked of another message: does the form read back as what was written?
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, struct_pb2, timestamp_pb2
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from google.protobuf.wrappers_pb2 import StringValue

from chaukas.server.errors import InvalidRequestError, RequestTooLargeError, ValidationError
from chaukas.server.storage.contract import IngestStatus, Outcome
from chaukas.server.wire import json_form
from chaukas.server.wire.json_fields import form_of
from chaukas.server.wire.json_form import (
    JsonProblem,
    batch_from_text,
    batch_to_openapi,
    capabilities_from_json,
    capabilities_to_openapi,
    event_from_json,
    event_from_text,
    event_to_openapi,
    is_json,
    json_bytes,
    page_to_openapi,
    query_request_from_json,
    query_request_from_text,
    query_request_to_openapi,
    query_response_to_openapi,
    stats_from_json,
    stats_to_openapi,
)
from chaukas.server.wire.json_results import result_to_openapi, results_to_openapi
from chaukas.spec.common.v1 import events_pb2, query_pb2
from chaukas.spec.common.v1.events_pb2 import Event, EventBatch
from chaukas.spec.common.v1.query_pb2 import Capabilities, QueryRequest, QueryResponse
from chaukas.spec.server.v1.server_pb2 import GetEventStatsResponse, QueryEventsResponse

_KINDS = {
    "message": "message",
    "tool_call": "tool_call",
    "tool_response": "tool_response",
    "llm_invocation": "llm_invocation",
    "policy": "policy_decision",
    "data_access": "data_access",
    "state_update": "state_update",
    "error": "error_info",
    "agent_handoff": "agent_handoff",
    "mcp_call": "mcp_call",
}
#: Keys that the published document requires of each kind.
_REQUIRED = {
    "message": {"text"},
    "tool_call": {"name"},
    "tool_response": {"tool_call_id"},
    "llm_invocation": {"provider", "model"},
    "policy_decision": {"policy_id", "outcome"},
    "data_access": {"datasource"},
    "state_update": {"state_update"},
    "error_info": {"error_message"},
    "agent_handoff": {"from_agent_id", "to_agent_id"},
    "mcp_call": {"server_name", "operation"},
}


def _violations(value: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        event_from_json(value)
    return list(map(str, caught.value.violations))


def test_the_public_form() -> None:
    """Names without prefix, RFC 3339 in UTC, snake_case, one content with its kind."""
    event = Event(
        event_id="e-1",
        tenant_id="acme",
        session_id="s-1",
        type="EVENT_TYPE_TOOL_CALL_START",
        status="EVENT_STATUS_STARTED",
        severity="SEVERITY_ERROR",
        author="AUTHOR_LLM",
        tags=["a", "b"],
        is_final=True,
    )
    event.timestamp.FromJsonString("2026-11-22T11:43:40.839041Z")
    event.tool_call.name = "refund"
    event.tool_call.arguments.update({"order": 48213, "exact": 0.1, "none": None, "deep": {"list": [True, "ü"]}})
    event.retry.attempt = 2
    event.cost.total_cost = 3.0
    assert event_to_openapi(event) == {
        "event_id": "e-1",
        "tenant_id": "acme",
        "session_id": "s-1",
        "type": "TOOL_CALL_START",
        "status": "STARTED",
        "severity": "ERROR",
        "author": "LLM",
        "timestamp": "2026-11-22T11:43:40.839041Z",
        "tags": ["a", "b"],
        "is_final": True,
        "content": {
            "kind": "tool_call",
            "name": "refund",
            "arguments": {"deep": {"list": [True, "ü"]}, "exact": 0.1, "none": None, "order": 48213},
        },
        "retry": {"attempt": 2},
        "cost": {"total_cost": 3},
    }
    text = json_bytes(event_to_openapi(event))
    assert b'"order":48213}' in text, "whole numbers have no fraction, keys stand in order"
    assert "ü".encode() in text


@pytest.mark.parametrize(("name", "kind"), _KINDS.items())
def test_every_kind_of_content(name: str, kind: str) -> None:
    """An empty content keeps its kind, has the keys that the public form requires, and comes back as present and empty."""
    event = Event()
    getattr(event, name).SetInParent()
    form = event_to_openapi(event)
    content = form["content"]
    assert isinstance(content, dict)
    assert content["kind"] == kind
    assert content.keys() == _REQUIRED[kind] | {"kind"}
    assert event_from_json(form) == event
    assert event_from_json({"content": {"kind": kind}}) == event


def test_the_required_keys_of_an_answer() -> None:
    """The published form requires five keys of an event: they are there even where the event says nothing (time: always set)."""
    assert event_to_openapi(Event()) == {"event_id": "", "type": "UNSPECIFIED", "status": "UNSPECIFIED", "session_id": ""}
    assert event_from_json(event_to_openapi(Event())) == Event()


def test_state_stands_one_level_below_the_kind() -> None:
    """A state with a key `kind` is no other kind of content."""
    event = Event()
    event.state_update.update({"kind": "message", "text": "x"})
    form = event_to_openapi(event)
    assert form["content"] == {"kind": "state_update", "state_update": {"kind": "message", "text": "x"}}
    assert event_from_json(form) == event


def test_unknown_enum_numbers_stay_numbers() -> None:
    """A value that a later client knows is neither lost nor an error."""
    event = Event(type=977, severity=-5)
    form = event_to_openapi(event)
    assert (form["type"], form["severity"]) == (977, -5)
    assert event_from_json(form) == event


def test_what_json_has_no_word_for() -> None:
    """NaN and infinities are text, a Value that says nothing is null, times beyond the calendar have an own form."""
    event = Event()
    event.metadata.fields["nan"].number_value = math.nan
    event.metadata.fields["up"].number_value = math.inf
    event.metadata.fields["down"].number_value = -math.inf
    event.metadata.fields["nothing"].SetInParent()
    event.metadata.fields["zero"].number_value = -0.0
    event.llm_invocation.start_time.seconds = 253_402_300_800
    event.llm_invocation.end_time.nanos = -1
    event.llm_invocation.temperature = math.nan
    form = json.loads(json_bytes(event_to_openapi(event)))
    assert form["metadata"] == {"nan": "NaN", "up": "Infinity", "down": "-Infinity", "nothing": None, "zero": 0.0}
    assert math.copysign(1, form["metadata"]["zero"]) == -1
    content = form["content"]
    assert content["start_time"] == {"seconds": 253_402_300_800, "nanos": 0}
    assert content["end_time"] == {"seconds": 0, "nanos": -1}
    assert content["temperature"] == "NaN"
    again = event_from_json(form)
    assert again.llm_invocation.SerializeToString() == event.llm_invocation.SerializeToString()


def test_unknown_fields_are_left_out() -> None:
    """A field that this contract does not know has no name; the answer is given without it."""
    event = Event.FromString(Event(event_id="e").SerializeToString() + b"\xd2\x3f\x01x")
    assert len(UnknownFieldSet(event)) == 1
    assert event_to_openapi(event)["event_id"] == "e"


def test_extensions() -> None:
    """A type that is known is readable; every other one, and bytes that are no such message, are base64 and come back exact."""
    event = Event()
    event.extensions.add().Pack(StringValue(value="aGk="))
    event.extensions.add(type_url="type.googleapis.com/acme.Unknown", value=b"\x00\xff")
    event.extensions.add(type_url="type.googleapis.com/google.protobuf.StringValue", value=b"\xff")
    event.extensions.add(type_url="", value=b"")
    form = event_to_openapi(event)
    assert form["extensions"] == [
        {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "aGk="},
        {"@type": "type.googleapis.com/acme.Unknown", "@encoding": "base64", "value": "AP8="},
        {"@type": "type.googleapis.com/google.protobuf.StringValue", "@encoding": "base64", "value": "/w=="},
        {"@type": "", "@encoding": "base64", "value": ""},
    ]
    assert event_from_json(form) == event
    assert event_from_json({"extensions": [{}]}).extensions[0] == any_pb2.Any()


_SDK_LINE = {
    "event_id": "e",
    "type": "EVENT_TYPE_STATE_UPDATE",
    "timestamp": "2026-11-22T11:43:40.845738",
    "state_update": {"model": {"new": "m", "old": None}},
}


def test_the_form_of_the_sdk_in_file_mode() -> None:
    """protobuf's JSON with snake_case names and a time without a zone, which is UTC."""
    event = event_from_json(_SDK_LINE)
    assert event.timestamp.ToJsonString() == "2026-11-22T11:43:40.845738Z"
    assert event.state_update["model"]["new"] == "m"


def test_both_forms_are_the_same_event() -> None:
    """camelCase or snake_case, long names, short names or numbers, own fields or `content`: one event."""
    ours = {
        "event_id": "e",
        "parent_span_id": "p",
        "type": "ERROR",
        "severity": "ERROR",
        "content": {"kind": "error_info", "error_message": "m", "recoverable": True},
        "cost": {"input_tokens": 7, "total_cost": 1.5},
        "is_partial": None,
    }
    theirs = {
        "event": {
            "eventId": "e",
            "parentSpanId": "p",
            "type": "EVENT_TYPE_ERROR",
            "severity": 4,
            "error": {"errorMessage": "m", "recoverable": True},
            "cost": {"inputTokens": "7", "totalCost": "1.5"},
        }
    }
    mixed = {"eventId": "e", "parent_span_id": "p", "type": 40.0, "severity": "SEVERITY_ERROR"} | {
        "content": {"kind": "error_info", "errorMessage": "m", "recoverable": True},
        "cost": {"input_tokens": 7.0, "totalCost": 15e-1},
    }
    assert event_from_json(ours) == event_from_json(theirs) == event_from_json(mixed)
    assert event_from_json(ours).error.recoverable


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], "event: expected an object, got an array"),
        ("x", "event: expected an object, got a string"),
        ({"event_id": 5}, "event_id: expected a string, got a number"),
        ({"event_id": {"a": 1}}, "event_id: expected a string, got an object"),
        ({"is_final": "true"}, "is_final: expected true or false, got a string"),
        ({"type": "SESION_START"}, 'type: unknown value "SESION_START" for EventType'),
        ({"type": True}, "type: expected a name or number of EventType, got a boolean"),
        ({"type": 2**31}, "type: the number is not between -2147483648 and 2147483647"),
        ({"tags": "a"}, "tags: expected an array, got a string"),
        ({"tags": ["a", None]}, "tags[1]: expected a string, got null"),
        ({"timestamp": 1763811820}, "timestamp: expected a time as RFC 3339 text, got a number"),
        (
            {"timestamp": "2026-11-22"},
            'timestamp: expected an RFC 3339 time such as 2026-11-22T11:43:40.839041Z, got "2026-11-22"',
        ),
        ({"metadata": [1]}, "metadata: expected an object, got an array"),
        ({"metadata": {"a": [{"b c": 10**400}]}}, 'metadata.a[0]["b c"]: the number is beyond the range of doubles'),
        (
            {"metadata": {"a": "\ud800"}},
            "metadata.a: the text is not Unicode: half of a surrogate pair, or bytes that are not UTF-8",
        ),
        ({"retry": {"attempt": 1.5}}, "retry.attempt: expected a whole number, got one with a fraction"),
        ({"retry": {"attempt": "many"}}, "retry.attempt: expected a whole number, got a string"),
        ({"cost": {"total_cost": "much"}}, 'cost.total_cost: expected a number, got the string "much"'),
        ({"content": {"role": "user"}}, None),
        ({"content": {"kind": "policy"}}, None),
        ({"content": {"kind": "message", "role": 5}}, "content.role: expected a string, got a number"),
        ({"content": {"kind": "message", "name": "x"}}, "content.name: unknown key"),
        ({"content": {"kind": "state_update", "state_update": 0}}, "content.state_update: expected an object, got a number"),
        ({"content": {"kind": "state_update", "state": {}}}, "content.state: unknown key; the state stands in state_update"),
        ({"sesion_id": "x"}, "sesion_id: unknown key; did you mean session_id?"),
        ({"zzz": 1}, "zzz: unknown key"),
        ({"event_id": "a", "eventId": "a"}, "eventId: given twice, also as event_id"),
        ({"extensions": [{"a": 1}]}, "extensions[0]: the key @type is required, with the type as a string"),
        ({"extensions": [{"@type": "x/acme.T", "a": 1}]}, None),
        ({"extensions": [{"@type": "x/acme.T", "value": "?"}]}, "extensions[0]: value is not base64"),
    ],
)
def test_what_is_refused_is_named_by_its_path(value: object, expected: str | None) -> None:
    """A wrong type, an unknown key or an unknown name is never guessed at; the caller learns where it stands."""
    found = _violations(value)
    assert len(found) == 1
    if expected is not None:
        assert found == [expected]


def test_two_contents_are_refused() -> None:
    """An event has one content: to drop the other would lose evidence."""
    for first in ({"message": {"text": "a"}}, {"content": {"kind": "message", "text": "a"}}):
        found = _violations({**first, "error": {"error_message": "b"}})
        assert found == ["error: the event has two contents; the other is message"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """All violations of an event are reported together, up to a bound: looking for more would only cost time."""
    assert len(_violations({"event_id": 1, "tags": [2], "content": {"kind": "message", "role": 3, "text": 4}})) == 4
    many = _violations({f"key {index}": 1 for index in range(1_000_000)})
    assert len(many) == 21
    assert many[-1] == "event: has more problems than these 20"


def _nested(levels: int, wrap: Callable[[object], object]) -> object:
    value: object = True
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize(("wrap", "levels"), [(lambda value: {"a": value}, 31), (lambda value: [value], 47)])
def test_nesting_ends_where_answers_end(wrap: Callable[[object], object], levels: int) -> None:
    """What is accepted can be read by a published client, inside an answer; one level more is refused with its path."""
    event = event_from_json({"metadata": {"a": _nested(levels, wrap)}})
    answer = QueryEventsResponse()
    answer.response.events.add().MergeFromString(event.SerializeToString())
    assert QueryEventsResponse.FromString(answer.SerializeToString()).response.events[0] == event
    assert event_from_text(json_bytes(event_to_openapi(event))) == event
    (problem,) = _violations({"metadata": {"a": _nested(levels + 1, wrap)}})
    assert problem.startswith("metadata.a")
    assert "nested too deeply" in problem


def test_the_good_events_of_a_batch_are_separated_from_the_bad() -> None:
    """Every kind of damage spoils its own event, whose text is kept byte for byte; the events around it are read."""
    bad = [
        b'{"event_id": "nan", "metadata": {"a": NaN}}',
        b'{"event_id": "twice", "event_id": "twice"}',
        b'{"event_id":"long","cost":{"input_tokens":' + b"1" * 5000 + b"}}",
        b'{"event_id":"inf","cost":{"input_cost":1e999}}',
        b'{"event_id":"utf8","agent_name":"\xff\xfe"}',
        b'{"event_id":"\\ud800","tenant_id":"acme"}',
        b'{"event_id":"deep","metadata":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b"null",
        b"[ 1,\n 2 ]",
        b'{"eventId":"type","tenantId":"acme","projectId":"web","agentName":5}',
    ]
    good = '{"event_id":"good ü"}'.encode()
    body = b'\xef\xbb\xbf {"batch_id":"b","events":[ ' + b" ,\n".join(part for item in bad for part in (good, item)) + b" ] } "
    items = list(batch_from_text(body))
    assert [item.event_id for item in items[::2]] == ["good ü"] * len(bad)
    problems = items[1::2]
    assert all(isinstance(problem, JsonProblem) for problem in problems)
    assert [problem.raw for problem in problems] == bad
    assert [problem.event_id for problem in problems] == ["nan", "twice", "long", "inf", "utf8", "?", "", "", "", "type"]
    assert (problems[-1].tenant_id, problems[-1].project_id) == ("acme", "web")
    assert problems[0].reasons[0].startswith("events[1].metadata.a: expected a JSON value, got NaN")
    assert problems[1].reasons == ('events[3]: expected an object, got an object in which the key "event_id" stands twice',)
    assert problems[2].reasons == ("events[5].cost.input_tokens: expected a whole number, got a number of 5000 digits",)
    assert problems[3].reasons == ("events[7].cost.input_cost: the number is beyond the range of doubles",)
    assert problems[6].reasons == ("events[13]: expected an object, got a value that is nested too deeply",)
    assert str(problems[-1]) == "events[19].agentName: expected a string, got a number"


@pytest.mark.parametrize("key", ["event_batch", "eventBatch"])
def test_protobufs_json_of_a_batch_request(key: str) -> None:
    """The body may be the batch, or protobuf's request with the batch in it."""
    batch = batch_from_text(json.dumps({key: {"batchId": "b", "totalTokens": 3, "events": [{"eventId": "e"}, 5]}}).encode())
    event, problem = batch
    assert (batch.batch_id, len(batch), event.event_id) == ("b", 2, "e")
    assert problem.reasons == (f"{key}.events[1]: expected an object, got a number",)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "the body is empty; expected a JSON object"),
        (b"[]", "expected a batch as an object, got an array"),
        (b"{}", "events: is required; a single event belongs to /v1/events"),
        (b'{"event_batch":null}', "event_batch: expected a batch as an object, got null"),
        (b'{"events":5}', "events: expected an array, got a number"),
        (b'{"events":[],"events":[]}', "events: stands twice"),
        (b'{"events":[],"batch_id":5}', "batch_id: expected a string, got a number"),
        (b'{"events":[],"batchid":"b"}', "batchid: unknown key; did you mean batch_id?"),
        (b'{"event_batch":{"events":[],"timestamp":"now"}}', None),
        (b'{"event_batch":{"events":[]},"x":1}', "x: unknown key beside event_batch"),
        (b'{"x":1,"event_batch":{"events":[]}}', None),
        (b'{"events":[{"event_id":"a"},]}', "the body is not JSON: Expecting value at line 1, column 29"),
        (b'{"events":[]} x', "the body is not JSON: Extra data at line 1, column 15"),
        (b'{"events":[] "a":1}', "the body is not JSON: Expecting ',' delimiter at line 1, column 14"),
        (b'{"events":[', None),
        (b'{"events":' + b"[" * 100_000, None),
        (b'{"events"', None),
        (b"{'events':[]}", None),
    ],
)
def test_a_batch_that_is_wrong_as_a_whole(body: bytes, expected: str | None) -> None:
    """Where no event can be told apart, or what stands beside them is wrong, nothing is taken and the caller learns why."""
    with pytest.raises(InvalidRequestError) as caught:
        batch_from_text(body)
    if expected is not None:
        assert str(caught.value) == expected


def test_a_batch_is_bounded() -> None:
    """More events than the server takes in one piece are refused before they are read; a longer text than any event has, too."""
    body = b'{"events":[' + b",".join([b"{}"] * 11) + b"]}"
    assert len(batch_from_text(body, events_max=11)) == 11
    with pytest.raises(RequestTooLargeError):
        batch_from_text(body, events_max=10)


def test_text_longer_than_any_event_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event whose text is too long is kept aside unread, and the others are read."""
    monkeypatch.setattr(json_form, "EVENT_TEXT_BYTES_MAX", 30)
    problem, event = batch_from_text(b'{"events":[{"event_id":"' + b"x" * 40 + b'"},{"event_id":"e"}]}')
    assert problem.reasons == ("events[0]: has 55 bytes of JSON; at most 30 are read",)
    assert event == Event(event_id="e")


def test_one_event_as_text() -> None:
    """A single body is an event, a problem with its text, or no JSON at all."""
    assert event_from_text(b'\xef\xbb\xbf\n {"event_id":"e"} ') == Event(event_id="e")
    problem = event_from_text(b' {"event_id":"e","tenant_id":"t","x":1}\r\n')
    assert isinstance(problem, JsonProblem)
    assert problem.raw == b'{"event_id":"e","tenant_id":"t","x":1}'
    assert (problem.event_id, problem.tenant_id, problem.incomplete) == ("e", "t", False)
    with pytest.raises(InvalidRequestError, match="not JSON"):
        event_from_text(b'{"event_id":')


def test_kept_text_is_told_from_kept_bytes() -> None:
    """The quarantine holds both; a serialised event whose id has 123 bytes begins like white space and a brace."""
    assert is_json(b'{"event_id":5}')
    assert Event(event_id="x" * 123).SerializeToString().startswith(b"\n{")
    assert not is_json(Event(event_id="x" * 123).SerializeToString())


def test_a_query_in_both_forms() -> None:
    """Filters, order and our additions are read from either form, and written in the public one."""
    ours = {
        "filter": {
            "session_id": "s",
            "types": ["ERROR", 12],
            "statuses": ["FAILED"],
            "severities": ["WARN"],
            "tags": ["t"],
            "time": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
        },
        "page_size": 50,
        "order_by_time": "ASC",
        "session_id": "s",
        "include_total": True,
    }
    theirs = {
        "query": {
            "filter": {
                "sessionId": "s",
                "types": [40, "EVENT_TYPE_AGENT_HANDOFF"],
                "statuses": ["EVENT_STATUS_FAILED"],
                "severities": [3],
                "tags": ["t"],
                "time": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00"},
            },
            "pageSize": "50",
            "orderByTime": "SORT_ORDER_ASC",
            "sessionId": "s",
            "includeTotal": True,
        }
    }
    request = query_request_from_text(json.dumps(theirs).encode())
    assert query_request_from_json(ours) == request
    assert query_request_to_openapi(request) == ours | {"filter": {**ours["filter"], "types": ["ERROR", "AGENT_HANDOFF"]}}
    assert query_request_from_json({}) == QueryRequest()
    assert query_request_to_openapi(QueryRequest()) == {"filter": {}}


def test_a_wrong_query_is_named_by_its_path() -> None:
    """A filter that is misspelt would answer another question."""
    with pytest.raises(InvalidRequestError) as caught:
        query_request_from_json({"filter": {"sesion_id": "s"}, "page_size": "x"})
    assert caught.value.field == "filter.sesion_id"
    assert str(caught.value) == (
        "filter.sesion_id: unknown key; did you mean session_id?; page_size: expected a whole number, got a string"
    )


def test_a_page() -> None:
    """An answer always has its events, its token and has_more; the total when it was asked for, as a number."""
    assert page_to_openapi([], "") == {"events": [], "next_page_token": "", "has_more": False}
    page = page_to_openapi([Event(event_id="e")], "t", 2**60)
    assert (page["has_more"], page["total_count"]) == (True, 2**60)
    response = QueryResponse(events=[Event(event_id="e")], has_more=True, total_count=2**60)
    response.next_page_token = "t"  # noqa: S105 - no password
    assert query_response_to_openapi(response) == page
    assert "total_count" not in query_response_to_openapi(QueryResponse())


def test_capabilities_are_all_told() -> None:
    """What a server does not have is told as well as what it has."""
    capabilities = Capabilities(supports_statistics=True, max_batch_size=1000)
    form = capabilities_to_openapi(capabilities)
    assert form["supports_statistics"] is True
    assert form["sso"] is False
    assert form["max_batch_size"] == 1000
    assert capabilities_from_json({"capabilities": form}) == capabilities


def test_statistics() -> None:
    """64-bit counts are numbers; types keep their full names, as the contract's map does."""
    stats = GetEventStatsResponse(
        total_events=2**60,
        total_sessions=3,
        events_by_type={"EVENT_TYPE_SYSTEM": 2, "EVENT_TYPE_ERROR": 1},
        avg_session_duration_ms=1.5,
    )
    form = stats_to_openapi(stats)
    assert form == {
        "total_events": 2**60,
        "total_sessions": 3,
        "events_by_type": {"EVENT_TYPE_ERROR": 1, "EVENT_TYPE_SYSTEM": 2},
        "avg_session_duration_ms": 1.5,
    }
    assert stats_from_json(form) == stats
    assert stats_to_openapi(GetEventStatsResponse())["events_by_type"] == {}


def test_a_batch_is_written() -> None:
    """A batch in the public form is read back by the server."""
    batch = EventBatch(batch_id="b", events=[Event(event_id="e")], total_tokens=3)
    read = batch_from_text(json_bytes(batch_to_openapi(batch)))
    assert (read.batch_id, list(read)) == ("b", [Event(event_id="e")])
    assert batch_to_openapi(EventBatch()) == {"events": []}


def test_results() -> None:
    """Each event's fate is told in order; the counts add up as the contract's batch answer says."""
    outcomes = [
        Outcome(IngestStatus.ACCEPTED, "a", origin="o", index=0),
        Outcome(IngestStatus.DUPLICATE, "b", origin="o", index=7),
        Outcome(IngestStatus.REJECTED, "c", reason="other content", quarantine_id="q1"),
        Outcome(IngestStatus.QUARANTINED, "", reason="no type", quarantine_id="q2"),
    ]
    assert results_to_openapi(outcomes, "b-1") == {
        "batch_id": "b-1",
        "accepted_count": 2,
        "duplicate_count": 1,
        "rejected_count": 2,
        "quarantined_count": 1,
        "rejected_event_ids": ["c", ""],
        "results": [
            {"event_id": "a", "status": "accepted", "worm_proof_id": "o#0"},
            {"event_id": "b", "status": "duplicate", "worm_proof_id": "o#7"},
            {"event_id": "c", "status": "rejected", "reason": "other content", "quarantine_id": "q1"},
            {"event_id": "", "status": "quarantined", "reason": "no type", "quarantine_id": "q2"},
        ],
    }
    assert json.loads(json_bytes(result_to_openapi(outcomes[0]))) == {
        "event_id": "a",
        "status": "accepted",
        "worm_proof_id": "o#0",
    }


def _as_published(name: str) -> Message:
    """A message of the same contract without our additions, as when the published modules lie over ours."""
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, struct_pb2, timestamp_pb2, events_pb2, query_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            kept = [field for field in message.field if field.number < 1000]
            del message.field[:]
            message.field.extend(kept)
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"chaukas.spec.common.v1.{name}"))()


def test_under_the_published_modules() -> None:
    """Without our additions a query keeps them as unknown fields, where the query engine finds them, and an event's
    server_timestamp, which belongs to the server anyway, is passed over.
    """
    request = _as_published("QueryRequest")
    form_of(request.DESCRIPTOR).fill(request, {"session_id": "s" * 200, "includeTotal": True, "page_size": 3})
    assert QueryRequest.FromString(request.SerializeToString()) == QueryRequest(
        session_id="s" * 200, include_total=True, page_size=3
    )
    event = _as_published("Event")
    form_of(event.DESCRIPTOR).fill(event, {"event_id": "e", "server_timestamp": "2026-11-22T11:43:40Z"})
    assert form_of(event.DESCRIPTOR).write(event)["event_id"] == "e"
    assert event.SerializeToString() == Event(event_id="e").SerializeToString()
