"""What an explanation is made of: rows of the record, steps, runs, stitches, findings (DESIGN §7).

Everything here is data. The ones who make it are `ordering` (rows), `pairing` and `steps` (steps), `runs` (runs and stitches),
`tree` (nesting) and `findings`. Two kinds of number tie it together; both are deterministic, whatever the order of arrival:

- a *position* is an event's place in `Record.rows`, the explained order (oldest first);
- a *step number* is a step's place in `Explanation.steps`, ordered by the position of the step's first event.

Times are integers of nanoseconds since 1970 UTC, read from the client's `timestamp`; durations are milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from chaukas.spec.common.v1 import events_pb2

__all__ = [
    "Cost",
    "Edge",
    "EventRef",
    "EventRow",
    "Explanation",
    "Finder",
    "Finding",
    "FindingSeverity",
    "Nesting",
    "PairedBy",
    "Record",
    "Run",
    "RunKind",
    "RunOutcome",
    "SessionView",
    "Step",
    "StepError",
    "StepKind",
    "StepState",
    "Stitch",
    "StitchBy",
    "Tokens",
]


class StepKind(StrEnum):
    """What a step is; the value is the word used in answers."""

    SESSION = "session"
    AGENT = "agent"
    MODEL = "model"
    TOOL = "tool"
    MCP = "mcp"
    HANDOFF = "handoff"
    INPUT = "input"
    OUTPUT = "output"
    ERROR = "error"
    RETRY = "retry"
    POLICY = "policy"
    DATA_ACCESS = "data_access"
    STATE = "state"
    SYSTEM = "system"
    UNKNOWN = "unknown"  # an event type this release does not know


class Edge(StrEnum):
    """Which end of a step an event records."""

    START = "start"
    END = "end"
    POINT = "point"  # the event is the whole step


class StepState(StrEnum):
    """How much of a step the record holds."""

    CLOSED = "closed"  # a START and its END
    OPEN = "open"  # a START without an END
    HANDED_OFF = "handed_off"  # an agent's START without an END, but a handoff of that agent tells where its work ended
    ORPHANED = "orphaned"  # an END without a START
    DOUBLED = "doubled"  # more than one START or END: what belongs to what cannot be told
    POINT = "point"  # an event that has no counterpart by nature


class PairedBy(StrEnum):
    """What tied an END to its START."""

    SPAN = "span"  # the same span_id
    IDS = "ids"  # the same tool call id, response id or invocation id
    PARENT = "parent"  # the END names a foreign span, but parent, session, trace, kind and agent are those of one open START
    ORDER = "order"  # one open START of that kind, name and session is left: the order says so
    HANDOFF = "handoff"  # no END: the agent gave the work away, and the handoff closes it
    NOTHING = "nothing"  # not paired, or a point


class Nesting(StrEnum):
    """What placed a step inside another one in the tree."""

    PARENT = "parent"  # parent_span_id is the other's span
    AGENT = "agent"  # flat record: the only step of that agent which was under way in that run
    NAME = "name"  # an MCP call of the tool that was under way
    CONTENT = "content"  # an agent's output is, word for word, what the tool that was under way returned
    NOTHING = "nothing"  # a root


class StitchBy(StrEnum):
    """The evidence that made one run out of two parts. Time alone is never one."""

    SPAN = "span"
    PARENT = "parent"  # one is the recorded parent of the other, or both name the same parent
    IDS = "ids"  # invocation_id, response_id or tool call id
    HANDOFF = "handoff"  # a handoff names the agent that starts the other part, and no other part fits
    CONTENT = "content"  # a model call's prompt holds the text of one, and only one, untied input
    TRACE = "trace"
    SESSION = "session"


class RunKind(StrEnum):
    """A run has an input, a session start or an agent's whole work; a fragment is what nothing but time would tie to a run."""

    RUN = "run"
    FRAGMENT = "fragment"


class RunOutcome(StrEnum):
    """How a run ended, as far as the record shows."""

    ANSWERED = "answered"  # an output, and no error after it
    FAILED = "failed"  # an error, and no output after it
    CLOSED = "closed"  # neither, but everything that started has ended
    UNFINISHED = "unfinished"  # neither, and something is still open: the record stops


class FindingSeverity(StrEnum):
    """How much a finding matters: INFO explains, WARN asks for a look, ERROR contradicts what should have happened."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(slots=True, eq=False)
class EventRow:
    """One event of the record with the fields that explanations read again and again; made by `ordering`, never changed after.

    `event` is the caller's own message: it is read, never written. `log_index` is the index in `worm_proof_id`
    (`<origin>#<index>`), None where the answer carries none. `received_ns` is the server's time of receipt (field 1000), None
    where it is absent.
    """

    position: int
    event: events_pb2.Event
    event_id: str
    type: int
    kind: StepKind
    edge: Edge
    status: int
    time_ns: int
    session_id: str
    trace_id: str
    span_id: str
    parent_span_id: str
    agent_id: str
    agent_name: str
    invocation_id: str
    response_id: str
    content: str  # name of the content field that is set: "message", "tool_call", ...; empty when none is
    log_index: int | None
    received_ns: int | None

    @property
    def ref(self) -> EventRef:
        """The event as findings and sentences cite it."""
        return EventRef(self.event_id, self.position, self.log_index)


@dataclass(frozen=True, slots=True)
class EventRef:
    """A citation: the event's id, its position in the explained order, and its index in the log when the answer told it."""

    event_id: str
    position: int
    log_index: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The events of one explanation in their total order: duplicates dropped, oldest first.

    `by_event_id` leads from an event id to its position. `duplicates` counts the copies that were dropped.
    """

    rows: tuple[EventRow, ...]
    by_event_id: Mapping[str, int]
    duplicates: int

    def refs(self, positions: tuple[int, ...] | list[int]) -> tuple[EventRef, ...]:
        """Citations of several positions, in the order given."""
        return tuple(self.rows[position].ref for position in positions)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts of a model call, or the sum over a run; a count that the record lacks is None, never 0."""

    prompt: int | None
    completion: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the record says a step cost, in `currency` (empty when it was not told)."""

    total: float
    currency: str


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step counts as failed.

    `shown_by` is the evidence: `status` (FAILED), `error` (ErrorInfo or ToolResponse.error_message), `http_status` (400 and
    above) or `output` (a step that ended as completed, but whose output says in a known form that it is an error).
    """

    message: str
    code: str
    shown_by: str
    position: int


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened between a START and an END, or at one event.

    `start` and `end` are positions of the two events (a point has only `start`; an orphaned END only `end`); `events` are all
    positions of the step, in order: for a doubled step more than two, and then `end` is the END that fits its START best, or the
    first. `name` is the tool, model, agent, MCP tool or operation, receiving agent, policy, data source or error code, taken from
    the START when the END does not tell it. `parent` is the step whose span is `parent_span_id`, None when it names none or none
    is recorded. `within` is where the tree shows the step: the parent, or a closer one (`nested_by` tells why).
    `duration_ms` is the difference of the two times, None when it is not certain (open, doubled, END before START); where one
    end is missing it is what the event itself says it took. `errors` and `retries` are step numbers of the ERROR and RETRY events
    that concern this step. `stopped_by` is the error or handoff after which a step without END was never heard of again.
    """

    number: int
    kind: StepKind
    name: str
    model: str
    agent_id: str
    agent_name: str
    span_id: str
    parent_span_id: str
    start: int | None
    end: int | None
    events: tuple[int, ...]
    state: StepState
    paired_by: PairedBy
    status: int  # EventStatus of the END, of the point, or STARTED while open
    started_ns: int | None
    ended_ns: int | None
    duration_ms: float | None
    parent: int | None
    within: int | None
    nested_by: Nesting
    run: int
    tokens: Tokens | None
    cost: Cost | None
    error: StepError | None
    errors: tuple[int, ...]
    retries: tuple[int, ...]
    stopped_by: int | None

    @property
    def first(self) -> int:
        """Position of the step's first event."""
        return self.events[0]

    @property
    def failed(self) -> bool:
        """Whether the record says that the step failed."""
        return self.error is not None


@dataclass(frozen=True, slots=True)
class Stitch:
    """Parts of a run that one piece of evidence joined: `steps` share `value` (a span id, a trace id, an agent's name, ...).

    Only evidence that actually joined parts is listed, the strongest first; that weaker ids agree as well is not repeated. Where
    only steps of another run connect two parts, `by` and `value` are the weakest evidence on that way.
    """

    by: StitchBy
    value: str
    steps: tuple[int, ...]
    events: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One piece of work: what an input set off, as far as ids and contents tie it together.

    `id` is stable: the event id of the run's first event. `steps` are in order, `roots` those that the tree shows at the
    top. `sessions` and `traces` are the ids that its events carry, in order of appearance. `inputs`, `outputs` and `errors` are
    step numbers. `tokens` are sums over the model calls that tell them, `cost` over all steps: None where none
    does, and where currencies differ.
    """

    number: int
    id: str
    kind: RunKind
    outcome: RunOutcome
    steps: tuple[int, ...]
    roots: tuple[int, ...]
    events: tuple[int, ...]
    stitches: tuple[Stitch, ...]
    sessions: tuple[str, ...]
    traces: tuple[str, ...]
    agents: tuple[str, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    errors: tuple[int, ...]
    started_ns: int
    ended_ns: int
    tokens: Tokens | None
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as it was recorded: the events that carry its id, and the runs that they fell into."""

    session_id: str
    events: tuple[int, ...]
    runs: tuple[int, ...]
    starts: int  # SESSION_START events
    ends: int  # SESSION_END events


@dataclass(frozen=True, slots=True)
class Finding:
    """Something missing, contradictory or against policy. `code` is stable; `docs/findings.md` lists them all.

    `sentence` is one sentence for a person; `details` holds values that programs may want (strings, numbers, lists of them).
    """

    code: str
    severity: FindingSeverity
    sentence: str
    events: tuple[EventRef, ...]
    run: int | None = None
    steps: tuple[int, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Record, steps, runs and sessions, with what the finders found; every list deterministic for the same set of events."""

    record: Record
    steps: tuple[Step, ...]
    runs: tuple[Run, ...]
    sessions: tuple[SessionView, ...]
    findings: tuple[Finding, ...] = ()

    def event(self, position: int) -> events_pb2.Event:
        """The protobuf event at a position."""
        return self.record.rows[position].event

    def steps_of(self, run: Run) -> tuple[Step, ...]:
        """The steps of a run, in order."""
        return tuple(self.steps[number] for number in run.steps)


class Finder(Protocol):
    """A hook that looks for one kind of finding. It must be pure and deterministic, and must not change what it is given."""

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that this finder may report; a code belongs to one finder only."""
        ...

    def find(self, explanation: Explanation) -> list[Finding]:
        """Everything found in a whole explanation (whose `findings` are still empty); sorting is the caller's part."""
        ...
