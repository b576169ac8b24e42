"""The frame of the record: tables, guard, indexes, and the values that belong to no log."""

from __future__ import annotations

from importlib import resources

import apsw

from chaukas.server.storage.entry import log_id_of, origin_of
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.schema import FORMAT_VERSION, read_meta
from chaukas.server.storage.sqlite.verification.findings import Findings
from chaukas.verify.verdict import COMPLETENESS

__all__ = ["check_frame", "check_gaps", "check_logs"]

_SQL_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
#: Tables with a second way to their rows, which must lead to the same rows.
_INDEXED = ("meta", "logs", "sessions", "quarantine")
_META = {"server_name", "key_secret"}
_SQL_LOGS = "SELECT log_no, log_id, origin, tenant_id, project_id, next_index, head_size, other_entries FROM logs ORDER BY log_no"
#: Rows by log number, and rows by a place whose upper bits are the log number.
_NO_LOG = 1 << 62
_BY_LOG = ("totals", "hours")
_BY_PLACE = (("segments", 40), ("tail", 40), ("tiles", 40), ("heads", 40), ("blocks", 30), ("block_columns", 30))
_SQL_SEQUENCE = (
    "SELECT (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'quarantine'), (SELECT max(number) FROM quarantine)"
)


def check_frame(database: apsw.Connection, findings: Findings) -> None:
    """Tables, indexes and triggers are those of this format, nothing beside them; indexes agree with their tables."""
    expected = apsw.Connection(":memory:")
    try:
        folder = resources.files("chaukas.server.storage.sqlite") / "migrations"
        for script in sorted(folder.iterdir(), key=lambda each: each.name):
            if script.name.endswith(".sql") and int(script.name[:4]) <= FORMAT_VERSION:
                expected.execute(script.read_text(encoding="utf-8"))
        wanted, found = set(fetch(expected, _SQL_OBJECTS)), set(fetch(database, _SQL_OBJECTS))
    finally:
        expected.close()
    for kind, name, _, _ in sorted(wanted ^ found, key=str):
        names = [{each[1] for each in objects} for objects in (wanted, found)]
        what = "was changed" if name in names[0] & names[1] else "is missing" if name in names[0] else "is none of this format"
        findings.add("schema", f"the {kind} {name} {what}")
    for table in _INDEXED:
        for (line,) in fetch(database, f"PRAGMA integrity_check({table})"):
            if line != "ok":
                findings.add(table, f"SQLite: {line}")
    if {key for (key,) in fetch(database, "SELECT key FROM meta")} != _META:
        findings.add("meta", "has other keys than " + " and ".join(sorted(_META)))
    for counted, last in fetch(database, _SQL_SEQUENCE):
        if last is not None and counted < last:
            findings.add("sqlite_sequence", "numbers of the quarantine would be given twice")


def check_logs(database: apsw.Connection, findings: Findings) -> list[tuple[int, str, str, str, int, int, int]]:
    """The rows of `logs`: number, origin, tenant, project, size, size of the newest head, entries that are no events."""
    server_name = read_meta(database, "server_name")
    rows = []
    for expected, row in enumerate(fetch(database, _SQL_LOGS), 1):
        log_no, log_id, origin, tenant_id, project_id, size, head_size, others = row
        if log_no != expected:
            findings.add("logs", f"log number {log_no} comes after {expected - 1}", origin, aspect=COMPLETENESS)
        if log_id != log_id_of(origin):
            findings.add("logs", "the log_id is not that of the origin", origin)
        if origin != origin_of(str(server_name), tenant_id, project_id):
            findings.add("logs", "the origin is not that of server name, tenant and project", origin)
        rows.append((log_no, origin, tenant_id, project_id, size, head_size, others))
    return rows


def check_gaps(database: apsw.Connection, sizes: dict[int, int], findings: Findings) -> None:
    """No rows between the logs or behind the end of one, in the tables that are read log by log."""
    for table, bits in _BY_PLACE:
        behind = 0
        first = f"SELECT min(place) FROM {table} WHERE place BETWEEN ? AND ?"  # noqa: S608  names of ours
        for log_no, size in [*sorted(sizes.items()), (_NO_LOG >> bits, 0)]:
            for (place,) in fetch(database, first, (behind, (log_no << bits) - 1)):
                if place is not None:
                    findings.add(table, f"a row at {place} belongs to no entry of any log")
            behind = log_no << bits | size if table == "segments" else (log_no + 1) << bits
        for (place,) in fetch(database, f"SELECT min(place) FROM {table}"):  # noqa: S608  names of ours
            if place is not None and place < 0:
                findings.add(table, f"a row at {place} belongs to no entry of any log")
    for table in _BY_LOG:
        orphans = f"SELECT DISTINCT log_no FROM {table} WHERE log_no NOT IN (SELECT log_no FROM logs)"  # noqa: S608  names of ours
        for (log_no,) in fetch(database, orphans):
            findings.add(table, f"rows belong to log number {log_no}, which does not exist")
