"""Worlds with one thing wrong: what was planted, the code that must tell it, and the events that must be cited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaukas.spec.common.v1 import events_pb2
from chaukas.spec.common.v1.events_pb2 import Event

from .agents import Stage
from .facts import Text
from .plots import Known, Plot, hands_off, lookup
from .styles import STYLES
from .worlds import World, make_world

__all__ = ["FAULTS", "Faulty"]

_T = events_pb2
_MS = 1_000_000
_CHAT = next(style for style in STYLES if style.name == "chat with call ids")
_FLAT = next(style for style in STYLES if style.name == "flat chat with call ids")


@dataclass(frozen=True)
class Faulty:
    """Events with a fault. `code` must be found, and cite `events`; `also` are codes that follow from the same fault."""

    code: str
    events: Sequence[Event]
    cited: frozenset[str]
    also: frozenset[str] = frozenset()


Fault = Callable[[int], Faulty]


def _faulty(code: str, events: Sequence[Event], cited: Sequence[Event], also: str = "") -> Faulty:
    return Faulty(code, events, frozenset(event.event_id for event in cited), frozenset(also.split()))


def _copies(world: World) -> list[Event]:
    events = []
    for event in world.events:
        copy = Event()
        copy.CopyFrom(event)
        events.append(copy)
    return events


def _of(events: Sequence[Event], kind: str) -> list[Event]:
    return [event for event in events if event.type == getattr(_T, f"EVENT_TYPE_{kind}")]


def _single(seed: int, *plots: Plot) -> World:
    """One turn, in the style of the seed."""
    return make_world(seed, plots=[list(plots)])


def _later(event: Event, ms: float) -> None:
    event.timestamp.FromNanoseconds(event.timestamp.ToNanoseconds() + int(ms * _MS))


def _added(events: list[Event], after: Event, event: Event, **fields: str) -> Event:
    """A further event a little after another one."""
    copy = Event()
    copy.CopyFrom(event)
    copy.event_id = f"added-{len(events)}-{event.event_id}"
    for name, value in fields.items():
        setattr(copy, name, value)
    copy.timestamp.CopyFrom(after.timestamp)
    _later(copy, 0.2)
    events.insert(events.index(after) + 1, copy)
    return copy


def open_agent(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    lost = _of(events, "AGENT_END")[-1]
    return _faulty("OPEN_SPAN", [event for event in events if event is not lost], _of(events, "AGENT_START")[-1:])


def lost_start(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    lost = _of(events, "MODEL_INVOCATION_START")[-1]
    return _faulty("ORPHAN_END", [event for event in events if event is not lost], _of(events, "MODEL_INVOCATION_END")[-1:])


def second_end(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    end = _of(events, "MODEL_INVOCATION_END")[-1]
    return _faulty("TWO_ENDS", events, [end, _added(events, end, end)])


def misplaced_end(seed: int) -> Faulty:
    """An END with the span of another agent; its own agent, parent and session are those of one open START."""
    events = _copies(make_world(seed, style=_FLAT, plots=[[hands_off]]))
    one, other = _of(events, "AGENT_START")
    (end,) = _of(events, "AGENT_END")
    first_end = _added(events, end, end, span_id=other.span_id, agent_id=one.agent_id, agent_name=one.agent_name)
    return _faulty("MISPLACED_END", events, [one, first_end])


def reversed_times(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    start, end = _of(events, "MODEL_INVOCATION_START")[-1], _of(events, "MODEL_INVOCATION_END")[-1]
    end.timestamp.CopyFrom(start.timestamp)
    _later(end, -0.4)
    return _faulty("END_BEFORE_START", events, [start, end])


def skewed_end(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    start, end = _of(events, "MODEL_INVOCATION_START")[-1], _of(events, "MODEL_INVOCATION_END")[-1]
    end.timestamp.CopyFrom(start.timestamp)
    _later(end, -5_000)
    return _faulty("CLOCK_SKEW", events, [start, end], "END_BEFORE_START")


def client_ahead(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    for event in events:
        event.server_timestamp.FromNanoseconds(event.timestamp.ToNanoseconds() + 90 * _MS)
    ahead = events[-1 - seed % 4]
    ahead.server_timestamp.FromNanoseconds(ahead.timestamp.ToNanoseconds() - 600_000 * _MS)
    return _faulty("CLOCK_SKEW", events, [ahead])


def unknown_parent(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    start = _of(events, "MODEL_INVOCATION_START")[0]
    fields = {"parent_span_id": "a span of no event", "span_id": "a span of its own"}
    system = _added(
        events, start, Event(**{name: getattr(start, name) for name in ("tenant_id", "project_id", "session_id")}), **fields
    )
    system.trace_id, system.type, system.status = start.trace_id, _T.EVENT_TYPE_SYSTEM, _T.EVENT_STATUS_COMPLETED
    return _faulty("ORPHAN_PARENT", events, [system])


def lost_number(seed: int) -> Faulty:
    events = _copies(make_world(seed, style=_CHAT if seed % 2 else _FLAT, plots=[[lookup]]))
    lost = 2 + seed % (len(events) - 3)
    for number, event in enumerate(events):
        event.metadata.fields["sequence"].number_value = number + (number >= lost)
    return _faulty("SEQUENCE_GAP", events, events[lost - 1 : lost + 1])


def lost_attempt(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    end = _of(events, "MODEL_INVOCATION_END")[0]
    names = ("tenant_id", "project_id", "session_id", "trace_id", "parent_span_id", "agent_id", "agent_name")
    retries = []
    for attempt in (3, 1):
        retry = _added(events, end, Event(**{name: getattr(end, name) for name in names}), span_id=f"retry {attempt}")
        retry.type, retry.retry.attempt = _T.EVENT_TYPE_RETRY, attempt
        _later(retry, attempt / 10)
        retries.append(retry)
    return _faulty("SEQUENCE_GAP", events, retries[:1])


def broken_stream(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    output = _of(events, "OUTPUT_EMITTED")[-1]
    words = output.message.text.split(" ")
    parts = [_added(events, output, output) for _ in range(2)]
    for place, part in enumerate((output, parts[1], parts[0])):
        part.is_partial, part.is_final = True, False
        part.message.text = " ".join(words[place::3])
        _later(part, place / 10)
    return _faulty("SEQUENCE_GAP", events, [output, *parts])


def nobody_asked(seed: int) -> Faulty:
    """An answer whose question was lost."""
    events = [event for event in _copies(_single(seed, lookup)) if event.type != _T.EVENT_TYPE_INPUT_RECEIVED]
    return _faulty("OUTPUT_WITHOUT_INPUT", events, _of(events, "OUTPUT_EMITTED")[:1])


def killed(seed: int) -> Faulty:
    """The record stops in the middle of a model call."""
    events = _copies(_single(seed, lookup))
    last = _of(events, "MODEL_INVOCATION_START")[-1]
    kept = events[: events.index(last) + 1]
    return _faulty("INPUT_WITHOUT_OUTPUT", kept, [*_of(kept, "INPUT_RECEIVED"), last], "OPEN_SPAN")


def wrong_total(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    end = _of(events, "MODEL_INVOCATION_END")[seed % 2]
    end.llm_invocation.total_tokens += 1 + seed % 50
    return _faulty("TOKENS_DO_NOT_ADD_UP", events, [end])


def handoff_to_nobody(seed: int) -> Faulty:
    events = _copies(_single(seed, lookup))
    end = _of(events, "MODEL_INVOCATION_END")[0]
    names = ("tenant_id", "project_id", "session_id", "trace_id", "parent_span_id", "agent_id", "agent_name")
    handoff = _added(events, end, Event(**{name: getattr(end, name) for name in names}), span_id="handoff")
    handoff.type = _T.EVENT_TYPE_AGENT_HANDOFF
    handoff.agent_handoff.from_agent_id = end.agent_id
    handoff.agent_handoff.to_agent_id = "Nobody Agent"
    return _faulty("HANDOFF_TO_NOBODY", events, [handoff])


def _played(seed: int, code: str, plot: Callable[[Stage, Known], list[str]], also: str = "") -> Faulty:
    """A fault that is a plot of its own: it returns the ids of the events that must be cited."""
    cited: list[str] = []

    def played(stage: Stage, known: Known) -> None:
        cited.extend(plot(stage, known))

    style = _CHAT if seed % 2 else _FLAT
    world = make_world(seed, style=style, plots=[[lookup, played] if seed % 3 else [played]])
    return Faulty(code, world.events, frozenset(cited), frozenset(also.split()))


def unasked_tool(seed: int) -> Faulty:
    def plot(stage: Stage, known: Known) -> list[str]:
        _, asked_by = stage.model("", [stage.call("list_news", {"limit": 10})])
        stage.use(stage.messages[-1].calls[0], asked_by, {"status": "ok"})
        call = stage.call("delete_account", {"account": known.asked[0]})
        span = stage.start_tool(call, "")
        start = stage.record.events[-1].event_id
        stage.record.emit(
            "TOOL_CALL_END",
            "given",
            span=span,
            parent=stage.parent,
            agent=stage.agent,
            toolResponse={"output": {"output": "done"}},
        )
        return [start]

    return _played(seed, "TOOL_NOT_REQUESTED", plot)


def ignored_error(seed: int) -> Faulty:
    def plot(stage: Stage, known: Known) -> list[str]:
        call = stage.call("check_stock", {"order": known.asked[0]})
        _, asked_by = stage.model("", [call])
        span = stage.start_tool(call, asked_by)
        return [stage.end_tool(call, span, "", error=Text.of("shard 10 refused"))]

    return _played(seed, "TOOL_ERROR_IGNORED", plot)


def denied_yet_ran(seed: int) -> Faulty:
    def plot(stage: Stage, known: Known) -> list[str]:
        call = stage.call("refund_order", {"order": known.asked[0]})
        _, asked_by = stage.model("", [call])
        policy = {"policyId": "refunds", "outcome": stage.rng.choice(("deny", "blocked", "Denied"))}
        metadata = {"tool": "refund_order"}
        decided = stage.record.emit("POLICY_DECISION", parent=stage.parent, agent=stage.agent, policy=policy, metadata=metadata)
        span = stage.start_tool(call, asked_by)
        start = stage.record.events[-1].event_id
        stage.end_tool(call, span, {"status": "ok"})
        return [decided, start]

    return _played(seed, "DENIED_ACTION_RAN", plot)


def unasked_personal_data(seed: int) -> Faulty:
    def plot(stage: Stage, known: Known) -> list[str]:
        call = stage.call("read_customer", {"customer": known.asked[0]})
        _, asked_by = stage.model("", [call])
        span = stage.start_tool(call, asked_by)
        with stage.inside(span):
            access = {"datasource": "crm", "piiCategories": ["NAME", "EMAIL"]}
            read = stage.record.emit("DATA_ACCESS", parent=stage.parent, agent=stage.agent, dataAccess=access)
        stage.end_tool(call, span, {"status": "ok"})
        return [read]

    return _played(seed, "PERSONAL_DATA_WITHOUT_DECISION", plot)


def exhausted(seed: int) -> Faulty:
    """Attempts that all failed, and an error instead of an answer."""
    events = _copies(_single(seed, lookup))
    start = _of(events, "MODEL_INVOCATION_START")[-1]
    ended = {_T.EVENT_TYPE_AGENT_END, _T.EVENT_TYPE_SESSION_END}
    events = [
        event for event in events if event.timestamp.ToNanoseconds() <= start.timestamp.ToNanoseconds() or event.type in ended
    ]
    names = ("tenant_id", "project_id", "session_id", "trace_id", "agent_id", "agent_name")
    told = []
    for attempt in (3, 2, 1):
        event = _added(events, start, Event(**{name: getattr(start, name) for name in names}), span_id=f"attempt {attempt}")
        event.parent_span_id = start.parent_span_id
        _later(event, attempt / 10)
        told.append(event)
        if attempt == 3:
            event.type, event.error.error_message = _T.EVENT_TYPE_ERROR, "429 too many requests"
        else:
            event.type, event.retry.attempt = _T.EVENT_TYPE_RETRY, attempt
    return _faulty("RETRIES_EXHAUSTED", events, told[:2], "OPEN_SPAN")


FAULTS: tuple[Fault, ...] = (
    open_agent,
    lost_start,
    second_end,
    misplaced_end,
    reversed_times,
    skewed_end,
    client_ahead,
    unknown_parent,
    lost_number,
    lost_attempt,
    broken_stream,
    nobody_asked,
    killed,
    wrong_total,
    handoff_to_nobody,
    unasked_tool,
    ignored_error,
    denied_yet_ran,
    unasked_personal_data,
    exhausted,
)
