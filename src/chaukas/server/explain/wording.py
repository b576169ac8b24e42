"""How steps are called in sentences."""

from __future__ import annotations

from chaukas.server.explain.model import Step, StepKind

__all__ = ["capital", "clipped", "milliseconds", "step_words"]

_WORDS = {
    StepKind.SESSION: "the session",
    StepKind.AGENT: "agent",
    StepKind.MODEL: "the model call",
    StepKind.TOOL: "tool",
    StepKind.MCP: "MCP call",
    StepKind.HANDOFF: "the handoff to",
    StepKind.INPUT: "the input",
    StepKind.OUTPUT: "the output",
    StepKind.ERROR: "the error",
    StepKind.RETRY: "the retry",
    StepKind.POLICY: "policy decision",
    StepKind.DATA_ACCESS: "the access to",
    StepKind.STATE: "the state update",
    StepKind.SYSTEM: "the system event",
    StepKind.UNKNOWN: "an event of an unknown type",
}


def step_words(step: Step) -> str:
    """A step in the middle of a sentence: ``tool "lookup_order"``, ``the model call (gpt-4o)``, ``the input``."""
    words = _WORDS[step.kind]
    if step.kind is StepKind.MODEL:
        return f"{words} ({step.model})" if step.model else words
    if not step.name:
        return {"agent": "an agent", "tool": "a tool", "MCP call": "an MCP call"}.get(words, words)
    return f'{words} "{clipped(step.name, 80)}"'


def capital(text: str) -> str:
    """A text with its first letter as at the start of a sentence."""
    return text[:1].upper() + text[1:]


def clipped(text: str, characters: int = 160) -> str:
    """A text on one line, cut at a length with a mark."""
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def milliseconds(nanoseconds: int) -> str:
    """A span of time for people: ``12.5 ms``, ``3.2 s``, ``2 h 5 min``."""
    ms = abs(nanoseconds) / 1_000_000
    if ms < 1_000:
        return f"{ms:.4g} ms"
    seconds = ms / 1_000
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
