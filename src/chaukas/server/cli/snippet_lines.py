"""Where words were found in an event, in a few lines for a person: the field, and the words around, highlighted."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from chaukas.server.cli.event_line import printable
from chaukas.server.text.expression import TextQuery
from chaukas.server.text.snippets import Snippet, snippets_of
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["snippet_lines"]

_LINES_MAX: Final = 3
#: Places that are looked at: a model call repeats what was said before it again and again.
_LOOKED_AT_MAX: Final = 40
_INDENT: Final = "    "
_CONTEXT_MIN: Final = 16
#: What a field's name and the words themselves take of a line, roughly, in characters.
_TAKEN: Final = 60
_DIM, _PLAIN, _FOUND = "dim", "not dim", "not dim bold black on yellow"


def snippet_lines(event: Event, query: TextQuery, width: int) -> list[Text]:
    """At most three lines for a terminal of `width` characters; each shows a word that those before it do not show."""
    context = max(_CONTEXT_MIN, (width - _TAKEN) // 2)
    found = snippets_of(event.SerializeToString(), query, context_chars=context, snippets_max=_LOOKED_AT_MAX)
    lines: list[Text] = []
    shown: set[str] = set()
    while found and len(lines) < _LINES_MAX:
        best = max(found, key=lambda snippet: len(_words(snippet) - shown))
        if not _words(best) - shown:
            break
        shown |= _words(best)
        lines.append(_line(best))
    return lines


def _words(snippet: Snippet) -> set[str]:
    return {snippet.text[begin:end].casefold() for begin, end in snippet.highlights}


def _line(snippet: Snippet) -> Text:
    """`path: …the words around what was found…`; what a terminal would obey is replaced."""
    line = Text(f"{_INDENT}{printable(snippet.path)}: ", style=_DIM)
    line.append("…" if snippet.cut_before else "", style=_PLAIN)
    shown = 0
    for begin, end in snippet.highlights:
        line.append(printable(snippet.text[shown:begin]), style=_PLAIN)
        line.append(printable(snippet.text[begin:end]), style=_FOUND)
        shown = end
    line.append(printable(snippet.text[shown:]), style=_PLAIN)
    line.append("…" if snippet.cut_after else "", style=_PLAIN)
    return line
