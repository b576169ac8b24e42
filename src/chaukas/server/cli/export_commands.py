# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""`chaukas export`: its flags. What it does stands in `exporting`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chaukas.server.cli.failure import ExitStatus
from chaukas.server.cli.flags import (
    AgentFlag,
    ConfigFlag,
    DataDirectoryFlag,
    ProjectFlag,
    SessionFlag,
    SeveritiesFlag,
    SinceFlag,
    SpanFlag,
    StateDirectoryFlag,
    StatusesFlag,
    TagsFlag,
    TenantFlag,
    TextFlag,
    TraceFlag,
    TypesFlag,
    UntilFlag,
)

__all__ = ["export"]


def export(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new directory, or a new file that ends with .zip.")],
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    session: SessionFlag = None,
    agent: AgentFlag = None,
    trace: TraceFlag = None,
    span: SpanFlag = None,
    types: TypesFlag = None,
    statuses: StatusesFlag = None,
    severities: SeveritiesFlag = None,
    tags: TagsFlag = None,
    text: TextFlag = None,
    since: SinceFlag = None,
    until: UntilFlag = None,
    without_json: Annotated[bool, typer.Option("--without-json", help="Leave out events.jsonl, which is for people.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    data: DataDirectoryFlag = None,
    state: StateDirectoryFlag = None,
    config_file: ConfigFlag = None,
) -> ExitStatus:
    """Write complete logs, or what matches a query, with everything that proves it; beside a running server too."""
    from rich.console import Console

    from chaukas.server.cli.configuration import load_settings
    from chaukas.server.cli.event_output import json_text
    from chaukas.server.cli.exporting import export_record
    from chaukas.server.cli.querying import Selection, scope_id

    scope_id("--tenant", tenant)
    scope_id("--project", project)
    selection = Selection(
        tenant=tenant,
        project=project,
        session=session,
        agent=agent,
        trace=trace,
        span=span,
        types=types or (),
        statuses=statuses or (),
        severities=severities or (),
        tags=tags or (),
        text=text,
        since=since,
        until=until,
    )
    settings = load_settings(config_file, {"data_dir": data, "state_dir": state}, ())
    summary = export_record(settings, path, selection, json_lines=not without_json, console=Console(stderr=True))
    typer.echo(json_text(summary.to_json()) if as_json else str(summary))
    return ExitStatus.DONE
