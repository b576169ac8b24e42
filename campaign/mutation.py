"""Inputs for the fuzzer: recorded requests and what follows from them, changed a little, by chance that can be repeated.

A seed file gives whole bodies; of the parts of a body (events of a batch), some are changed and put together again with right
lengths, so that the change is not caught by the first length that does not fit.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from campaign.fuzz_targets import searched_events, valid_cursor
from chaukas.server.wire.fields import LEN, MalformedError, fields_of
from chaukas.server.wire.json_form import event_to_openapi, json_bytes
from chaukas.spec.common.v1.events_pb2 import Event, EventType
from chaukas.spec.common.v1.query_pb2 import QueryRequest
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchRequest
from tests.strategies import batch_body, length_delimited, nested_struct_event, varint

__all__ = ["corpus", "mutated"]

_RECORDED = Path(__file__).resolve().parent.parent / "tests" / "data" / "recorded"
#: Most bytes of a seed: small ones are changed, parsed and understood faster.
_SEED_BYTES_MAX = 6_000
_SEEDS_MAX = 400
_TOKENS = (
    b"\x00", b"\xff", b"\x0a", b"\x1a", b"\x80" * 9 + b"\x01", b"\xff" * 9 + b"\x01", b"\x0b", b"\x0c", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 30, b"\\ud800",
    b"\\u0000", b"\\",
    b'{"a":' * 40, b"[" * 40, b'"event_id":1,', b'"content":{"kind":"message"},', b'"type":"EVENT_TYPE_ERROR",',
    b'"timestamp":"9999-12-31T23:59:59.999999999Z",',
    b"\xef\xbb\xbf", b"\n", b"\r\n", b" ", b"*", b"\xe2\x80\x9c", "東".encode(), "\N{ROBOT FACE}".encode(), "é".encode(),
    b"e\xcc\x81", b"-", b"=",
)  # fmt: skip
_VALUES: tuple[object, ...] = (
    None, True, 0, -1, 1.5, 10**30, -(2**63), 2**64, 1e308, float("nan"), float("inf"), "", "x", "NaN", "-Infinity",
    "\ud800", "\x00", "1e5", "99",
    "2026-01-01T00:00:00Z", "0001-01-01T00:00:00.000000001+23:59", "9999-12-31T23:59:60Z", "ERROR", "EVENT_TYPE_ERROR",
    "東京" * 90, [], {}, [[]],
    [None], {"": ""}, {"kind": "message"}, {"kind": "state_update", "state_update": {}},
    {"@type": "type.googleapis.com/google.protobuf.Struct"},
    {"@type": "type.googleapis.com/google.protobuf.Any", "value": {}}, ["a", 1, None, {"b": [True]}],
    {"in": {"in": {"in": {"in": 1}}}},
)  # fmt: skip
_KEYS = (
    "event_id", "eventId", "content", "kind", "message", "tool_call", "toolCall", "metadata", "extensions", "value",
    "@type", "state_update",
    "types", "filter", "time", "start", "page_token", "pageToken", "text_query", "nobody", "", "events", "event_batch",
    "timestamp",
)  # fmt: skip


@cache
def _events() -> tuple[bytes, ...]:
    """Distinct recorded events, small ones first."""
    found: dict[bytes, None] = {}
    for path in sorted(_RECORDED.rglob("*.bin")):
        # A post of a single event reads as a batch of nothing, or not at all.
        with contextlib.suppress(DecodeError):
            found |= dict.fromkeys(
                event.SerializeToString()
                for event in IngestEventBatchRequest.FromString(path.read_bytes()).event_batch.events
                if event.event_id and event.type
            )
    small = [event for event in found if len(event) <= _SEED_BYTES_MAX]
    return (*small[:: max(1, len(small) // _SEEDS_MAX)], nested_struct_event(31).SerializeToString())


def _jsons() -> list[bytes]:
    events = [Event.FromString(event) for event in _events()[::4]]
    return [json_bytes(event_to_openapi(event)) for event in events] + [
        json.dumps(MessageToDict(event, preserving_proto_field_name=len(event.event_id) % 2 == 0)).encode()
        for event in events[::2]
    ]


def _questions() -> list[bytes]:
    whole: dict[str, object] = {
        "tenant_id": "acme", "project_id": "shop", "session_id": "s", "agent_id": "a", "span_id": "b", "trace_id": "t",
        "types": ["ERROR", "EVENT_TYPE_RETRY", 63], "statuses": ["FAILED"], "severities": ["WARN", 4], "tags": ["x", "y"],
    "text_query": 'refund "not found" inv*',
    "time": {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00+02:00"},
    }  # fmt: skip
    asked: list[dict[str, object]] = [{"filter": {name: value}, "page_size": 10} for name, value in whole.items()]
    asked += [{"filter": whole, "order_by_time": "ASC", "include_total": True}, {"query": {"filter": whole}}, {"session_id": "s"}]
    asked += [{"page_token": valid_cursor()}, {}]
    return [json.dumps(each).encode() for each in asked]


def _protobuf_questions() -> list[bytes]:
    request = QueryRequest(
        page_size=5, page_token=valid_cursor(), order_by_time="SORT_ORDER_ASC", session_id="s", include_total=True
    )
    request.filter.types.extend([EventType.EVENT_TYPE_ERROR, EventType.EVENT_TYPE_RETRY])
    request.filter.tags.extend(["a", "b"])
    request.filter.text_query = 'refund "not found" 東京 inv*'
    request.filter.time.start.FromJsonString("2026-01-01T00:00:00Z")
    request.filter.time.end.FromJsonString("2026-02-01T00:00:00.5Z")
    return [request.SerializeToString(), QueryRequest(page_size=1000).SerializeToString(), b""]


_EXPRESSIONS = (
    "refund",
    "ref*",
    '"not found"',
    '"order 47*"',
    '"order"*',
    "東京 高さ",
    "a@example.com",
    "STRASSE naive",
    "\N{ROBOT FACE}",
    "दुनिया",
)


@cache
def corpus(target: str) -> tuple[bytes, ...]:
    """The seeds of a target."""
    events = _events()
    jsons: Callable[[], list[bytes]] = cache(_jsons)
    made: dict[str, Callable[[], Sequence[bytes]]] = {
        "batch": lambda: [batch_body(events[at : at + 3]) for at in range(0, len(events), 3)],
        "single": lambda: [length_delimited(1, event) for event in (*events, nested_struct_event(40).SerializeToString())],
        "json_event": jsons,
        "json_batch": lambda: [
            b'{"batch_id":"b","events":[' + b",".join(jsons()[at : at + 2]) + b"]}" for at in range(0, len(jsons()), 2)
        ],
        "json_lines": lambda: [b"\n".join(jsons()[at : at + 3]) for at in range(0, len(jsons()), 3)],
        "query_json": _questions,
        "query_protobuf": _protobuf_questions,
        "cursor": lambda: [valid_cursor().encode(), b"", b"AAAA"],
        "text_query": lambda: [each.encode() for each in _EXPRESSIONS],
        "text_event": lambda: [*events, *searched_events()],
    }
    return tuple(made[target]())


def mutated(target: str, chance: random.Random) -> bytes:
    """One input."""
    seeds = corpus(target)
    seed = chance.choice(seeds)
    inside = chance.random() < 0.6
    if inside and target in {"json_event", "json_batch", "query_json"}:
        return _changed_value(seed, chance)
    if inside and target in {"batch", "single", "text_event"}:
        return _changed_inside(target, chance)
    return _changed(seed, seeds, chance)


def _changed_value(seed: bytes, chance: random.Random) -> bytes:
    """JSON with some of its values replaced, of whatever type, or under another key."""
    value = json.loads(seed)
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = value
        while isinstance(place, (dict, list)) and place:
            key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
            inner = place[key]
            if not isinstance(inner, (dict, list)) or not inner or chance.random() < 0.3:
                if isinstance(place, dict) and chance.random() < 0.2:
                    place[chance.choice(_KEYS)] = inner
                else:
                    place[key] = copy.deepcopy(chance.choice(_VALUES))
                break
            place = inner
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def _changed_inside(target: str, chance: random.Random) -> bytes:
    """Recorded events with one of them changed, and all lengths around it right."""
    if target == "batch":
        chosen = [chance.choice(_events()) for _ in range(chance.randrange(1, 4))]
        place = chance.randrange(len(chosen))
        chosen[place] = _changed_field(chosen[place], chance, 3)
        return batch_body(chosen)
    changed = _changed_field(chance.choice(_events()), chance, 3)
    return changed if target == "text_event" else length_delimited(1, changed)


def _changed_field(message: bytes, chance: random.Random, depth: int) -> bytes:
    """A message with one field changed, at any depth, and its length made right."""
    try:
        fields = [field for field in fields_of(message) if field.wire_type == LEN and field.end <= len(message)]
    except MalformedError:
        fields = []
    if not fields or depth == 0 or chance.random() < 0.2:
        return _changed(message, (message,), chance)
    field = chance.choice(fields)
    inner = _changed_field(message[field.value : field.end], chance, depth - 1)
    # The tag stands right before the length; everything before it stays.
    tag = varint(field.number << 3 | LEN)
    start = message.rfind(tag, 0, field.value)
    return message[: max(0, start)] + length_delimited(field.number, inner) + message[field.end :]


def _changed(seed: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    changed = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(8):
            case 0 if at < len(changed):
                changed[at] = chance.randrange(256)
            case 1 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                del changed[at : at + chance.choice((1, 2, 8, 64))]
            case 3:
                changed[at:at] = changed[at : at + chance.choice((1, 4, 16, 200))]
            case 4:
                changed[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 5:
                del changed[at:]
            case 6:
                other = chance.choice(seeds)
                begin = chance.randrange(len(other) + 1)
                changed[at:] = other[begin:]
            case _:
                changed[at:at] = chance.choice(_TOKENS)
    return bytes(changed)
