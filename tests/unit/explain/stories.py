"""A builder of small sessions: each call of `add` is one event, a millisecond after the one before it unless told otherwise."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from chaukas.spec.common.v1 import events_pb2
from chaukas.spec.common.v1.events_pb2 import Event

MS = 1_000_000
START_NS = 1_790_000_000 * 1_000_000_000

#: Status by the end of an event type's name.
_STATUS = {"START": events_pb2.EVENT_STATUS_STARTED}


class Story:
    """Events of one session, in the order they were added."""

    def __init__(self, session: str = "session-1", trace: str = "trace-1") -> None:
        self.session, self.trace = session, trace
        self.events: list[Event] = []
        self.now_ms = 0.0

    def add(
        self, kind: str, span: str = "", parent: str = "", *, at: float | None = None, agent: str = "", **fields: Any
    ) -> Event:
        """Add `EVENT_TYPE_<kind>` at a time in milliseconds. Other keywords are fields; dicts become messages."""
        self.now_ms = self.now_ms + 1 if at is None else at
        time_ns = START_NS + int(self.now_ms * MS)
        event = Event(
            event_id=fields.pop("id", f"{self.session}/{len(self.events)}"),
            tenant_id="acme",
            project_id="shop",
            session_id=fields.pop("session", self.session),
            trace_id=fields.pop("trace", self.trace),
            span_id=span or f"own-{self.session}-{len(self.events)}",
            parent_span_id=parent,
            type=getattr(events_pb2, f"EVENT_TYPE_{kind}"),
            status=fields.pop("status", _STATUS.get(kind.rsplit("_", 1)[-1], events_pb2.EVENT_STATUS_COMPLETED)),
            agent_id=agent,
            agent_name=agent,
        )
        event.timestamp.FromNanoseconds(time_ns)
        json_format.ParseDict(fields, event)
        self.events.append(event)
        return event

    def session_start(self, span: str = "root", **fields: Any) -> Event:
        return self.add("SESSION_START", span, **fields)

    def session_end(self, span: str = "root", **fields: Any) -> Event:
        return self.add("SESSION_END", span, **fields)

    def input(self, text: str = "Where is order 48213?", parent: str = "root", **fields: Any) -> Event:
        return self.add("INPUT_RECEIVED", parent=parent, message={"role": "user", "text": text}, **fields)

    def output(self, text: str = "It is in transit.", parent: str = "root", **fields: Any) -> Event:
        return self.add("OUTPUT_EMITTED", parent=parent, message={"role": "assistant", "text": text}, **fields)

    def tool(
        self, name: str, span: str, parent: str = "root", output: object = "done", agent: str = "Ann", **fields: Any
    ) -> None:
        """A START and its END; the END holds the output, or the `error` that is given."""
        if "error" not in fields:
            fields["tool_response"] = {"output": {"output": output}}
        self.add("TOOL_CALL_START", span, parent, agent=agent, tool_call={"id": f"id-{span}", "name": name})
        self.add("TOOL_CALL_END", span, parent, agent=agent, **fields)

    def model(self, span: str, parent: str = "root", agent: str = "Ann", request: Any = None, **call: Any) -> None:
        """A START with a request and an END with the rest of the call."""
        start = {"model": "m-1"} | ({} if request is None else {"request": request})
        self.add("MODEL_INVOCATION_START", span, parent, agent=agent, llm_invocation=start)
        self.add("MODEL_INVOCATION_END", span, parent, agent=agent, llm_invocation={"model": "m-1", **call})


def clean_run(
    session: str = "session-1", root: str = "root", text: str = "Where is order 48213?", begins: float = 0
) -> list[Event]:
    """A run as integrations record it: flat under the session's span, the tool asked for by the model, everything closed."""
    story = Story(session, f"trace of {session}")
    story.now_ms = begins
    story.session_start(root)
    story.input(text, root)
    story.add("AGENT_START", f"{root}-a", root, agent="Ann")
    asks = {"tool_calls": [{"id": f"id-{root}-t", "type": "function", "function": {"name": "lookup_order", "arguments": "{}"}}]}
    story.model(f"{root}-m1", root, response=asks, promptTokens=10, completionTokens=5, totalTokens=15)
    story.tool("lookup_order", f"{root}-t", root, output="in transit")
    story.model(f"{root}-m2", root, response={"content": "It is in transit."}, totalTokens=40)
    story.add("AGENT_END", f"{root}-a", root, agent="Ann")
    story.output("It is in transit.", root)
    story.session_end(root)
    for number, event in enumerate(story.events):
        event.event_id = f"{session}/{root}/{number}"
        if event.span_id.startswith("own-"):
            event.span_id = f"own-{session}-{root}-{number}"
    return story.events
