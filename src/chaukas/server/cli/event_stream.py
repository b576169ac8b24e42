"""Server-sent events as bytes arrive: the event stream format of the HTML standard (WHATWG HTML §9.2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["EventStreamParser", "StreamMessage"]

#: A line ends with CR LF, LF or CR; a CR at the end of what has arrived may still be followed by its LF.
_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """One message: what kind it is, what it says, and the id to go on from after it."""

    event: str
    data: str
    id: str


class EventStreamParser:
    """Takes the body of a stream in pieces of any size and gives its messages."""

    def __init__(self, last_id: str = "") -> None:
        #: The id of the last message, or an id that came without one; what `Last-Event-ID` wants.
        self.last_id = last_id
        #: How long the server wants to be left alone after the connection was lost, in milliseconds; None if it did not say.
        self.retry_ms: int | None = None
        self._rest = b""
        self._searched = 0
        self._at_start = True
        self._event = ""
        self._data: list[str] = []
        self._id = last_id

    def feed(self, piece: bytes) -> list[StreamMessage]:
        """The messages that are complete now. What is left unfinished when the stream ends is no message."""
        self._rest += piece
        if self._at_start:
            if _BOM.startswith(self._rest[:3]) and len(self._rest) < len(_BOM):
                return []
            self._rest = self._rest.removeprefix(_BOM)
            self._at_start = False
        messages, begin = [], 0
        for end in _LINE_END.finditer(self._rest, self._searched):
            message = self._take_line(self._rest[begin : end.start()])
            begin = end.end()
            if message is not None:
                messages.append(message)
        self._rest = self._rest[begin:]
        # Only the last byte can become part of a line end that is not one yet: a large message is searched once.
        self._searched = max(len(self._rest) - 1, 0)
        return messages

    def _take_line(self, line: bytes) -> StreamMessage | None:
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value)
            case _:  # A comment, which keeps the connection alive, or a field of a later version.
                pass
        return None

    def _dispatch(self) -> StreamMessage | None:
        self.last_id = self._id
        kind, data = self._event or "message", self._data
        self._event, self._data = "", []
        return StreamMessage(kind, "\n".join(data), self._id) if data else None
