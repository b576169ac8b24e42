"""What could not be stored: kept once per content, counted, bounded, in the transaction of what arrived with it."""

from __future__ import annotations

import json
from hashlib import sha256

import apsw

from chaukas.server.errors import OverloadedError
from chaukas.server.storage.contract import QuarantineItem, QuarantineRow
from chaukas.server.storage.sqlite.connection import fetch

__all__ = ["Quarantine", "number_of", "read_row", "read_rows"]

_SQL_AGAIN = (
    "UPDATE quarantine SET arrivals = arrivals + 1, last_received_at_ns = max(last_received_at_ns, ?)"
    " WHERE tenant_id = ? AND project_id = ? AND digest = ? RETURNING number"
)
_SQL_TOTALS = "SELECT count(*), coalesce(sum(size_bytes), 0) FROM quarantine"
_SQL_KEEP = (
    "INSERT INTO quarantine (tenant_id, project_id, digest, event_id, reasons, first_received_at_ns, last_received_at_ns,"
    " arrivals, size_bytes, raw) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?) RETURNING number"
)
_COLUMNS = "number, tenant_id, project_id, event_id, reasons, first_received_at_ns, last_received_at_ns, arrivals, size_bytes"
_SQL_LIST = (
    f"SELECT {_COLUMNS}, x'' FROM quarantine WHERE number > ?1 AND (?2 IS NULL OR tenant_id = ?2)"  # noqa: S608  a constant
    " AND (?3 IS NULL OR project_id = ?3) ORDER BY number LIMIT ?4"
)
_SQL_GET = f"SELECT {_COLUMNS}, raw FROM quarantine WHERE number = ?"  # noqa: S608  a constant
#: Attributed items that have no entry in their log yet, oldest first.
_SQL_UNLOGGED = (
    "SELECT number, tenant_id, project_id, raw FROM quarantine WHERE place IS NULL AND tenant_id <> '' ORDER BY number LIMIT ?"
)
_SQL_LOGGED = "UPDATE quarantine SET place = ? WHERE number = ?"
_SQL_REMOVE = "DELETE FROM quarantine WHERE number = ? RETURNING size_bytes"


class Quarantine:
    """The writer's side, with the bounds."""

    def __init__(self, items_max: int, bytes_max: int) -> None:
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._items = 0
        self._bytes = 0

    def recover(self, database: apsw.Connection) -> None:
        """Read how much is kept."""
        for self._items, self._bytes in fetch(database, _SQL_TOTALS):
            pass

    def keep(self, database: apsw.Connection, item: QuarantineItem, now_ns: int) -> str:
        """Keep an item; returns its id. Raises `OverloadedError` when the quarantine is full."""
        digest = sha256(item.raw).digest()
        for (number,) in fetch(database, _SQL_AGAIN, (now_ns, item.tenant_id, item.project_id, digest)):
            return _id_of(number)
        if self._items >= self._items_max or self._bytes + len(item.raw) > self._bytes_max:
            raise OverloadedError(
                f"the quarantine is full ({self._items} of {self._items_max} items, {self._bytes} of {self._bytes_max} bytes):"
                " resubmit or remove items, or raise quarantine_items_max or quarantine_bytes_max"
            )
        reasons = json.dumps(item.reasons, ensure_ascii=False)
        row = (
            item.tenant_id, item.project_id, digest, item.event_id, reasons, now_ns, now_ns, len(item.raw), bytes(item.raw),
        )  # fmt: skip
        ((number,),) = fetch(database, _SQL_KEEP, row)
        self._items += 1
        self._bytes += len(item.raw)
        return _id_of(number)

    @staticmethod
    def unlogged(database: apsw.Connection, items_max: int) -> list[tuple[int, str, str, bytes]]:
        """Number, tenant, project and bytes of attributed items whose entries are still to be written, oldest first."""
        return [(number, tenant, project, raw) for number, tenant, project, raw in fetch(database, _SQL_UNLOGGED, (items_max,))]

    @staticmethod
    def logged(database: apsw.Connection, number: int, place: int) -> None:
        """Remember where an item's entry stands."""
        database.execute(_SQL_LOGGED, (place, number))

    def remove(self, database: apsw.Connection, quarantine_id: str) -> bool:
        """Forget an item; False when it was not there."""
        number = number_of(quarantine_id)
        if number is None:
            return False
        removed = fetch(database, _SQL_REMOVE, (number,))
        for (size,) in removed:
            self._items -= 1
            self._bytes -= size
        return bool(removed)


def read_rows(
    database: apsw.Connection, tenant_id: str | None, project_id: str | None, limit: int, after: str | None
) -> list[QuarantineRow]:
    """A listing, oldest first, without the bytes."""
    start = number_of(after) if after else 0
    rows = fetch(database, _SQL_LIST, (start or 0, tenant_id, project_id, limit))
    return [_row(row) for row in rows]


def read_row(database: apsw.Connection, quarantine_id: str) -> QuarantineRow | None:
    """One item with its bytes."""
    number = number_of(quarantine_id)
    if number is None:
        return None
    for row in fetch(database, _SQL_GET, (number,)):
        return _row(row)
    return None


def _row(row: tuple) -> QuarantineRow:  # type: ignore[type-arg]
    number, tenant_id, project_id, event_id, reasons, first, last, arrivals, size, raw = row
    return QuarantineRow(
        _id_of(number), tenant_id, project_id, event_id, tuple(json.loads(reasons)), first, last, arrivals, size, raw
    )


def _id_of(number: int) -> str:
    return f"q{number}"


def number_of(quarantine_id: str) -> int | None:
    """The row number of an id; None when no id looks like that."""
    digits = quarantine_id[1:]
    if quarantine_id[:1] != "q" or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return int(digits)
