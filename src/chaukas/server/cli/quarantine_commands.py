# ruff: noqa: PLC0415  A command imports what it needs when it runs: `--help` and a slip of the pen are answered at once.
"""`chaukas quarantine`: its commands and their flags."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.flags import (
    ListingFormat,
    OfflineConfigFlag,
    OfflineDataFlag,
    ProjectFlag,
    ServerFlag,
    SummaryFormat,
    TenantFlag,
)
from chaukas.server.cli.reach import SERVER_URL, connect

__all__ = ["quarantine_commands"]


def quarantine_commands() -> typer.Typer:
    """Look at what was kept aside, and hand it in again."""
    quarantine = typer.Typer(help="Look at what was kept aside, and hand it in again.")
    quarantine.command("list")(quarantine_list)
    quarantine.command("show")(quarantine_show)
    quarantine.command("resubmit")(quarantine_resubmit)
    return quarantine


def quarantine_list(
    tenant: TenantFlag = None,
    project: ProjectFlag = None,
    unattributed: Annotated[bool, typer.Option("--unattributed", help="Only what belongs to no tenant.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many (default 100).")] = None,
    all_items: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    form: Annotated[ListingFormat, typer.Option("--format", "-f", help="How to write them.")] = ListingFormat.TABLE,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Show what was kept aside, oldest first."""
    from chaukas.server.cli.quarantine import LIMIT_DEFAULT, list_items

    if all_items and limit is not None:
        raise CommandError("--all and --limit contradict each other; give one of them")
    tenant, project = _quarantine_scope(tenant, project, unattributed=unattributed)
    with closing(connect(server, data, config_file)) as connection:
        list_items(connection, form, tenant, project, None if all_items else limit or LIMIT_DEFAULT)
    return ExitStatus.DONE


def quarantine_show(
    quarantine_id: Annotated[str, typer.Argument(metavar="ID", help="An id from `quarantine list`.")],
    raw: Annotated[
        str | None, typer.Option("--raw", metavar="FILE", help="Write only the kept bytes, into FILE; - is standard output.")
    ] = None,
    form: Annotated[SummaryFormat, typer.Option("--format", "-f", help="How to write it.")] = SummaryFormat.TABLE,
    server: ServerFlag = SERVER_URL,
    data: OfflineDataFlag = None,
    config_file: OfflineConfigFlag = None,
) -> ExitStatus:
    """Show one item: why it was kept aside, and what it holds."""
    from chaukas.server.cli.quarantine import show_item

    with closing(connect(server, data, config_file)) as connection:
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
    server: ServerFlag = SERVER_URL,
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
    with closing(connect(server, data, config_file)) as connection:
        ids = quarantine_ids or [row.quarantine_id for row in items_of(connection, tenant, project)]
        return resubmit_items(connection, ids, as_tenant, as_project)


def _quarantine_scope(tenant: str | None, project: str | None, *, unattributed: bool) -> tuple[str | None, str | None]:
    """Tenant and project as the quarantine asks for them; an empty tenant means "nobody's"."""
    if unattributed and (tenant is not None or project is not None):
        raise CommandError("--unattributed contradicts --tenant and --project")
    if "" in (tenant, project):
        raise CommandError("--tenant and --project must not be empty; --unattributed selects what belongs to nobody")
    return ("" if unattributed else tenant), project
