"""Whole sessions with known causes: `make_world(seed)` is always the same session, with everything that is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaukas.spec.common.v1.events_pb2 import Event

from .agents import Stage
from .facts import Fact, Sentence, Text
from .plots import PLOTS, Known, Plot
from .record import CONTENT, EventRecord, Truth
from .styles import STYLES, Message, Style
from .words import Speaker

__all__ = ["World", "make_world"]

_TOOLS = (
    "lookup_order",
    "list_news",
    "search_documents",
    "read_ledger",
    "read_invoice",
    "read_file",
    "check_stock",
    "read_customer",
    "refund_order",
    "transfer_work",
    "ask_specialist",
)
_GREETINGS = ("Hello, thank you for your help so far.", "Good morning!", "Hi, I hope you are doing well today.")
_OPENINGS = ("Thank you for your patience.", "Hello, thank you for your help so far.", "Hi, I hope you are doing well today.")
_CLOSINGS = (
    "Please let me know if there is anything else I can help with.",
    "That makes 10 results of 100 in 2024.",
    "Best regards!",
)
_ABOUT = (
    ("We found ", "."),
    ("The record shows ", " for it."),
    ("Please note ", "."),
    ("What you are looking for is ", "."),
    ("Result: **", "**."),
    ("It is told there (", ")."),
    ("See `", "` for that."),
)


@dataclass(frozen=True)
class World:
    """Events in order of time, the style in which they were recorded, and what is true of them."""

    seed: int
    style: Style
    events: tuple[Event, ...]
    truth: Truth


def make_world(seed: int, *, style: Style | None = None, plots: Sequence[Sequence[Plot]] | None = None) -> World:
    """The session of a seed: up to three turns, each with up to three plots; `style` and `plots` may be chosen."""
    speaker = Speaker(seed)
    rng = speaker.rng
    style = style or STYLES[seed % len(STYLES)]
    record = EventRecord(seed, f"session-{seed}")
    stage = Stage(record, speaker, style, f"{speaker.word().capitalize()} {speaker.word().capitalize()}", _TOOLS)
    turns = plots if plots is not None else [rng.sample(PLOTS, rng.randrange(0, 4)) for _ in range(rng.randrange(1, 4))]
    remembered: list[Fact] = []
    for turn in turns:
        known = _ask(stage, remembered)
        for plot in turn:
            plot(stage, known)
        _answer(stage, known, remembered)
        remembered += [*known.asked, *known.learned]
    return World(seed, style, tuple(record.events), record.truth)


def _ask(stage: Stage, remembered: Sequence[Fact]) -> Known:
    """A turn begins: an input with a number, a name and a greeting, sometimes one about what was said before."""
    say, rng = stage.speaker, stage.rng
    asked = [Fact(say.number()), Fact(rng.choice((say.person, say.address, say.code))())]
    if remembered and rng.random() < 0.5:
        asked[0] = rng.choice(remembered)
        asked[0].soft = asked[0].invented = False
    case = Text.of(" My case is ", asked[0], f" with {stage.company}, and it concerns ", asked[1], ".")
    text = Text.of(rng.choice(_GREETINGS), case, " I bought 10 in 2024.")
    stage.session_span = stage.record.new_id()
    message = {"role": "user", "text": text, "metadata": {"framework": stage.style.name}}
    if stage.style.input_first:
        stage.record.emit("INPUT_RECEIVED", "input", parent=stage.session_span, message=message)
    metadata = {"framework": stage.style.name, "agent_name": "Desk Agent", "user": None}
    stage.record.emit("SESSION_START", span=stage.session_span, metadata=metadata)
    if not stage.style.input_first:
        stage.record.emit("INPUT_RECEIVED", "input", parent=stage.session_span, message=message)
    stage.messages.append(Message("user", text))
    stage.begin_agent("Desk Agent")
    return Known(asked)


def _answer(stage: Stage, known: Known, remembered: Sequence[Fact]) -> None:
    """A turn ends: an answer from what is known, with something invented now and then."""
    sentences = _sentences(stage, known, remembered)
    whole: list[str | Text] = []
    for sentence in sentences:
        whole += [" ", sentence.text] if whole else [sentence.text]
    text = Text.of(*whole, spoken=True)
    stage.model(text)
    nested = stage.style.nested
    message = {"role": "assistant", "text": text}
    if not nested:
        stage.end_agent()
    agent, parent = (stage.agent, stage.parent) if nested else ("", stage.session_span)
    span = stage.record.new_id()
    parts = [sentence.text for sentence in sentences] if stage.rng.random() < 0.25 else []
    for part in parts:
        said = {"role": "assistant", "text": part}
        event_id = stage.record.emit(
            "OUTPUT_EMITTED", "part", span=span, parent=parent, agent=agent, isPartial=True, message=said
        )
        if stage.answered_by:
            stage.record.may(stage.answered_by, event_id, CONTENT)
    output = stage.record.emit("OUTPUT_EMITTED", "made", span=span, parent=parent, agent=agent, isFinal=True, message=message)
    if nested:
        stage.end_agent()
    if stage.answered_by:
        stage.record.edge(stage.answered_by, output, CONTENT)
    stage.record.truth.sentences[output] = sentences
    stage.record.emit("SESSION_END", span=stage.session_span, metadata={"success": True, "error": None})


def _sentences(stage: Stage, known: Known, remembered: Sequence[Fact]) -> list[Sentence]:
    """What an answer says: greetings, facts and passages of sources, things made up, all in any order."""
    say, rng = stage.speaker, stage.rng
    found = [Sentence(_spoken(rng.choice(_OPENINGS)), chat=True)]
    pool = [*known.learned, *known.asked, *rng.sample(list(remembered), min(2, len(remembered)))]
    for fact in rng.sample(pool, min(len(pool), rng.randrange(1, 5))):
        before, after = rng.choice(_ABOUT)
        others = [_made_up(say.code())] if rng.random() < 0.2 else []
        text = _spoken(before, fact, *(part for other in others for part in (" with reference ", other)), after)
        told = [*others, fact]
        real, invented = ([each for each in told if each.invented is made_up] for made_up in (False, True))
        found.append(Sentence(text, found=tuple(real), invented=tuple(invented)))
        known.learned += [other for other in others if rng.random() < 0.3]
    found += [Sentence(_spoken(passage), found=(passage,), copied=True) for passage in known.passages if rng.random() < 0.7]
    if rng.random() < 0.4:
        found.append(Sentence(_spoken(say.sentence()[0])))
    if rng.random() < 0.4:
        value = _made_up(rng.choice((say.number, say.amount, say.code))())
        found.append(Sentence(_spoken("The other one would be ", value, "."), invented=(value,)))
    if known.failed:
        found.append(Sentence(_spoken("Unfortunately one of our systems could not be reached."), chat=True))
    rng.shuffle(found)
    return [*found, Sentence(_spoken(rng.choice(_CLOSINGS)), chat=True)]


def _spoken(*parts: str | Fact) -> Text:
    return Text.of(*parts, spoken=True)


def _made_up(text: str) -> Fact:
    return Fact(text, invented=True)
