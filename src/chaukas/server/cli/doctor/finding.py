"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Verdict", "ok", "problem", "warning"]


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: The server runs, but somebody should look at it.
    WARNING = "warning"
    #: The server does not start, or what it keeps is in danger.
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    check: str
    verdict: Verdict
    text: str
    #: What to do; empty where nothing is to be done.
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Verdict.OK, text)


def warning(check: str, text: str, advice: str) -> Finding:
    """Something to look at."""
    return Finding(check, Verdict.WARNING, text, advice)


def problem(check: str, text: str, advice: str) -> Finding:
    """Something to mend."""
    return Finding(check, Verdict.PROBLEM, text, advice)
