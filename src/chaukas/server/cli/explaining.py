"""`chaukas sessions`, `explain` and `why`: ask, and write the answer on the terminal or into a file."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaukas.server.cli.connection import Connection
from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.flags import ListingFormat
from chaukas.server.cli.querying import scope_id
from chaukas.server.cli.session_line import Asked, SessionLine
from chaukas.server.cli.terminal import output_console
from chaukas.server.explain.quoting import one_line
from chaukas.server.explain.rendering.forms import AnswerForm
from chaukas.server.operations.explained_events import Subject

__all__ = ["show_explained", "show_sessions", "subject_of"]

_LIMIT_DEFAULT: Final = 50
_PAGE_SIZE_MAX: Final = 1000
_ID_CHARS: Final = 120
#: How the lines of a tree are set off: what a line begins with or holds, and its style.
_STYLES: Final = (
    (re.compile(r"^(?:Run|Fragment|Findings|Why|Session|Trace|The run)\b.*"), "bold"),
    (re.compile(r"^error\b.*|; it failed.*?(?=  \[|$)|; it is recorded as failed"), "red"),
    (re.compile(r"^warn\b|; no end of it is recorded|; it did not end.*?(?=  \[|$)"), "yellow"),
    (re.compile(r"^info\b"), "cyan"),
    (re.compile(r"^[ │├└─]+|\[[A-Za-z0-9._, -]+\]$"), "dim"),
)


def subject_of(tenant: str | None, project: str | None, session: str | None, trace: str | None, event: str | None) -> Subject:
    """What is asked about. Raises `CommandError` unless exactly one id is given."""
    given = [flag for flag, value in (("SESSION", session), ("--trace", trace), ("--event", event)) if value is not None]
    if len(given) != 1:
        raise CommandError(f"name one SESSION, or --trace ID, or --event ID{'; not ' + ' and '.join(given) if given else ''}")
    return Subject(
        scope_id("--tenant", tenant),
        scope_id("--project", project),
        scope_id("SESSION", session),
        scope_id("--trace", trace),
        scope_id("--event", event),
    )


def show_explained(connection: Connection, what: Asked, subject: Subject, form: AnswerForm, file: Path | None) -> None:
    """Ask, and write the answer. Raises `CommandError` when the file can not be written."""
    text = connection.explained(what, subject, form)
    if not text.endswith("\n"):
        text += "\n"
    if file is not None and str(file) != "-":
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"--output: {file} cannot be written: {error.strerror}") from error
        print(f"written to {file}", file=sys.stderr)
        return
    console = output_console()
    if form is AnswerForm.TEXT and console.is_terminal:
        _print_tree(console, text)
        return
    sys.stdout.write(text)


def _print_tree(console: Console, text: str) -> None:
    for line in text.splitlines():
        shown = Text(line, no_wrap=False)
        for pattern, style in _STYLES:
            shown.highlight_regex(pattern, style)
        console.print(shown, soft_wrap=True)


def show_sessions(
    connection: Connection, form: ListingFormat, *, tenant: str | None, project: str | None, limit: int | None, follow_pages: bool
) -> None:
    """Write the newest sessions, at most `limit` of them (50 when None) unless all pages are followed."""
    scope = scope_id("--tenant", tenant), scope_id("--project", project)
    remaining = None if follow_pages else limit or _LIMIT_DEFAULT
    lines: list[SessionLine] = []
    token = ""
    while remaining is None or len(lines) < remaining:
        size = _PAGE_SIZE_MAX if remaining is None else min(remaining - len(lines), _PAGE_SIZE_MAX)
        page, token = connection.sessions(*scope, size, token)
        lines += page
        if not token:
            break
    if form is ListingFormat.TABLE:
        _print_table(lines)
    elif form is ListingFormat.JSONL:
        sys.stdout.writelines(json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in lines)
    else:
        sys.stdout.write(json.dumps([asdict(line) for line in lines], ensure_ascii=False, indent=2) + "\n")
    if token and limit is None:
        print(f"{len(lines)} sessions shown, there are more: use --limit N or --all", file=sys.stderr)
    elif not lines and sys.stderr.isatty():
        print("there is no session", file=sys.stderr)


def _print_table(lines: list[SessionLine]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("LAST EVENT", "FIRST EVENT", "EVENTS", "TENANT", "PROJECT"):
        table.add_column(heading, justify="right" if heading == "EVENTS" else "left", no_wrap=True)
    table.add_column("SESSION", overflow="fold")
    for line in lines:
        cells = [_shown(line.last_time), _shown(line.first_time), str(line.events)]
        names = [one_line(name, _ID_CHARS) for name in (line.tenant_id, line.project_id, line.session_id)]
        table.add_row(*(Text(cell) for cell in (*cells, *names)))
    if lines:
        output_console().print(table)


def _shown(time: str) -> str:
    """To the second: `2026-11-22 11:43:37`."""
    return time[:19].replace("T", " ")
