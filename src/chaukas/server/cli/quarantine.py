"""`chaukas quarantine`: what was kept aside, one item with its bytes, and handing items in again."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from chaukas.server.cli.connection import Connection
from chaukas.server.cli.event_line import printable
from chaukas.server.cli.event_output import json_text
from chaukas.server.cli.failure import CommandError, ExitStatus
from chaukas.server.cli.flags import ListingFormat, SummaryFormat
from chaukas.server.cli.terminal import output_console
from chaukas.server.cli.times import shown_time
from chaukas.server.errors import InvalidRequestError, NotFoundError
from chaukas.server.storage.contract import QuarantineRow
from chaukas.server.wire.json_form import event_to_openapi, is_json
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["LIMIT_DEFAULT", "items_of", "list_items", "resubmit_items", "show_item"]

LIMIT_DEFAULT: Final = 100
_PAGE_ROWS: Final = 500
_DUMPED_BYTES_MAX: Final = 512
#: Characters from which a terminal shows whose an item is.
_WIDE_TERMINAL: Final = 120
#: Stands for standard output where a file is named.
_STDOUT: Final = "-"


def items_of(connection: Connection, tenant_id: str | None, project_id: str | None) -> Iterator[QuarantineRow]:
    """All items of a scope, oldest first, without their bytes; None means any, "" attributed to nobody."""
    after = ""
    while True:
        rows, after = connection.quarantine_list(tenant_id, project_id, _PAGE_ROWS, after)
        yield from rows
        if not after:
            return


def list_items(
    connection: Connection, form: ListingFormat, tenant_id: str | None, project_id: str | None, limit: int | None
) -> None:
    """Write the items on standard output, oldest first; all of them when `limit` is None."""
    rows: list[QuarantineRow] = []
    more = False
    for row in items_of(connection, tenant_id, project_id):
        if len(rows) == limit:
            more = True
            break
        rows.append(row)
    if form is ListingFormat.TABLE:
        if rows:
            console = output_console()
            console.print(_table(rows, wide=console.width >= _WIDE_TERMINAL))
        elif sys.stderr.isatty():
            print("nothing is kept aside", file=sys.stderr)
    elif form is ListingFormat.JSONL:
        for row in rows:
            _write(json_text(_row_to_json(row)))
    else:
        _write(json_text([_row_to_json(row) for row in rows], indent=2))
    if more:
        print(f"{limit} items shown, more are kept: use --limit N or --all", file=sys.stderr)


def show_item(connection: Connection, form: SummaryFormat, quarantine_id: str, raw_file: str | None) -> None:
    """Write one item on standard output, or only its bytes into a file (`-` is standard output)."""
    try:
        row = connection.quarantine_show(quarantine_id)
    except NotFoundError as error:
        raise CommandError(error.public_message, ExitStatus.PARTLY) from error
    if raw_file is not None:
        _write_raw(raw_file, row.raw)
    elif form is SummaryFormat.JSON:
        _write(json_text({**_row_to_json(row), "raw": base64.b64encode(row.raw).decode("ascii")}, indent=2))
    else:
        console = output_console()
        console.print(_facts(row))
        console.print()
        console.print(Text(_content(row.raw)), soft_wrap=True)


def resubmit_items(
    connection: Connection, quarantine_ids: Iterator[str] | Sequence[str], tenant: str, project: str
) -> ExitStatus:
    """Hand the items in again, one line each on standard output; `PARTLY` when one of them is not stored now."""
    stored = kept = 0
    for quarantine_id in quarantine_ids:
        try:
            outcome = connection.quarantine_resubmit(quarantine_id, tenant, project)
        except (NotFoundError, InvalidRequestError) as error:
            _write(f"{printable(quarantine_id)}: {printable(error.public_message)}")
            kept += 1
            continue
        if outcome.index >= 0:
            stored += 1
            _write(f"{quarantine_id}: {outcome.status}, stands at {outcome.origin}#{outcome.index}")
        else:
            kept += 1
            _write(f"{quarantine_id}: still kept aside: {printable(outcome.reason)}")
    print(f"{stored} stored, {kept} not", file=sys.stderr)
    return ExitStatus.PARTLY if kept else ExitStatus.DONE


def _write(line: str) -> None:
    sys.stdout.buffer.write(f"{line}\n".encode())


def _write_raw(raw_file: str, raw: bytes) -> None:
    if raw_file == _STDOUT:
        sys.stdout.buffer.write(raw)
        return
    try:
        Path(raw_file).write_bytes(raw)
    except OSError as error:
        raise CommandError(f"--raw: {raw_file} can not be written: {error.strerror}") from error


def _table(rows: Sequence[QuarantineRow], *, wide: bool) -> Table:
    """What a narrow terminal has no room for stands in `show`; the reasons are folded, never cut."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("ID", no_wrap=True)
    table.add_column("LAST RECEIVED (UTC)", no_wrap=True)
    table.add_column("TIMES", no_wrap=True, justify="right")
    table.add_column("BYTES", no_wrap=True, justify="right")
    if wide:
        table.add_column("TENANT/PROJECT", overflow="fold", max_width=32)
        table.add_column("EVENT ID", overflow="fold", max_width=36)
    table.add_column("REASONS", overflow="fold")
    for row in rows:
        scope = "/".join(filter(None, (row.tenant_id, row.project_id)))
        names = (scope or "-", row.event_id or "-") if wide else ()
        table.add_row(
            row.quarantine_id,
            shown_time(_timestamp(row.last_received_at_ns)),
            str(row.count),
            f"{row.size_bytes:,}",
            *(Text(printable(name)) for name in names),
            Text(printable("; ".join(row.reasons))),
        )
    return table


def _facts(row: QuarantineRow) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (
        ("id", row.quarantine_id),
        ("tenant", row.tenant_id or "-"),
        ("project", row.project_id or "-"),
        ("event id", row.event_id or "-"),
        ("first received", f"{shown_time(_timestamp(row.first_received_at_ns))} UTC"),
        ("last received", f"{shown_time(_timestamp(row.last_received_at_ns))} UTC"),
        ("times", str(row.count)),
        ("bytes", f"{row.size_bytes:,}"),
        *(("reason", reason) for reason in row.reasons),
    ):
        table.add_row(name, Text(printable(value)))
    return table


def _content(raw: bytes) -> str:
    """The kept bytes as a person can read them best: the event, the JSON text, or a dump."""
    if is_json(raw):
        text = raw.decode(errors="backslashreplace")
        return "\n".join(printable(line) for line in text.splitlines())
    try:
        return json_text(event_to_openapi(Event.FromString(raw)), indent=2)
    except DecodeError:
        return _dump(raw)


def _dump(raw: bytes) -> str:
    """Offset, 16 bytes in hex, and what of them is ASCII, as `xxd` prints it."""
    lines = []
    for start in range(0, min(len(raw), _DUMPED_BYTES_MAX), 16):
        part = raw[start : start + 16]
        ascii_part = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<47}  {ascii_part}")
    if len(raw) > _DUMPED_BYTES_MAX:
        lines.append(f"… {len(raw) - _DUMPED_BYTES_MAX:,} more bytes; --raw FILE writes them all")
    return "\n".join(lines)


def _row_to_json(row: QuarantineRow) -> dict[str, object]:
    return {
        "quarantine_id": row.quarantine_id,
        "tenant_id": row.tenant_id,
        "project_id": row.project_id,
        "event_id": row.event_id,
        "reasons": list(row.reasons),
        "first_received_at": _timestamp(row.first_received_at_ns).ToJsonString(),
        "last_received_at": _timestamp(row.last_received_at_ns).ToJsonString(),
        "count": row.count,
        "size_bytes": row.size_bytes,
    }


def _timestamp(nanoseconds: int) -> Timestamp:
    time = Timestamp()
    time.FromNanoseconds(nanoseconds)
    return time
