"""What a server asks of the system, read from a trace of strace: what came, what was written and synced, what left."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SystemCall", "answers_without_sync", "read_trace", "traced_python"]

_TRACED = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fdatasync,fsync,ftruncate"
_RECEIVING = {"read", "readv", "recvfrom", "recvmsg"}
_SENDING = {"write", "writev", "sendto", "sendmsg"}
_SYNCING = {"fdatasync", "fsync"}
_WRITING = {"pwrite64", "pwritev"}

_LINE = re.compile(r"(?P<thread>\d+) +(?P<rest>.*)")
_BEGUN = re.compile(r"(?P<name>\w+)\(\d+<(?P<file>(?:->|[^>])*)>(?P<text>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<text>.*)")
_UNFINISHED = " <unfinished ...>"
#: What stands between quotation marks, which are escaped inside.
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FAILED = re.compile(r"= -1 E[A-Z]+ ")


@dataclass(slots=True)
class SystemCall:
    """A call: the lines of the trace at which it began and ended, and everything that the trace shows of it."""

    thread: int
    name: str
    file: str
    text: str
    began: int
    ended: int = sys.maxsize

    @property
    def data(self) -> str:
        """The bytes that it moved, as the trace writes them; parts that stood in different buffers joined."""
        return "".join(_STRING.findall(self.text))

    @property
    def well_done(self) -> bool:
        """It ended, and not with an error."""
        return self.ended != sys.maxsize and _FAILED.search(self.text) is None


def traced_python(directory: Path, trace: Path) -> Path:
    """A program that does what this Python does, with its system calls written to `trace`."""
    strace = shutil.which("strace")
    assert strace is not None, "strace is missing: `make test` installs it (scripts/install_test_tools.py)"
    program = directory / "traced-python"
    # -D: the traced process is the child that was started, so that signals reach it and not strace.
    options = f"-D -f -yy -s 1000 -e trace={_TRACED}"
    program.write_text(f"#!/bin/sh\nexec '{strace}' {options} -o '{trace}' '{sys.executable}' \"$@\"\n")
    program.chmod(0o755)
    return program


def read_trace(lines: Sequence[str]) -> list[SystemCall]:
    """All calls, in the order in which they began."""
    calls: list[SystemCall] = []
    unfinished: dict[int, SystemCall] = {}
    for number, line in enumerate(lines):
        if (traced := _LINE.fullmatch(line)) is None:
            continue
        thread, rest = int(traced["thread"]), traced["rest"]
        if (resumed := _RESUMED.fullmatch(rest)) is not None:
            if (call := unfinished.pop(thread, None)) is not None:
                call.text += resumed["text"]
                call.ended = number
        elif (begun := _BEGUN.fullmatch(rest)) is not None:
            call = SystemCall(thread, begun["name"], begun["file"], begun["text"], number)
            if call.text.endswith(_UNFINISHED):
                call.text = call.text.removesuffix(_UNFINISHED)
                unfinished[thread] = call
            else:
                call.ended = number
            calls.append(call)
    return calls


def answers_without_sync(calls: Sequence[SystemCall], markers: Sequence[str], *, alone: bool) -> Iterator[str]:
    """The answers that left before their data was synced, each with what is wrong.

    A marker stands in a request and in the answer to it. Between the two the write-ahead log must have been written and, after
    that, synced with success. `alone`: the requests came one after another, so that nothing in the log may be unsynced at all
    when the answer leaves.
    """
    on_log = [call for call in calls if call.file.endswith("/record.db-wal")]
    writes = [call for call in on_log if call.name in _WRITING]
    syncs = [call for call in on_log if call.name in _SYNCING and call.well_done]
    # Connections of clients; the server and the process that writes its record talk over another kind.
    sockets = [(call, call.data) for call in calls if call.file.startswith("TCP")]
    for marker in markers:
        came = next((call.ended for call, data in sockets if call.name in _RECEIVING and marker in data), None)
        left = next((call.began for call, data in sockets if call.name in _SENDING and marker in data), None)
        if came is None or left is None:
            yield f"{marker}: the trace shows no {'request' if came is None else 'answer'}"
            continue
        written = [call for call in writes if came < call.began < left]
        if not written:
            yield f"{marker}: nothing was written between the request and the answer"
            continue
        due = written[-1 if alone else 0]
        if not any(due.ended < call.began and call.ended < left and call.thread == due.thread for call in syncs):
            yield f"{marker}: the answer left before what was written was synced"
