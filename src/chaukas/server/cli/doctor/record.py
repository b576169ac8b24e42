"""The record itself: whose it is, which format it has, and whether a server is at work on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chaukas.server.cli.doctor.finding import Finding, ok, problem
from chaukas.server.config import Settings
from chaukas.server.errors import CannotServeError
from chaukas.server.storage.sqlite.inspection import FORMAT_VERSION, RecordFigures, inspect_record, lock_holder, unrecovered_bytes

__all__ = ["check_record", "find_holder", "read_figures"]

_CHECK: Final = "record"
_MIB: Final = 1024**2


def find_holder(settings: Settings) -> tuple[int | None, Finding]:
    """The process that serves the data directory (0 when it is not known which, None when there is none)."""
    try:
        holder = lock_holder(settings.data_dir)
    except OSError as error:
        text = f"the lock of {settings.data_dir} can not be read: {error.strerror}"
        return None, problem("lock", text, "run this as the server's user")
    if holder is None:
        return None, ok("lock", "no server runs on the data directory")
    return holder, ok("lock", f"process {holder or 'unknown'} serves the data directory")


def read_figures(settings: Settings, holder: int | None) -> RecordFigures | Finding | None:
    """What the record says, None when there is none yet, or why it can not be read."""
    try:
        return inspect_record(settings.data_dir, served=holder is not None)
    except CannotServeError as error:
        return problem(_CHECK, error.public_message, "run this as the server's user; if it is that user's, restore a backup")


def check_record(settings: Settings, figures: RecordFigures | None) -> Iterator[Finding]:
    """Whether this version of the server can go on with it."""
    if figures is None:
        yield ok(_CHECK, "there is none yet; the first start makes it")
    elif not figures.is_record:
        yield problem(_CHECK, f"record.db in {settings.data_dir} is no Chaukas record", "set data_dir to another directory")
    elif figures.format_version > FORMAT_VERSION:
        yield problem(
            _CHECK,
            f"it has format {figures.format_version}; this version of the server reads up to {FORMAT_VERSION}",
            "install the newer version again: a record is never turned back",
        )
    elif figures.server_name and figures.server_name != settings.server_name:
        yield problem(
            _CHECK,
            f"it belongs to the server name {figures.server_name!r}, not {settings.server_name!r}",
            f"set server_name to {figures.server_name}: the name is part of every log's origin and can not change",
        )
    elif not figures.recovered:
        left = unrecovered_bytes(settings.data_dir) / _MIB
        yield ok(_CHECK, f"a crash left {left:,.1f} MiB of write-ahead log; the next start works through it, and loses nothing")
    else:
        yield ok(_CHECK, f"format {figures.format_version}, {_amounts(figures)}{_later(figures)}")


def _amounts(figures: RecordFigures) -> str:
    logs = "1 log" if figures.logs == 1 else f"{figures.logs:,} logs"
    return f"{figures.events:,} events in {logs}"


def _later(figures: RecordFigures) -> str:
    return f"; the next start brings it to format {FORMAT_VERSION}" if figures.format_version < FORMAT_VERSION else ""
