# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""`chaukas sessions`, `explain` and `why`: their flags. What they do stands in `explaining`."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chaukas.server.cli.failure import ExitStatus
from chaukas.server.cli.flags import (
    ListingFormat,
    OfflineConfigFlag,
    OfflineDataFlag,
    ProjectFlag,
    ServerFlag,
    TenantFlag,
    TraceFlag,
    filter_flag,
)
from chaukas.server.cli.reach import SERVER_URL, connect

__all__ = ["explain", "sessions", "why"]


class ExplanationFormat(StrEnum):
    """How an explanation is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    MERMAID = "mermaid"


FormFlag = Annotated[ExplanationFormat, typer.Option("--format", "-f", help="How to write it.")]
FileFlag = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it into this file; - is standard output.")
]
EventFlag = Annotated[str | None, filter_flag("--event", "ID", "The run that this event belongs to.")]


def sessions(
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many (default 50).")] = None,
    all_pages: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    form: Annotated[ListingFormat, typer.Option("--format", "-f", help="How to write them.")] = ListingFormat.TABLE,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """List sessions, those with the newest events first."""
    from chaukas.server.cli.explaining import show_sessions
    from chaukas.server.cli.failure import CommandError

    if all_pages and limit is not None:
        raise CommandError("--all and --limit contradict each other; give one of them")
    with closing(connect(server, data, config_file)) as connection:
        show_sessions(connection, form, tenant=tenant, project=project, limit=limit, follow_pages=all_pages)
    return ExitStatus.DONE


def explain(
    session: Annotated[str | None, typer.Argument(metavar="[SESSION]", help="The session.", show_default=False)] = None,
    trace: TraceFlag = None,
    event: EventFlag = None,
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    form: FormFlag = ExplanationFormat.TEXT,
    output: FileFlag = None,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Tell what an agent did in a session, in which order, what it answered, and what is missing or open."""
    from chaukas.server.cli.explaining import show_explained, subject_of
    from chaukas.server.cli.session_line import Asked
    from chaukas.server.explain.rendering.forms import AnswerForm

    subject = subject_of(tenant, project, session, trace, event)
    with closing(connect(server, data, config_file)) as connection:
        show_explained(connection, Asked.EXPLANATION, subject, AnswerForm(form.value), output)
    return ExitStatus.DONE


def why(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event: an output, a tool call, an error, a decision.")],
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    form: FormFlag = ExplanationFormat.TEXT,
    output: FileFlag = None,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Tell what led to an event, and what it led to, each step with its evidence."""
    from chaukas.server.cli.explaining import show_explained, subject_of
    from chaukas.server.cli.session_line import Asked
    from chaukas.server.explain.rendering.forms import AnswerForm

    subject = subject_of(tenant, project, None, None, event)
    with closing(connect(server, data, config_file)) as connection:
        show_explained(connection, Asked.WHY, subject, AnswerForm(form.value), output)
    return ExitStatus.DONE
