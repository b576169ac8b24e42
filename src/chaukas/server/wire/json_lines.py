"""JSON Lines of events: the file mode of `chaukas-sdk`, and what this server's own answers give line by line.

The SDK writes one event per line in protobuf's JSON form with snake_case names, and overwrites `timestamp` with the time of
writing, which has no zone and is UTC. The reader streams: memory is bounded by the length of one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from chaukas.server.errors import InvalidRequestError, Violation
from chaukas.server.wire.json_form import EVENT_TEXT_BYTES_MAX, JsonProblem, event_from_text
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["LINE_BYTES_MAX", "read_json_lines"]

#: The longest line that is read: the longest text of an event.
LINE_BYTES_MAX = EVENT_TEXT_BYTES_MAX
#: Of a longer line, this much is kept with the problem, so that a person recognises it; the file has the rest.
_SHOWN_BYTES_MAX = 4096
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(file: BinaryIO, *, line_bytes_max: int = LINE_BYTES_MAX) -> Iterator[tuple[int, Event | JsonProblem]]:
    """The events of an open binary file with their line numbers, from 1; empty lines are counted and skipped.

    Lines end with LF or CR LF. A line that is no event, or longer than `line_bytes_max`, gives a `JsonProblem` and reading
    goes on with the next. If the last line has no end of its own and is no JSON, the file is perhaps being written:
    `JsonProblem.incomplete` is set. Raises `OSError` as the file does.
    """
    number = 0
    while line := file.readline(line_bytes_max + 2):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        text = line.strip(b" \t\r\n")
        if len(text) > line_bytes_max:
            length = len(line) + _skip_line(file, line, line_bytes_max)
            problem = f"the line has {length} bytes; at most {line_bytes_max} are read"
            yield number, JsonProblem(text[:_SHOWN_BYTES_MAX], (Violation("", problem),))
        elif text:
            yield number, _read_line(text, ended=line.endswith(b"\n"))


def _read_line(text: bytes, *, ended: bool) -> Event | JsonProblem:
    try:
        return event_from_text(text)
    except InvalidRequestError as error:
        if ended:
            return JsonProblem(text, (Violation("", error.public_message),))
        problem = f"the last line is not complete ({error.public_message}); the file is perhaps still being written"
        return JsonProblem(text, (Violation("", problem),), incomplete=True)


def _skip_line(file: BinaryIO, line: bytes, chunk_bytes: int) -> int:
    """Read up to the next end of line and return how many bytes that were."""
    skipped = 0
    while line and not line.endswith(b"\n"):
        line = file.readline(chunk_bytes)
        skipped += len(line)
    return skipped
