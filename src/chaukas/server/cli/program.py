# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""The commands and their flags. What a command does stands in a module of its own; `docs/cli.md` describes all of it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from chaukas.server.cli.daily_commands import demo, doctor, reindex, tail
from chaukas.server.cli.export_commands import export
from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.flags import (
    AgentFlag,
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
    SessionFlag,
    SetFlag,
    SeveritiesFlag,
    SinceFlag,
    SpanFlag,
    StateDirectoryFlag,
    StatusesFlag,
    SummaryFormat,
    TagsFlag,
    TenantFlag,
    TextFlag,
    TraceFlag,
    TypesFlag,
    UntilFlag,
    WitnessFlag,
    WorkersFlag,
)
from chaukas.server.cli.log_commands import checkpoint, key_commands, log_commands, proof
from chaukas.server.cli.quarantine_commands import quarantine_commands
from chaukas.server.cli.reach import SERVER_URL, connect
from chaukas.server.cli.session_commands import explain, sessions, why
from chaukas.server.cli.verify_commands import selftest_commands, verify

__all__ = ["program"]


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
    chaukas.command("export")(export)
    chaukas.command("query")(query)
    chaukas.command("tail")(tail)
    chaukas.command("stats")(stats)
    chaukas.command("sessions")(sessions)
    chaukas.command("explain")(explain)
    chaukas.command("why")(why)
    chaukas.add_typer(quarantine_commands(), name="quarantine")
    chaukas.command("demo")(demo)
    chaukas.command("doctor")(doctor)
    chaukas.command("reindex")(reindex)
    chaukas.add_typer(log_commands(), name="log")
    chaukas.add_typer(key_commands(), name="key")
    chaukas.command("proof")(proof)
    chaukas.command("checkpoint")(checkpoint)
    chaukas.command("verify")(verify)
    chaukas.add_typer(selftest_commands(), name="selftest")
    chaukas.command("version")(version)
    return chaukas


def serve(
    data: DataDirectoryFlag = None,
    state: StateDirectoryFlag = None,
    grpc: GrpcFlag = None,
    http: HttpFlag = None,
    config_file: ConfigFlag = None,
    insecure_no_auth: InsecureNoAuthFlag = None,
    workers: WorkersFlag = None,
    server_name: ServerNameFlag = None,
    witness: WitnessFlag = None,
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
        "witness": witness,
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
    witness: WitnessFlag = None,
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
        "witness": witness,
        "log_level": log_level,
        "log_format": log_format,
    }
    show_settings(load_settings(config_file, flags, assignments or ()), as_json=as_json)
    return ExitStatus.DONE


def import_(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="JSON Lines of events, - for standard input; or one export (see `export`)."),
    ],
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", metavar="FILE", help="Write every line that is not stored here, as it stands in its file."),
    ] = None,
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="VKEY", help="An export must be signed by this key. Repeatable.")
    ] = None,
    key_files: Annotated[
        list[Path] | None, typer.Option("--key-file", metavar="FILE", help="File with such keys, one per line. Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Store events from files, as chaukas-sdk writes them in file mode, or from an export; safe to repeat."""
    from rich.console import Console

    from chaukas.server.cli.event_output import json_text
    from chaukas.server.cli.export_import import import_export, is_export, read_trust
    from chaukas.server.cli.importing import import_files

    console = Console(stderr=True)
    exports = [file for file in files if is_export(file)]
    if exports and (len(files) > 1 or rejects is not None):
        raise CommandError(f"{exports[0]} is an export: import it alone, and without --rejects")
    if not exports and (keys or key_files):
        raise CommandError("--key: only exports are signed")
    trust = read_trust(keys or (), key_files or ())
    with closing(connect(server, data, config_file, create=True)) as connection:
        if exports:
            imported = import_export(connection, Path(exports[0]), trust, console)
            if not imported.authentic:
                typer.echo("no key was given (--key), so nobody vouches for this export: only its parts fit together", err=True)
            typer.echo(json_text(imported.to_json()) if as_json else str(imported))
            return imported.exit_status
        summary = import_files(connection, files, rejects, console)
    typer.echo(json_text(summary.to_json()) if as_json else str(summary))
    return summary.exit_status


def query(
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
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many (default 100).")] = None,
    all_pages: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="In the order of time; otherwise newest first.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Print only how many match.")] = False,
    form: Annotated[ListingFormat, typer.Option("--format", "-f", help="How to write them.")] = ListingFormat.TABLE,
    server: ServerFlag = SERVER_URL,
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
        text=text,
        since=since,
        until=until,
    )
    with closing(connect(server, data, config_file)) as connection:
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
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Count events and sessions, exactly."""
    from chaukas.server.cli.statistics import show_stats

    with closing(connect(server, data, config_file)) as connection:
        show_stats(connection, form, tenant=tenant, project=project, since=since, until=until)
    return ExitStatus.DONE


def version() -> ExitStatus:
    """Print the version."""
    from importlib.metadata import version as version_of

    typer.echo(f"chaukas {version_of('chaukas-spec-server')}")
    return ExitStatus.DONE
