# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""`chaukas log`, `key`, `proof` and `checkpoint`: their flags. What they do stands in modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.flags import (
    ConfigFlag,
    DataDirectoryFlag,
    OfflineConfigFlag,
    OfflineDataFlag,
    ProjectFlag,
    ServerFlag,
    StateDirectoryFlag,
    SummaryFormat,
    TenantFlag,
)
from chaukas.server.cli.reach import SERVER_URL

__all__ = ["OfflineStateFlag", "checkpoint", "key_commands", "log_commands", "proof"]

OfflineStateFlag = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="The state directory, with the key, that belongs to --data.",
        rich_help_panel="Which server",
    ),
]
_OutputFlag = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there, not on standard output.")
]


def log_commands() -> typer.Typer:
    """The transparency logs."""
    logs = typer.Typer(help="The transparency logs: one for each tenant and project.")
    # Without a callback, Typer would make a single command of a group that has only one.
    logs.callback()(lambda: None)
    logs.command("list")(log_list)
    return logs


def key_commands() -> typer.Typer:
    """The keys that sign them."""
    keys = typer.Typer(help="The keys that sign the transparency logs.")
    keys.callback()(lambda: None)
    keys.command("show")(key_show)
    keys.command("rotate")(key_rotate)
    return keys


def log_list(
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    form: Annotated[SummaryFormat, typer.Option("--format", "-f", help="How to write them.")] = SummaryFormat.TABLE,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    state: OfflineStateFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Show the logs: origin, number of entries, and the path of their tiles."""
    from chaukas.server.cli.log_listing import listed_logs, show_logs

    show_logs(listed_logs(server, data, state, config_file, tenant=tenant, project=project), form)
    return ExitStatus.DONE


def key_show(
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    all_keys: Annotated[bool, typer.Option("--all", help="The retired keys too; with --data.")] = False,
    prefix: Annotated[bool, typer.Option("--prefix", help="One key for all logs, as a witness takes it.")] = False,
    witness: Annotated[bool, typer.Option("--witness", help="The key of this server as a witness; with --state.")] = False,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    state: OfflineStateFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Print the verifier key of each log, one per line: what an auditor checks everything else against."""
    from chaukas.server.cli.key_showing import directory_settings, show_prefix_keys, show_retired_keys, show_witness_key
    from chaukas.server.cli.log_listing import listed_logs, show_keys

    if witness:
        if state is None and config_file is None:
            raise CommandError("--witness: the key is in the state directory; name it with --state or --config")
        show_witness_key(directory_settings(data, state, config_file))
        return ExitStatus.DONE
    if all_keys and data is None:
        raise CommandError("--all: the retired keys are listed in the state directory; give --data and --state")
    logs = listed_logs(server, data, state, config_file, tenant=tenant, project=project)
    if prefix:
        show_prefix_keys(logs)
        return ExitStatus.DONE
    if all_keys:
        show_retired_keys(logs, directory_settings(data, state, config_file))
    show_keys(logs)
    return ExitStatus.DONE


def key_rotate(
    data: DataDirectoryFlag = None,
    state: StateDirectoryFlag = None,
    config_file: ConfigFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the keys as JSON.")] = False,
) -> ExitStatus:
    """Replace the key that signs the logs of a stopped server; repeat it if it was interrupted."""
    from chaukas.server.cli.configuration import load_settings
    from chaukas.server.cli.key_rotating import rotate

    rotate(load_settings(config_file, {"data_dir": data, "state_dir": state}, ()), as_json=as_json)
    return ExitStatus.DONE


def proof(
    event_id: Annotated[str | None, typer.Argument(metavar="[EVENT_ID]", help="The event.", show_default=False)] = None,
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    origin: Annotated[str | None, typer.Option("--origin", metavar="ORIGIN", help="Instead of an event: the log.")] = None,
    index: Annotated[int | None, typer.Option("--index", metavar="N", min=0, help="With --origin: the entry.")] = None,
    evidence: Annotated[bool, typer.Option("--evidence", help="With the event itself: evidence as JSON.")] = False,
    output: _OutputFlag = None,
    server: ServerFlag = SERVER_URL,
) -> ExitStatus:
    """Get the proof that an event is in the record, for `python -m chaukas.verify`."""
    from chaukas.server.cli.proof_output import write_proof

    write_proof(server, event_id, tenant=tenant, project=project, origin=origin, index=index, evidence=evidence, output=output)
    return ExitStatus.DONE


def checkpoint(
    origin: Annotated[
        str | None, typer.Argument(metavar="[ORIGIN]", help="The log; not needed where there is one only.", show_default=False)
    ] = None,
    output: _OutputFlag = None,
    server: ServerFlag = SERVER_URL,
) -> ExitStatus:
    """Get the newest signed head of a log: keep it, it convicts a log that is rewritten later."""
    from chaukas.server.cli.proof_output import write_checkpoint

    write_checkpoint(server, origin, output)
    return ExitStatus.DONE
