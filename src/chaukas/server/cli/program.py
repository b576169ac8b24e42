# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""The commands and their flags. What a command does stands in a module of its own; `docs/cli.md` describes all of it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.flags import (
    ConfigFlag,
    DataDirectoryFlag,
    GrpcFlag,
    HttpFlag,
    InsecureNoAuthFlag,
    ListingFormat,
    LogFormatFlag,
    LogLevelFlag,
    OfflineConfigFlag,
    OfflineDataFlag,
    ProjectFlag,
    ServerFlag,
    ServerNameFlag,
    SetFlag,
    SinceFlag,
    StateDirectoryFlag,
    SummaryFormat,
    TenantFlag,
    UntilFlag,
    WorkersFlag,
    filter_flag,
)

if TYPE_CHECKING:
    from chaukas.server.cli.connection import Connection

__all__ = ["program"]

_SERVER_URL = "http://127.0.0.1:8080"


def program() -> typer.Typer:
    """All commands under one name."""
    chaukas = typer.Typer(
        name="chaukas",
        help="The record of what AI agents did: serve it, fill it, ask it.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    chaukas.command("serve")(serve)
    chaukas.command("config")(config)
    chaukas.command("import")(import_)
    chaukas.command("query")(query)
    chaukas.command("stats")(stats)
    chaukas.add_typer(_quarantine_commands(), name="quarantine")
    chaukas.command("version")(version)
    return chaukas


def _quarantine_commands() -> typer.Typer:
    quarantine = typer.Typer(help="Look at what was kept aside, and hand it in again.")
    quarantine.command("list")(quarantine_list)
    quarantine.command("show")(quarantine_show)
    quarantine.command("resubmit")(quarantine_resubmit)
    return quarantine


def serve(
    data: DataDirectoryFlag = None,
    state: StateDirectoryFlag = None,
    grpc: GrpcFlag = None,
    http: HttpFlag = None,
    config_file: ConfigFlag = None,
    insecure_no_auth: InsecureNoAuthFlag = None,
    workers: WorkersFlag = None,
    server_name: ServerNameFlag = None,
    log_level: LogLevelFlag = None,
    log_format: LogFormatFlag = None,
    assignments: SetFlag = None,
) -> ExitStatus:
    """Run the server until SIGTERM or Ctrl-C."""
    # The core of gRPC writes lines of its own beside ours, and only for what it also reports as an error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from chaukas.server.app import run
    from chaukas.server.cli.configuration import load_settings

    flags = {
        "data_dir": data,
        "state_dir": state,
        "grpc_address": grpc,
        "http_address": http,
        "insecure_no_auth": insecure_no_auth,
        "workers": workers,
        "server_name": server_name,
        "log_level": log_level,
        "log_format": log_format,
    }
    return ExitStatus.DONE if run(load_settings(config_file, flags, assignments or ())) == 0 else ExitStatus.FAILED


def config(
    data: DataDirectoryFlag = None,
    state: StateDirectoryFlag = None,
    grpc: GrpcFlag = None,
    http: HttpFlag = None,
    config_file: ConfigFlag = None,
    insecure_no_auth: InsecureNoAuthFlag = None,
    workers: WorkersFlag = None,
    server_name: ServerNameFlag = None,
    log_level: LogLevelFlag = None,
    log_format: LogFormatFlag = None,
    assignments: SetFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the description of every setting.")] = False,
) -> ExitStatus:
    """Print the settings that `serve` would use with the same flags, and where each comes from."""
    from chaukas.server.cli.configuration import load_settings, show_settings

    flags = {
        "data_dir": data,
        "state_dir": state,
        "grpc_address": grpc,
        "http_address": http,
        "insecure_no_auth": insecure_no_auth,
        "workers": workers,
        "server_name": server_name,
        "log_level": log_level,
        "log_format": log_format,
    }
    show_settings(load_settings(config_file, flags, assignments or ()), as_json=as_json)
    return ExitStatus.DONE


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="JSON Lines of events; - is standard input.")],
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", metavar="FILE", help="Write every line that is not stored here, as it stands in its file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    server: ServerFlag = _SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Store events from files, as chaukas-sdk writes them in file mode; safe to repeat."""
    from rich.console import Console

    from chaukas.server.cli.event_output import json_text
    from chaukas.server.cli.importing import import_files

    with closing(_connect(server, data, config_file, create=True)) as connection:
        summary = import_files(connection, files, rejects, Console(stderr=True))
    typer.echo(json_text(summary.to_json()) if as_json else str(summary))
    return summary.exit_status


def query(
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    session: Annotated[str | None, filter_flag("--session", "ID", "Only this session.")] = None,
    agent: Annotated[str | None, filter_flag("--agent", "ID", "Only this agent.")] = None,
    trace: Annotated[str | None, filter_flag("--trace", "ID", "Only this trace.")] = None,
    span: Annotated[str | None, filter_flag("--span", "ID", "Only this span.")] = None,
    types: Annotated[
        list[str] | None, filter_flag("--type", "TYPE", "Only these types, such as TOOL_CALL_START; repeatable.")
    ] = None,
    statuses: Annotated[
        list[str] | None, filter_flag("--status", "STATUS", "Only these statuses, such as FAILED; repeatable.")
    ] = None,
    severities: Annotated[
        list[str] | None, filter_flag("--severity", "SEVERITY", "Only these severities, such as ERROR; repeatable.")
    ] = None,
    tags: Annotated[list[str] | None, filter_flag("--tag", "TAG", "Only with this tag; repeated, all must be there.")] = None,
    since: SinceFlag = None,
    until: UntilFlag = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many (default 100).")] = None,
    all_pages: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="In the order of time; otherwise newest first.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Print only how many match.")] = False,
    form: Annotated[ListingFormat, typer.Option("--format", "-f", help="How to write them.")] = ListingFormat.TABLE,
    server: ServerFlag = _SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Show the events that match all filters."""
    from chaukas.server.cli.querying import Selection, count_events, list_events

    if all_pages and limit is not None:
        raise CommandError("--all and --limit contradict each other; give one of them")
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
        since=since,
        until=until,
    )
    with closing(_connect(server, data, config_file)) as connection:
        if count:
            typer.echo(count_events(connection, selection))
        else:
            list_events(connection, selection, form, limit=limit, follow_pages=all_pages, oldest_first=oldest_first)
    return ExitStatus.DONE


def stats(
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    since: SinceFlag = None,
    until: UntilFlag = None,
    form: Annotated[SummaryFormat, typer.Option("--format", "-f", help="How to write them.")] = SummaryFormat.TABLE,
    server: ServerFlag = _SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Count events and sessions, exactly."""
    from chaukas.server.cli.statistics import show_stats

    with closing(_connect(server, data, config_file)) as connection:
        show_stats(connection, form, tenant=tenant, project=project, since=since, until=until)
    return ExitStatus.DONE


def quarantine_list(
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    unattributed: Annotated[bool, typer.Option("--unattributed", help="Only what belongs to no tenant.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many (default 100).")] = None,
    all_items: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    form: Annotated[ListingFormat, typer.Option("--format", "-f", help="How to write them.")] = ListingFormat.TABLE,
    server: ServerFlag = _SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Show what was kept aside, oldest first."""
    from chaukas.server.cli.quarantine import LIMIT_DEFAULT, list_items

    if all_items and limit is not None:
        raise CommandError("--all and --limit contradict each other; give one of them")
    tenant, project = _quarantine_scope(tenant, project, unattributed=unattributed)
    with closing(_connect(server, data, config_file)) as connection:
        list_items(connection, form, tenant, project, None if all_items else limit or LIMIT_DEFAULT)
    return ExitStatus.DONE


def quarantine_show(
    quarantine_id: Annotated[str, typer.Argument(metavar="ID", help="An id from `quarantine list`.")],
    raw: Annotated[
        str | None, typer.Option("--raw", metavar="FILE", help="Write only the kept bytes, into FILE; - is standard output.")
    ] = None,
    form: Annotated[SummaryFormat, typer.Option("--format", "-f", help="How to write it.")] = SummaryFormat.TABLE,
    server: ServerFlag = _SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Show one item: why it was kept aside, and what it holds."""
    from chaukas.server.cli.quarantine import show_item

    with closing(_connect(server, data, config_file)) as connection:
        show_item(connection, form, quarantine_id, raw)
    return ExitStatus.DONE


def quarantine_resubmit(
    quarantine_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Ids from `quarantine list`.", show_default=False)
    ] = None,
    all_items: Annotated[
        bool, typer.Option("--all", help="All items, or those of --tenant, --project or --unattributed.")
    ] = False,
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    unattributed: Annotated[bool, typer.Option("--unattributed", help="Only what belongs to no tenant.")] = False,
    as_tenant: Annotated[
        str, typer.Option("--as-tenant", metavar="ID", help="The tenant of items that belong to none.", show_default=False)
    ] = "",
    as_project: Annotated[
        str, typer.Option("--as-project", metavar="ID", help="The project of items that belong to none.", show_default=False)
    ] = "",
    server: ServerFlag = _SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Hand items in again after their cause was removed; what is stored then leaves the quarantine."""
    from chaukas.server.cli.quarantine import items_of, resubmit_items

    if bool(quarantine_ids) == all_items:
        raise CommandError("name the items to hand in again, or give --all")
    if not all_items and (tenant or project or unattributed):
        raise CommandError("--tenant, --project and --unattributed select among --all; ids need no selection")
    tenant, project = _quarantine_scope(tenant, project, unattributed=unattributed)
    with closing(_connect(server, data, config_file)) as connection:
        ids = quarantine_ids or [row.quarantine_id for row in items_of(connection, tenant, project)]
        return resubmit_items(connection, ids, as_tenant, as_project)


def version() -> ExitStatus:
    """Print the version."""
    from importlib.metadata import version as version_of

    typer.echo(f"chaukas {version_of('chaukas-spec-server')}")
    return ExitStatus.DONE


def _quarantine_scope(tenant: str | None, project: str | None, *, unattributed: bool) -> tuple[str | None, str | None]:
    """Tenant and project as the quarantine asks for them; an empty tenant means "nobody's"."""
    if unattributed and (tenant is not None or project is not None):
        raise CommandError("--unattributed contradicts --tenant and --project")
    if "" in (tenant, project):
        raise CommandError("--tenant and --project must not be empty; --unattributed selects what belongs to nobody")
    return ("" if unattributed else tenant), project


def _connect(server_url: str, data_dir: Path | None, config_file: Path | None, *, create: bool = False) -> Connection:
    """The directory's data when one is named, the running server otherwise; see `DirectoryConnection` for `create`."""
    if data_dir is not None:
        from chaukas.server.cli.directory_connection import DirectoryConnection

        return DirectoryConnection(data_dir, config_file, create=create)
    if config_file is not None:
        raise CommandError("--config holds the settings of a directory; give --data DIR with it")
    from chaukas.server.cli.http_connection import HttpConnection

    return HttpConnection(server_url)
