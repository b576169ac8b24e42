"""What became of one line of an import."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LEFT_OUT", "LineResult"]

#: The status of a line that the server does not even keep: it is no JSON, or larger than any request may be.
LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class LineResult:
    """The server's answer for an event (`chaukas.server.storage.contract.IngestStatus`), or `LEFT_OUT`."""

    status: str
    #: Why it was not stored; empty otherwise.
    reason: str = ""
    #: Where the server keeps it instead; empty otherwise.
    quarantine_id: str = ""
