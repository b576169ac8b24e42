# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""`chaukas tail`, `demo`, `doctor` and `reindex`: their flags. What they do stands in modules of their own."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Annotated

import typer

from chaukas.server.cli.failure import ExitStatus
from chaukas.server.cli.flags import (
    AgentFlag,
    ConfigFlag,
    DataDirectoryFlag,
    GrpcFlag,
    HttpFlag,
    InsecureNoAuthFlag,
    OfflineConfigFlag,
    OfflineDataFlag,
    ProjectFlag,
    ServerFlag,
    ServerNameFlag,
    SessionFlag,
    SetFlag,
    SeveritiesFlag,
    SpanFlag,
    StateDirectoryFlag,
    StatusesFlag,
    TagsFlag,
    TenantFlag,
    TextFlag,
    TraceFlag,
    TypesFlag,
)
from chaukas.server.cli.reach import SERVER_URL, SERVER_VARIABLE, connect

__all__ = ["demo", "doctor", "reindex", "tail"]


def tail(
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
    recent: Annotated[
        int, typer.Option("--recent", "-n", metavar="N", min=0, max=1000, help="First the N newest that are stored already.")
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One event per line, as JSON.")] = False,
    server: ServerFlag = SERVER_URL,
) -> ExitStatus:
    """Show the newest events, then each one that is stored, until Ctrl-C; a lost connection is opened again."""
    from chaukas.server.cli.querying import Selection
    from chaukas.server.cli.tailing import follow_events

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
    )
    follow_events(server, selection, recent=recent, as_json=as_json)
    return ExitStatus.DONE


def demo(
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="The sessions happen on the day before this time: 2026-11-22T11:43:40Z, 2026-11-22, -1h, now.",
            show_default="2026-01-30T18:00:00Z",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was loaded as JSON.")] = False,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Load sessions to look at into the tenant `demo`: agents of several frameworks; safe to repeat."""
    from chaukas.server.cli.demonstration import load_demo

    with closing(connect(server, data, config_file, create=True)) as connection:
        demonstration = load_demo(connection, at)
    named = None if server in (SERVER_URL, os.environ.get(SERVER_VARIABLE)) else server
    demonstration.print(as_json=as_json, server_url=named, data_dir=data, config_file=config_file)
    return demonstration.exit_status


def doctor(
    data: DataDirectoryFlag = None,
    state: StateDirectoryFlag = None,
    grpc: GrpcFlag = None,
    http: HttpFlag = None,
    config_file: ConfigFlag = None,
    insecure_no_auth: InsecureNoAuthFlag = None,
    server_name: ServerNameFlag = None,
    assignments: SetFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> ExitStatus:
    """Check everything that `serve` would need with the same flags, and say what to do; changes nothing."""
    from chaukas.server.cli.doctoring import examine

    flags = {
        "data_dir": data,
        "state_dir": state,
        "grpc_address": grpc,
        "http_address": http,
        "insecure_no_auth": insecure_no_auth,
        "server_name": server_name,
    }
    return examine(config_file, flags, assignments or (), as_json=as_json)


def reindex(
    data: DataDirectoryFlag = None,
    config_file: ConfigFlag = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
) -> ExitStatus:
    """Make the text index of a stopped server anew; the record is only read."""
    from chaukas.server.cli.configuration import load_settings
    from chaukas.server.cli.reindexing import reindex_directory

    reindex_directory(load_settings(config_file, {"data_dir": data}, ()).data_dir, quiet=quiet)
    return ExitStatus.DONE
