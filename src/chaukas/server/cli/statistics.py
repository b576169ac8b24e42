"""`chaukas stats`: exact counts over a scope and a range of time."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from chaukas.server.cli.connection import Connection
from chaukas.server.cli.event_line import printable
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.flags import SummaryFormat
from chaukas.server.cli.querying import scope_id, time_range
from chaukas.server.cli.terminal import output_console
from chaukas.server.wire.json_form import stats_to_openapi
from chaukas.spec.server.v1.server_pb2 import GetEventStatsRequest, GetEventStatsResponse

__all__ = ["show_stats"]

_BAR_WIDTH = 20


def show_stats(
    connection: Connection,
    form: SummaryFormat,
    *,
    tenant: str | None,
    project: str | None,
    since: str | None,
    until: str | None,
) -> None:
    """Write the figures on standard output. Raises `CommandError` for a wrong flag and what the connection raises."""
    request = GetEventStatsRequest(tenant_id=scope_id("--tenant", tenant), project_id=scope_id("--project", project))
    limits = time_range(since, until)
    if limits is not None:
        request.time_range.CopyFrom(limits)
    stats = connection.stats(request)
    console = output_console()
    if form is SummaryFormat.JSON:
        console.file.write(f"{json_text(stats_to_openapi(stats), indent=2)}\n")
        return
    console.print(_totals(stats))
    if stats.events_by_type:
        console.print()
        console.print(_by_type(stats))


def _totals(stats: GetEventStatsResponse) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("events", f"{stats.total_events:,}")
    table.add_row("sessions", f"{stats.total_sessions:,}")
    table.add_row("average session", _duration(stats.avg_session_duration_ms) if stats.total_sessions else "-")
    return table


def _by_type(stats: GetEventStatsResponse) -> Table:
    """The most frequent first; a bar shows the share of the most frequent one."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("TYPE")
    table.add_column("EVENTS", justify="right")
    table.add_column("")
    most = max(stats.events_by_type.values())
    for name, count in sorted(stats.events_by_type.items(), key=lambda item: (-item[1], item[0])):
        bar = "█" * max(1, round(_BAR_WIDTH * count / most))
        table.add_row(Text(printable(name.removeprefix("EVENT_TYPE_"))), f"{count:,}", Text(bar, style="cyan"))
    return table


def _duration(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
