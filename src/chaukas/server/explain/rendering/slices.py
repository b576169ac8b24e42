"""Why an event happened and what it led to, as Markdown and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from chaukas.server.explain.citations import Citations
from chaukas.server.explain.clock import day_and_time
from chaukas.server.explain.deeds import deed
from chaukas.server.explain.evidence_graph import Evidenced
from chaukas.server.explain.quoting import markdown_escaped, one_line
from chaukas.server.explain.rendering.markdown import reference_table
from chaukas.server.explain.why import Link, Slice

__all__ = ["slices_markdown", "slices_text"]

_SENTENCE_CHARS = 500
_CLOSING = (
    "Evidence of the type explicit rests on ids, content on words and values that reappear, context on being part of a prompt,"
    " and time on the order alone; none of them shows what a model made of what it was given."
)


def slices_markdown(evidenced: Evidenced, title: str, before: Slice, after: Slice) -> str:
    """A page: the event, what led to it, what it led to, each with its references."""
    citations = Citations(evidenced.explanation.record)
    lines = [
        f"# {markdown_escaped(title)}",
        "",
        markdown_escaped(_event(evidenced, before)) + f" {_cite(citations, before)}.",
        "",
    ]
    for heading, part in (("What led to it", before), ("What it led to", after)):
        lines += [f"## {heading}", ""]
        for link, sentence, reference in _sentences(part, citations):
            lines.append(f"- {markdown_escaped(sentence)} {reference} *{link.evidence.type}*")
        lines += [markdown_escaped(_ending(part)), ""]
    lines += ["## What this does not show", "", _CLOSING, ""]
    lines += reference_table(evidenced.explanation.record, citations)
    return "\n".join(lines).rstrip() + "\n"


def slices_text(evidenced: Evidenced, title: str, before: Slice, after: Slice) -> str:
    """The same as plain lines."""
    citations = Citations(evidenced.explanation.record)
    lines = [title, "", f"{_event(evidenced, before)}  {_cite(citations, before)}", ""]
    for heading, part in (("What led to it", before), ("What it led to", after)):
        lines.append(heading)
        lines += [
            f"  {link.evidence.type.value:<8} {sentence}  {reference}"
            for link, sentence, reference in _sentences(part, citations)
        ]
        lines += [f"  {_ending(part)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _cite(citations: Citations, part: Slice) -> str:
    return citations.cite([part.event.position])


def _event(evidenced: Evidenced, part: Slice) -> str:
    explanation = evidenced.explanation
    row = explanation.record.rows[part.event.position]
    step = explanation.steps[evidenced.step_of[part.event.position]]
    sentence = deed(explanation, step)
    text = sentence.text if sentence is not None else f"A {step.kind.value} event was recorded"
    return f"{day_and_time(row.time_ns)}: {text}"


def _sentences(part: Slice, citations: Citations) -> Iterator[tuple[Link, str, str]]:
    for link in part.links:
        reference = citations.cite(ref.position for ref in link.events)
        yield link, one_line(link.sentence.rstrip("."), _SENTENCE_CHARS), f"{reference}."


def _ending(part: Slice) -> str:
    if not part.links:
        return "Nothing recorded follows from it." if part.forward else "Nothing recorded leads to it."
    return "" if part.complete else f"Only the first {len(part.links)} links are shown."
