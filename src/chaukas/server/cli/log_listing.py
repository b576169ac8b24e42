"""`chaukas log list` and `chaukas key show`: the logs and their keys, of a running server or of a stopped one's directories."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from chaukas.server.app import open_services
from chaukas.server.cli.event_line import printable
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.flags import SummaryFormat
from chaukas.server.cli.http_log import HttpLog, LogLine
from chaukas.server.cli.querying import scope_id
from chaukas.server.cli.terminal import output_console
from chaukas.server.config import Settings
from chaukas.server.operations.log_access import log_path
from chaukas.server.query import CURSOR_SECRET_BYTES
from chaukas.server.storage.log_contract import LogKeeping
from chaukas.server.storage.sqlite.connection import DATABASE_NAME
from chaukas.server.telemetry import Telemetry
from chaukas.server.tlog.opening import signing_keys

__all__ = ["listed_logs", "show_keys", "show_logs"]


def listed_logs(
    server_url: str,
    data_dir: Path | None,
    state_dir: Path | None,
    config_file: Path | None,
    *,
    tenant: str | None,
    project: str | None,
) -> list[LogLine]:
    """The logs of a tenant and project: of the directory when one is named, of the running server otherwise.

    Raises `CommandError` for flags that do not go together, and what opening or asking raises.
    """
    tenant_id, project_id = scope_id("--tenant", tenant), scope_id("--project", project)
    if data_dir is not None:
        settings = Settings.load(
            config_file=config_file,
            flags={"data_dir": data_dir, **({"state_dir": state_dir} if state_dir is not None else {})},
        )
        return asyncio.run(_logs_of(settings, tenant_id or None, project_id or None))
    if state_dir is not None or config_file is not None:
        raise CommandError("--state and --config belong to a directory; give --data DIR with them")
    return HttpLog(server_url).logs(tenant_id, project_id)


async def _logs_of(settings: Settings, tenant_id: str | None, project_id: str | None) -> list[LogLine]:
    """From the files of a server that does not run. Nothing is signed, and no key is made."""
    if not (settings.data_dir / DATABASE_NAME).exists():
        raise CommandError(f"--data: there is no event store in {settings.data_dir}")
    key = signing_keys(settings.state_dir, settings.log_key_file, create=False)[-1]
    telemetry = Telemetry(log_level="error", log_format=settings.log_format)
    async with open_services(settings, telemetry, secrets.token_bytes(CURSOR_SECRET_BYTES)) as services:
        store = services.store
        found = await store.log_store.logs(tenant_id, project_id) if isinstance(store, LogKeeping) else []
    return [
        LogLine(log.origin, log_path(log.origin), log.size, str(key.log_key(log.origin)), log.tenant_id, log.project_id)
        for log in found
    ]


def show_logs(logs: list[LogLine], form: SummaryFormat) -> None:
    """Write them on standard output."""
    console = output_console()
    if form is SummaryFormat.JSON:
        console.file.write(f"{json_text({'logs': [asdict(log) for log in logs]}, indent=2)}\n")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("ORIGIN", overflow="fold")
    table.add_column("ENTRIES", justify="right")
    table.add_column("PATH", overflow="fold")
    for log in logs:
        table.add_row(Text(printable(log.origin)), f"{log.size:,}", Text(log.path))
    console.print(table)


def show_keys(logs: list[LogLine]) -> None:
    """One verifier key per line, as the verifier's `--key-file` reads them."""
    output = output_console().file
    for log in logs:
        output.write(f"{log.verifier_key}\n")
