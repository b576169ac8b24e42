"""`chaukas proof` and `chaukas checkpoint`: what an auditor keeps, from a running server into a file."""

from __future__ import annotations

import sys
from pathlib import Path

from chaukas.server.cli.failure import CommandError
from chaukas.server.cli.http_log import HttpLog, LogLine
from chaukas.server.cli.querying import scope_id

__all__ = ["write_checkpoint", "write_proof"]


def write_proof(
    server_url: str,
    event_id: str | None,
    *,
    tenant: str | None,
    project: str | None,
    origin: str | None,
    index: int | None,
    evidence: bool,
    output: Path | None,
) -> None:
    """Write the proof of one entry. Raises `CommandError` for flags that name none, and what the server's problem means."""
    if (event_id is None) == (origin is None) or (origin is None) != (index is None):
        raise CommandError("name an event by its id, or an entry by --origin and --index together")
    entry = {
        "event_id": event_id or "",
        "tenant_id": scope_id("--tenant", tenant),
        "project_id": scope_id("--project", project),
        "origin": origin or "",
        "index": "" if index is None else str(index),
    }
    log = HttpLog(server_url)
    _write(log.evidence(entry) if evidence else log.proof_file(entry), output)


def write_checkpoint(server_url: str, origin: str | None, output: Path | None) -> None:
    """Write the newest checkpoint of a log; without an origin, of the only one there is. Raises `CommandError`."""
    server = HttpLog(server_url)
    _write(server.checkpoint(_chosen(server.logs("", ""), origin)), output)


def _chosen(logs: list[LogLine], origin: str | None) -> LogLine:
    chosen = [log for log in logs if origin in (None, log.origin)]
    if len(chosen) == 1:
        return chosen[0]
    if not logs:
        raise CommandError("the server has no log yet: it begins with the first event")
    if origin is not None:
        raise CommandError(f"there is no log {origin!r}; `chaukas log list` shows them")
    raise CommandError(f"the server has {len(logs)} logs; name one by its origin, `chaukas log list` shows them")


def _write(data: bytes, output: Path | None) -> None:
    if output is None or str(output) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}") from error
