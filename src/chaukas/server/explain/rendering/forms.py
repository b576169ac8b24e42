"""The forms of an answer by name, and their media types."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["AnswerForm", "Rendered"]


class AnswerForm(StrEnum):
    """How an explanation is written; the values are those of the parameter `format`."""

    JSON = "json"
    MARKDOWN = "markdown"
    MERMAID = "mermaid"
    TEXT = "text"

    @property
    def media_type(self) -> str:
        """The media type; Markdown's is that of RFC 7763, Mermaid's is not registered."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    AnswerForm.JSON: "application/json",
    AnswerForm.MARKDOWN: "text/markdown; charset=utf-8",
    AnswerForm.MERMAID: "text/vnd.mermaid; charset=utf-8",
    AnswerForm.TEXT: "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A whole answer."""

    form: AnswerForm
    text: str
