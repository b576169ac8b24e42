"""Sessions with holes: the shape of one agent session, serialised once, with slots for what differs between sessions.

A session has 20 events, as recorded sessions of agent frameworks do in kind: the input, session and agent start, four model
calls with three tool calls between them, agent end, output, session end. A template fixes lengths, nesting, numbers and
the distances in time; ids, times, the tenant and all running text are slots of a fixed width that `workload` overwrites.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field

from bench.encoding import StructValue, boolean, double, length_delimited, struct_value, text, varint, varint_field

__all__ = ["EVENTS_PER_SESSION", "PROJECT", "SessionTemplate", "build_template"]

EVENTS_PER_SESSION = 20
PROJECT = "bench"

TENANT_BYTES = 11
ID_BYTES = 36
TIME_BYTES = 12
TOKEN_BYTES = 24

_MARK = re.compile(rb"\xff(\d{4})\xfe*")

_AGENTS = ("Support Agent", "Claims Reviewer", "Purchase Desk", "Incident Desk", "Contract Reader", "Night Auditor")
_MODELS = (("openai", "gpt-4o-mini"), ("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4"), ("google", "gemini-2.5-flash"))
_TOOLS = ("lookup_order", "search_policy", "list_prices", "update_ticket", "read_log", "count_stock", "send_mail")
_INSTRUCTIONS = (
    (
        "You help customers of a web shop. Look every order up before you speak about it, quote the rule that you apply, and "
        "pass anything above two hundred euros on to a person."
    ),
    (
        "You check claims against the policy. List which papers are missing, decide, and give reasons that somebody without "
        "training can follow."
    ),
    "You buy parts. Compare at least two offers, say what you assumed, and never sign anything.",
    (
        "You look for the cause of a fault. Read logs and figures only through the tools, keep a timeline, and name what "
        "speaks against your own conclusion."
    ),
)


@dataclass(slots=True)
class SessionTemplate:
    """One session in bytes, and where its slots lie.

    `body` is the events as they stand in an `EventBatch`: 20 times key, length, event. Slots are numbered; the same slot may
    lie at several places, as a span stands in its START and its END.
    """

    body: bytes
    #: (first byte of the key, first byte of the event, end) of each event.
    frames: list[tuple[int, int, int]]
    #: Distance in microseconds from the start of the session at which each id was made.
    id_offsets_us: list[int]
    #: Slot number -> places in `body`; `id_places[0]` is the session, `[1]` the trace.
    id_places: list[list[int]]
    #: (distance from the start of the session in microseconds, places).
    times: list[tuple[int, list[int]]]
    #: (width, places) of running text.
    texts: list[tuple[int, list[int]]]
    #: Places of hexadecimal tokens, `TOKEN_BYTES` wide.
    token_places: list[list[int]]
    tenant_places: list[int]
    #: Id slots of the spans, that of the turn first.
    span_ids: list[int]
    duration_us: int
    agent: str


@dataclass(slots=True)
class _Builder:
    """Collects slots while the events are written."""

    rng: random.Random
    agent: str
    tags: tuple[str, ...]
    clock_us: int = 0
    slots: list[tuple[str, int, int]] = field(default_factory=list)  # kind, width, distance in microseconds
    frames: list[bytes] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)

    def slot(self, kind: str, width: int) -> bytes:
        """Bytes that stand for the slot and can be told from everything else in a template."""
        number = len(self.slots)
        self.slots.append((kind, width, self.clock_us))
        return b"\xff" + b"%04d" % number + b"\xfe" * (width - 5)

    def identifier(self) -> bytes:
        return self.slot("id", ID_BYTES)

    def span(self) -> bytes:
        self.spans.append(len(self.slots))
        return self.identifier()

    def words(self, low: int, high: int) -> bytes:
        return self.slot("text", self.rng.randint(low, high))

    def token(self) -> bytes:
        return self.slot("token", TOKEN_BYTES)

    def wait(self, low_us: int, high_us: int) -> None:
        self.clock_us += self.rng.randint(low_us, high_us)


def build_template(seed: int, number: int) -> SessionTemplate:
    """The template `number`; the same arguments give the same bytes in every process."""
    rng = random.Random(f"template/{seed}/{number}")
    agent = _AGENTS[number % len(_AGENTS)]
    tags = (agent.lower().replace(" ", "-"), rng.choice(("prod", "prod", "prod", "staging")), rng.choice(("eu", "us", "apac")))
    builder = _Builder(rng, agent, tags)
    _write_session(builder)
    body = b"".join(builder.frames)
    places: list[list[int]] = [[] for _ in builder.slots]
    for match in _MARK.finditer(body):
        slot = int(match[1])
        if len(match[0]) != builder.slots[slot][1]:
            raise AssertionError(f"slot {slot} of template {number} is damaged")
        places[slot].append(match.start())

    def of(kind: str) -> list[int]:
        return [slot for slot, (slot_kind, _, _) in enumerate(builder.slots) if slot_kind == kind]

    ids = of("id")
    ends, position = [], 0
    for frame in builder.frames:
        ends.append((position, position + 1 + len(varint(len(frame) - 3)), position + len(frame)))
        position += len(frame)
    return SessionTemplate(
        body=body,
        frames=ends,
        id_offsets_us=[builder.slots[slot][2] for slot in ids],
        id_places=[places[slot] for slot in ids],
        times=[(builder.slots[slot][2], places[slot]) for slot in of("time")],
        texts=[(builder.slots[slot][1], places[slot]) for slot in of("text")],
        token_places=[places[slot] for slot in of("token")],
        tenant_places=places[of("tenant")[0]],
        span_ids=[ids.index(slot) for slot in builder.spans],
        duration_us=builder.clock_us,
        agent=agent,
    )


@dataclass(slots=True)
class _Common:
    """What all events of a session share."""

    session: bytes
    trace: bytes
    tenant: bytes
    invocation: bytes


# Numbers of the contract's enums: EventType, EventStatus, Author; severity is INFO as recorded clients have it.
_SESSION_START, _SESSION_END, _AGENT_START, _AGENT_END = 1, 2, 10, 11
_MODEL_START, _MODEL_END, _TOOL_START, _TOOL_END, _INPUT, _OUTPUT = 20, 21, 22, 23, 30, 31
_STARTED, _COMPLETED = 1, 3
_USER, _AGENT, _TOOL, _SYSTEM, _LLM = 1, 2, 3, 4, 5
_INFO = 2


def _write_session(b: _Builder) -> None:
    common = _Common(b.identifier(), b.identifier(), b.slot("tenant", TENANT_BYTES), b.identifier())
    turn, session, agent = b.span(), b.span(), b.span()
    question = b.words(180, 420)
    _event(b, common, _INPUT, turn, b"", _COMPLETED, _USER, length_delimited(30, text(1, "user") + text(2, question)))
    b.wait(40, 400)
    start: dict[str, StructValue] = {
        "user": b.token(),
        "release": f"2026.{b.rng.randint(1, 9)}.{b.rng.randint(0, 30)}",
        "goal": b.words(60, 140),
    }
    _event(b, common, _SESSION_START, session, turn, _STARTED, _SYSTEM, length_delimited(90, struct_value(start)))
    b.wait(40, 400)
    instructions = b.rng.choice(_INSTRUCTIONS)
    provider, model = b.rng.choice(_MODELS)
    made: dict[str, StructValue] = {"model": model, "instructions": instructions, "max_turns": 10, "temperature": 0.2}
    _event(b, common, _AGENT_START, agent, session, _STARTED, _AGENT, length_delimited(90, struct_value(made)))
    history: list[tuple[str, bytes]] = [("system", instructions.encode()), ("user", question)]
    for turn_number in range(4):
        _write_model_call(b, common, agent, (provider, model), history, last=turn_number == 3)
        if turn_number < 3:
            history = [*history[:2], *history[2:][-1:], ("tool", _write_tool_call(b, common, agent))]
    b.wait(200, 2_000)
    _event(b, common, _AGENT_END, agent, session, _COMPLETED, _AGENT, length_delimited(90, struct_value({"turns": 4})))
    b.wait(40, 400)
    closing = text(1, "assistant") + text(2, b.words(480, 860))
    _event(b, common, _OUTPUT, turn, agent, _COMPLETED, _AGENT, boolean(17, True), length_delimited(30, closing))
    b.wait(40, 400)
    ended = length_delimited(90, struct_value({"success": True}))
    _event(b, common, _SESSION_END, session, turn, _COMPLETED, _SYSTEM, ended)


def _write_model_call(
    b: _Builder, common: _Common, parent: bytes, model: tuple[str, str], history: list[tuple[str, bytes]], *, last: bool
) -> None:
    span = b.span()
    b.wait(1_000, 9_000)
    messages: list[StructValue] = [{"role": role, "content": content} for role, content in history]
    messages.append({"role": "user", "content": b.words(620, 1_120)})
    request = struct_value({"messages": messages, "tools": list(_TOOLS[: b.rng.randint(3, 7)])})
    asked = text(1, model[0]) + text(2, model[1]) + length_delimited(3, request) + double(8, 0.2) + varint_field(9, 2048)
    _event(b, common, _MODEL_START, span, parent, _STARTED, _LLM, length_delimited(33, asked))
    began = b.clock_us
    b.wait(150_000, 900_000)
    answer = b.words(440, 800)
    read, written = b.rng.randint(400, 2_400), b.rng.randint(80, 400)
    result = text(1, model[0]) + text(2, model[1]) + length_delimited(4, struct_value({"role": "assistant", "content": answer}))
    result += varint_field(5, read) + varint_field(6, written) + varint_field(7, read + written)
    result += double(15, (b.clock_us - began) / 1_000) + text(16, "stop" if last else "tool_calls")
    response_id = text(15, b"resp_" + b.token())
    _event(b, common, _MODEL_END, span, parent, _COMPLETED, _LLM, response_id, length_delimited(33, result))


def _write_tool_call(b: _Builder, common: _Common, parent: bytes) -> bytes:
    span, call, tool = b.span(), b"call_" + b.token(), b.rng.choice(_TOOLS)
    b.wait(400, 3_000)
    arguments: dict[str, StructValue] = {
        "query": b.words(60, 140),
        "customer": b.token(),
        "limit": b.rng.randint(1, 50),
        "dry_run": False,
    }
    asked = text(1, call) + text(2, tool) + length_delimited(3, struct_value(arguments))
    _event(b, common, _TOOL_START, span, parent, _STARTED, _TOOL, length_delimited(31, asked))
    b.wait(5_000, 400_000)
    rows: list[StructValue] = []
    pieces = []
    for _ in range(b.rng.randint(3, 6)):
        reference, note = b.token(), b.words(66, 140)
        state, amount = b.rng.choice(("open", "closed", "pending", "in transit")), round(b.rng.random() * 900, 2)
        rows.append({"id": reference, "status": state, "amount": amount, "currency": "EUR", "note": note})
        printed = json.dumps({"id": "@", "status": state, "amount": amount, "note": "#"})
        pieces.append(printed.encode().replace(b"@", reference).replace(b"#", note))
    output = struct_value({"rows": rows, "total": b.rng.randint(3, 400)})
    result = text(1, call) + length_delimited(2, output) + double(4, b.rng.randint(5_000, 400_000) / 1_000)
    _event(b, common, _TOOL_END, span, parent, _COMPLETED, _TOOL, length_delimited(32, result))
    # The next model call shows the model what the tool said; only the beginning, so that events stay near 1.1 kB.
    return pieces[0]


def _event(
    b: _Builder, common: _Common, kind: int, span: bytes, parent: bytes, status: int, author: int, *content: bytes
) -> None:
    """Append one event. `content` holds the fields behind `branch` or between, each complete and in order of number."""
    time = b.slot("time", TIME_BYTES)
    named = kind not in {_SESSION_START, _SESSION_END, _INPUT, _OUTPUT}
    between = [part for part in content if _number(part) < 22]
    behind = [part for part in content if _number(part) > 23]
    event = b"".join(
        (
            text(1, b.identifier()),
            text(2, common.tenant),
            text(3, PROJECT),
            text(4, common.session),
            text(5, span),
            text(6, parent),
            varint_field(7, kind),
            varint_field(8, _INFO),
            varint_field(9, status),
            varint_field(10, author),
            length_delimited(11, time),
            text(12, b.agent if named else b""),
            text(13, b.agent if named else b""),
            text(14, common.invocation),
            *between,
            *(text(22, tag) for tag in b.tags),
            text(23, common.trace),
            *behind,
        )
    )
    b.frames.append(length_delimited(3, event))


def _number(part: bytes) -> int:
    """Field number of an encoded field; 99 for nothing at all."""
    if not part:
        return 99
    return part[0] >> 3 if part[0] < 128 else (part[0] & 127 | part[1] << 7) >> 3
