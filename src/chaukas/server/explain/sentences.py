"""The narrative's smallest parts: a sentence with the events that it rests on, and lists of them under a heading."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Chapter", "Narrative", "Section", "Sentence"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A statement without its full stop, plain text, and the positions of the events that it rests on.

    `whole` tells that it is about a stretch of the record (that something is absent from it), not about single events. `level` is
    how far the sentence is set in: what happened inside something else.
    """

    text: str
    positions: tuple[int, ...]
    whole: bool = False
    level: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """Sentences under one heading; `numbered` when their order is that of what happened."""

    heading: str
    sentences: tuple[Sentence, ...]
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Chapter:
    """One run."""

    heading: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Narrative:
    """The page: a title, what it is about, a chapter for each run that is told, and what the record does not show."""

    title: str
    summary: tuple[Sentence, ...]
    chapters: tuple[Chapter, ...]
    #: Steps that belong to no run.
    fragments: tuple[Sentence, ...]
    #: Runs that are not told, in a sentence each, or nothing.
    left_out: tuple[Sentence, ...]
    not_shown: tuple[Sentence, ...]
