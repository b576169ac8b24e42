"""What happens in a turn: each plot is something that an agent does, with everything known about who was told what by whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .agents import Stage
from .facts import Fact, Text
from .record import CONTENT, EXPLICIT
from .styles import Message

__all__ = ["PLOTS", "Known", "Plot"]

_FOOTER = "This message was generated automatically and is valid without a signature."
_LET_ME_SEE = "Let me look that up for you."


class Known:
    """What the agent of a turn knows: `asked` from the input, `learned` since, and whole `passages` that it may copy."""

    def __init__(self, asked: list[Fact]) -> None:
        self.asked = asked
        self.learned: list[Fact] = []
        self.passages: list[Fact] = []
        self.failed = False


Plot = Callable[[Stage, Known], None]


def _noise(stage: Stage) -> dict[str, Any]:
    """What stands in every result."""
    return {"status": "ok", "page": 1, "limit": 100, "count": 10, "year": 2024, "currency": "EUR", "source": stage.company}


def _learn(stage: Stage, known: Known, *, numeric: bool = True) -> dict[str, Fact]:
    say = stage.speaker
    found = {
        "total": Fact(say.amount(), numeric=numeric),
        "tracking": Fact(say.code()),
        "owner": Fact(say.person()),
        "since": Fact(say.date()),
    }
    kept = dict(stage.rng.sample(sorted(found.items()), 3))
    known.learned += kept.values()
    return kept


def _near(text: str) -> str:
    """A value that is almost another one: a character longer."""
    return f"{text}{7 if text[-1].isdigit() else 'q'}"


def lookup(stage: Stage, known: Known) -> None:
    """A record by its number, and beside it a record of somebody else that is never used."""
    key = stage.rng.choice(known.asked)
    call = stage.call("lookup_order", {"order": key, "limit": 10})
    other = stage.call("list_news", {"limit": 100, "year": 2024})
    _, asked_by = stage.model(_LET_ME_SEE, [call, other])
    learned = _learn(stage, known)
    stage.use(call, asked_by, {**_noise(stage), "order": key, **learned, "note": _FOOTER}, echoes=[key])
    plain, _ = stage.speaker.sentence()
    near = {f"near_{name}": _near(fact.text) for name, fact in learned.items()}
    unused = {"headline": plain, "id": stage.speaker.code(), "price": float(stage.speaker.amount()), **near}
    stage.use(other, asked_by, {**_noise(stage), **unused, "note": _FOOTER})


def search(stage: Stage, known: Known) -> None:
    """Documents that are copied from, and one that says nearly the same in other words."""
    words = " ".join(stage.speaker.word() for _ in range(6))
    call = stage.call("search_documents", {"query": Fact(words), "limit": 10})
    _, asked_by = stage.model("", [call])
    span = stage.start_tool(call, asked_by)
    first, like_first = stage.speaker.sentence()
    second, like_second = stage.speaker.sentence()
    passages = [Fact(first), Fact(second)]
    ids = [Fact(f"doc-{stage.speaker.code()}") for _ in range(2)]
    with stage.inside(span):
        access = {"datasource": "handbook", "documentIds": [fact.text for fact in ids]}
        read = stage.record.emit("DATA_ACCESS", parent=stage.parent, agent=stage.agent, dataAccess=access)
    around = [" ".join(stage.speaker.sentence()[0] for _ in range(stage.rng.choice((0, 0, 4)))) for _ in range(2)]
    documents = [
        {
            "id": ids[0],
            "score": 0.5,
            "text": Text.of(around[0], " ", passages[0], " ", passages[1], " ", around[1], f" {_FOOTER}"),
        },
        {"id": ids[1], "score": 0.5, "text": f"{like_second} {like_first} {_FOOTER}"},
    ]
    end = stage.end_tool(call, span, {**_noise(stage), "documents": documents})
    for fact in ids:
        fact.cited = read
    (stage.record.edge if stage.style.nested else stage.record.may)(read, end, EXPLICIT)
    known.passages += passages
    known.learned.append(ids[0])


def twins(stage: Stage, known: Known) -> None:
    """Two sources that return the same value: either may be the cause."""
    key = stage.rng.choice(known.asked)
    calls = [stage.call(name, {"account": key}) for name in ("read_ledger", "read_invoice")]
    _, asked_by = stage.model(_LET_ME_SEE, calls)
    shared = Fact(stage.speaker.amount(), numeric=True)
    for call in calls:
        stage.use(call, asked_by, {**_noise(stage), "balance": shared, "note": _FOOTER}, echoes=[key])
    known.learned.append(shared)


def through_mcp(stage: Stage, known: Known) -> None:
    """A tool that asks a server, which gives what the tool returns."""
    key = stage.rng.choice(known.asked)
    call = stage.call("read_file", {"path": key})
    _, asked_by = stage.model("", [call])
    span = stage.start_tool(call, asked_by)
    tool_start = stage.record.events[-1].event_id
    learned = {**_learn(stage, known, numeric=False), "path": key}
    inner = stage.record.new_id()
    with stage.inside(span):
        request = {"tool_name": "read_file", "arguments": {"path": key}}
        server = {"serverName": "files", "operation": "call_tool"}
        begun = {**server, "request": request}
        start = stage.record.emit("MCP_CALL_START", "asked", span=inner, parent=stage.parent, agent=stage.agent, mcpCall=begun)
        done = {**server, "response": learned}
        stage.record.emit("MCP_CALL_END", "given", span=inner, parent=stage.parent, agent=stage.agent, echoes=[key], mcpCall=done)
    if not stage.style.nested:
        stage.record.edge(tool_start, start, CONTENT)
    if stage.style.responses:
        stage.record.may(asked_by, start, CONTENT)
    end = stage.end_tool(call, span, learned, echoes=[key], inner=True)
    if not stage.style.arguments:
        key.origins.append(end)
    for value in learned.values():
        value.soft = value is not key


def fails_once(stage: Stage, known: Known) -> None:
    """A tool that fails, is tried again for that reason, and then works."""
    key = stage.rng.choice(known.asked)
    call = stage.call("check_stock", {"order": key})
    _, asked_by = stage.model("", [call])
    span = stage.start_tool(call, asked_by)
    message = Text.of("Connection to shard ", Fact(stage.speaker.code()), " was refused by the gateway")
    stage.end_tool(call, span, "", error=message)
    with stage.inside(span):
        error = {"errorMessage": message, "errorCode": "tool_failed", "recoverable": True}
        stage.record.emit("ERROR", "made", parent=stage.parent, agent=stage.agent, error=error)
    reason = {"retry_reason": message}
    stage.record.emit("RETRY", "asked", parent=stage.parent, agent=stage.agent, retry={"attempt": 1}, metadata=reason)
    again = stage.call("check_stock", {"order": key})
    _, asked_by = stage.model("", [again])
    stage.use(again, asked_by, {**_noise(stage), **_learn(stage, known), "note": _FOOTER}, echoes=[key])


def fails_for_good(stage: Stage, known: Known) -> None:
    """A tool that fails and is given up; the answer says so."""
    call = stage.call("check_stock", {"order": stage.rng.choice(known.asked)})
    _, asked_by = stage.model("", [call])
    span = stage.start_tool(call, asked_by)
    stage.end_tool(call, span, "", error=Text.of("No route to ", Fact(stage.speaker.code())))
    known.failed = True


def told_by_prompt(stage: Stage, known: Known) -> None:
    """Something that an integration put into the prompt, and that no event told before."""
    if not stage.style.form:
        return
    memory = Fact(stage.speaker.code())
    stage.messages.append(Message("user", Text.of("What we remember of this customer: their contract is ", memory, ".")))
    call = stage.call("list_news", {"limit": 100})
    start, asked_by = stage.model("", [call])
    memory.origins.append(start)
    stage.use(call, asked_by, {**_noise(stage), "items": []})
    known.learned.append(memory)


def permitted(stage: Stage, known: Known) -> None:
    """Personal data, read after a policy allowed it; the policy's reason is told on."""
    key = stage.rng.choice(known.asked)
    call = stage.call("read_customer", {"customer": key})
    _, asked_by = stage.model(_LET_ME_SEE, [call])
    limit = Fact(stage.speaker.amount())
    policy = Fact(stage.speaker.code())
    rationale = Text.of("Reading ", key, " is within the limit of ", limit, " per case.")
    decided = stage.record.emit(
        "POLICY_DECISION",
        "made",
        parent=stage.parent,
        agent=stage.agent,
        policy={"policyId": policy.text, "outcome": "allow", "rationale": rationale},
        metadata={"tool": "read_customer"},
    )
    policy.cited = decided
    span = stage.start_tool(call, asked_by)
    with stage.inside(span):
        access = {"datasource": "crm", "piiCategories": ["NAME"]}
        stage.record.emit(
            "POLICY_DECISION",
            parent=stage.parent,
            agent=stage.agent,
            policy={"policyId": stage.speaker.code(), "outcome": "allow"},
        )
        stage.record.emit("DATA_ACCESS", parent=stage.parent, agent=stage.agent, dataAccess=access)
    stage.end_tool(call, span, {**_noise(stage), **_learn(stage, known), "note": _FOOTER}, echoes=[key])
    known.learned += [limit, policy]


def denied(stage: Stage, known: Known) -> None:
    """An action that a policy denied, and that did not happen; its reason is told on."""
    key = stage.rng.choice(known.asked)
    limit = Fact(stage.speaker.amount())
    call = stage.call("refund_order", {"order": key})
    stage.model("", [call])
    rationale = Text.of("No refund beyond ", limit, " without a second pair of eyes.")
    stage.record.emit(
        "POLICY_DECISION",
        "made",
        parent=stage.parent,
        agent=stage.agent,
        policy={"policyId": stage.speaker.code(), "outcome": "deny", "rationale": rationale},
        metadata={"tool": "refund_order"},
    )
    stage.messages.append(Message("tool", Text.of("Denied: ", rationale), call=call))
    known.learned.append(limit)


def hands_off(stage: Stage, known: Known) -> None:
    """The work goes to another agent, with a number from the input."""
    key = stage.rng.choice(known.asked)
    taker = f"{stage.speaker.word().capitalize()} Agent"
    call = stage.call("transfer_work", {})
    stage.model("", [call])
    giver, giver_span = stage.agent, stage.agent_span
    given = stage.record.emit(
        "AGENT_HANDOFF",
        "made",
        parent=stage.parent,
        agent=giver,
        agentHandoff={
            "fromAgentId": giver,
            "fromAgentName": giver,
            "toAgentId": taker,
            "toAgentName": taker,
            "handoffData": {"case": key, "priority": 1, "framework": stage.style.name},
            "reason": "Agent transfer",
        },
    )
    started = next(event.event_id for event in stage.record.events if event.span_id == giver_span)
    stage.record.edge(started, given, EXPLICIT)
    if stage.style.nested:
        stage.end_agent()
    stage.messages.append(Message("tool", "{'assistant': 'next'}", call=call))
    stage.begin_agent(taker)
    stage.record.edge(given, stage.record.events[-1].event_id, EXPLICIT)


def asks_an_agent(stage: Stage, known: Known) -> None:
    """An agent as a tool: what it is asked and what it answers stand twice."""
    if not stage.style.nested:
        return
    key = stage.rng.choice(known.asked)
    request = Text.of("Please summarise what is known of ", key, " in 10 words.")
    call = stage.call("ask_specialist", {"input": request})
    _, asked_by = stage.model("", [call])
    span = stage.start_tool(call, asked_by)
    outer = (stage.agent, stage.agent_span, stage.messages)
    with stage.inside(span):
        asked = {"role": "user", "text": request}
        put_in = stage.record.emit("INPUT_RECEIVED", "asked", parent=stage.parent, message=asked)
        stage.messages = [Message("user", request)]
        stage.begin_agent("Specialist")
    if stage.style.responses:
        stage.record.edge(asked_by, put_in, CONTENT)
    key.soft = True
    key.origins.append(put_in)
    inner_call = stage.call("lookup_order", {"order": key})
    with stage.inside(stage.agent_span):
        _, inner_asked = stage.model("", [inner_call])
        learned = _learn(stage, known, numeric=False)
        stage.use(inner_call, inner_asked, {**_noise(stage), **learned}, echoes=[key])
        answer = Text.of("In short: ", *(part for fact in learned.values() for part in (fact, ", ")), "and no more.")
        _, said = stage.model(answer)
    with stage.inside(span):
        put_out = stage.record.emit(
            "OUTPUT_EMITTED", "made", parent=stage.parent, agent=stage.agent, message={"role": "assistant", "text": answer}
        )
        if stage.style.responses:
            stage.record.edge(said, put_out, CONTENT)
        stage.end_agent()
    stage.agent, stage.agent_span, stage.messages = outer
    end = stage.end_tool(call, span, answer, inner=True)
    stage.record.edge(put_out, end, CONTENT)
    stage.record.may(said, end, CONTENT)
    for fact in learned.values():
        fact.soft = True
    known.learned += learned.values()


PLOTS: tuple[Plot, ...] = (
    lookup,
    search,
    twins,
    through_mcp,
    fails_once,
    fails_for_good,
    told_by_prompt,
    permitted,
    denied,
    hands_off,
    asks_an_agent,
)
