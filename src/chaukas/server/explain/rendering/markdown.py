"""A narrative as Markdown (CommonMark, and tables as GitHub has them): contents of events are shown, never obeyed."""

from __future__ import annotations

import re

from chaukas.server.explain.citations import Citations
from chaukas.server.explain.clock import iso_time
from chaukas.server.explain.model import Record
from chaukas.server.explain.quoting import markdown_escaped, one_line
from chaukas.server.explain.sentences import Chapter, Narrative, Section, Sentence
from chaukas.spec.common.v1.events_pb2 import EventType

__all__ = ["fenced", "markdown_of", "reference_table", "sentence_line"]

_INDENT = "    "
_LEVELS_MAX = 6
_ID_CHARS = 256
_TYPE_NAMES = {number: name.removeprefix("EVENT_TYPE_") for name, number in EventType.items()}


def markdown_of(narrative: Narrative, record: Record) -> str:
    """The page, and the list of the events that it cites."""
    citations = Citations(record)
    lines = [f"# {markdown_escaped(narrative.title)}", "", _paragraph(narrative.summary, citations), ""]
    for chapter in narrative.chapters:
        lines += _chapter(chapter, citations)
    if narrative.fragments:
        lines += ["## Steps that nothing but time would tie to a run", ""]
        lines += [*(f"- {sentence_line(each, citations)}" for each in narrative.fragments), ""]
    if narrative.left_out:
        lines += ["## Further runs", "", *(f"- {sentence_line(each, citations)}" for each in narrative.left_out), ""]
    if narrative.not_shown:
        lines += ["## What the record does not show", "", _paragraph(narrative.not_shown, citations), ""]
    lines += reference_table(record, citations)
    return "\n".join(lines).rstrip() + "\n"


def reference_table(record: Record, citations: Citations) -> list[str]:
    """The events that were cited, as the lines of a table below a heading; nothing when none was."""
    cited = citations.cited
    if not cited:
        return []
    lines = ["## Events referred to", "", "| reference | time | type | event | entry |", "|---|---|---|---|---|"]
    for position in cited:
        row = record.rows[position]
        entry = "" if row.log_index is None else str(row.log_index)
        name = _TYPE_NAMES.get(row.type, str(row.type))
        event_id = markdown_escaped(one_line(row.event_id, _ID_CHARS))
        cells = (citations.short(position), iso_time(row.time_ns), markdown_escaped(name), event_id, entry)
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def fenced(title: str, text: str) -> str:
    """A text as it stands, below a title; the fence is longer than any run of backquotes within (CommonMark §4.5)."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"# {markdown_escaped(title)}\n\n{fence}text\n{text.rstrip()}\n{fence}\n"


def _chapter(chapter: Chapter, citations: Citations) -> list[str]:
    lines = [f"## {markdown_escaped(chapter.heading)}", ""]
    for section in chapter.sections:
        lines += _section(section, citations)
    return lines


def _section(section: Section, citations: Citations) -> list[str]:
    lines = [f"### {markdown_escaped(section.heading)}", ""]
    marks: list[int] = []
    for sentence in section.sentences:
        level = min(sentence.level, _LEVELS_MAX, len(marks)) if section.numbered else 0
        del marks[level + 1 :]
        if len(marks) == level:
            marks.append(0)
        marks[level] += 1
        mark = f"{marks[level]}." if section.numbered else "-"
        lines.append(f"{_INDENT * level}{mark} {sentence_line(sentence, citations)}")
    return [*lines, ""]


def _paragraph(sentences: tuple[Sentence, ...], citations: Citations) -> str:
    return "\n".join(sentence_line(sentence, citations) for sentence in sentences)


def sentence_line(sentence: Sentence, citations: Citations) -> str:
    """A sentence, its references, and the full stop."""
    reference = citations.span(sentence.positions) if sentence.whole else citations.cite(sentence.positions)
    text = markdown_escaped(sentence.text)
    return f"{text} {reference}." if reference else f"{text}."
