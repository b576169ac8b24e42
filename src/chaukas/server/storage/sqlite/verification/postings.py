"""Postings: every id and tag of every block has one, in the table or waiting to be merged into it, and there are no others.

Each one that must be there is looked for; since they are different from each other, it is enough then to compare their number.
What is not in the table yet stands in `pending_postings`, which is looked into at the end: rows move from there to the table.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from typing import Any

import apsw

from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK
from chaukas.server.storage.sqlite.connection import fetch
from chaukas.server.storage.sqlite.keys import IdKeys
from chaukas.server.storage.sqlite.postings import (
    KIND_AGENT,
    KIND_EVENT_ID,
    KIND_SESSION,
    KIND_SPAN,
    KIND_TAG,
    KIND_TRACE,
    pack_prefixes,
)
from chaukas.server.storage.sqlite.verification.entries import Block
from chaukas.server.storage.sqlite.verification.findings import Findings

__all__ = ["PostingsCheck"]

_POSTING = struct.Struct(">IQI")
_BLOCK = struct.Struct(">I")
_POSTING_BYTES = _POSTING.size
#: So many may wait in `pending_postings` before they are looked for there: some generations of the writer.
_OPEN_MAX = 250_000

_SQL_MISSING = "SELECT value FROM carray(?) c WHERE NOT EXISTS (SELECT 1 FROM postings WHERE entry = c.value)"
_SQL_PENDING = "SELECT entries FROM pending_postings"
_SQL_COUNT = "SELECT count(*) FROM postings"
_SQL_BY_BLOCK = "SELECT substr(entry, 1, 4), substr(entry, 13, 4), count(*), max(length(entry)) FROM postings GROUP BY 1, 2"
_SQL_LIKE = "SELECT length(entry) FROM postings WHERE length(entry) <> 16 LIMIT 1"


class PostingsCheck:
    """The postings of all logs."""

    def __init__(self, keys: IdKeys) -> None:
        self._keys = keys
        #: Postings by log number and block.
        self._counts: Counter[tuple[int, int]] = Counter()
        self._open: set[bytes] = set()

    def copy(self) -> PostingsCheck:
        """An independent copy."""
        other = PostingsCheck(self._keys)
        other._counts, other._open = self._counts.copy(), set(self._open)
        return other

    def add(
        self,
        database: apsw.Connection,
        log_no: int,
        origins: dict[int, str],
        block: Block,
        session_numbers: list[int],
        findings: Findings,
    ) -> None:
        """Look for those of a block; sets the block's `id_keys`."""
        keys = self._keys.keys
        events = block.events if block.all_events else [event for event in block.events if event]
        block.id_keys = keys([event.event_id for event in events])  # type: ignore[union-attr]
        if not block.all_events:
            in_order = iter(block.id_keys)
            block.id_keys = [next(in_order) if event else 0 for event in block.events]
        prefixes = pack_prefixes(log_no, KIND_EVENT_ID, dict.fromkeys(_keys_of_events(block)))
        prefixes += pack_prefixes(log_no, KIND_SESSION, filter(None, dict.fromkeys(session_numbers)))
        for kind, position in ((KIND_TRACE, 2), (KIND_SPAN, 3), (KIND_AGENT, 4)):
            texts = {event[position] for event in events}  # type: ignore[index]
            texts.discard("")
            prefixes += pack_prefixes(log_no, kind, dict.fromkeys(keys(texts)))  # type: ignore[arg-type]
        tags = {tag for tagset in {event.tags for event in events} for tag in tagset}  # type: ignore[union-attr]
        prefixes += pack_prefixes(log_no, KIND_TAG, dict.fromkeys(keys(tags)))
        number = block.first_index // EVENTS_PER_BLOCK
        end = _BLOCK.pack(number)
        made = sorted([prefix + end for prefix in prefixes])
        self._counts[log_no, number] = len(made)
        self._open.update([entry for (entry,) in fetch(database, _SQL_MISSING, (apsw.carray(tuple(made)),))])
        if len(self._open) > _OPEN_MAX:
            self._look_into_pending(database, origins, findings)

    def _look_into_pending(self, database: apsw.Connection, origins: dict[int, str], findings: Findings) -> set[bytes]:
        """Report what stands in neither place; returns what is pending and not in the table."""
        pending: set[bytes] = set()
        for (entries,) in database.execute(_SQL_PENDING):
            if len(entries) % _POSTING_BYTES:
                findings.add("pending_postings", "a row does not hold whole postings")
            pending.update(entries[at : at + _POSTING_BYTES] for at in range(0, len(entries), _POSTING_BYTES))
        waiting = _missing(database, pending)
        lost = _missing(database, self._open - pending)
        blocks = Counter((entry[:4], entry[12:]) for entry in lost)
        for (packed, block), count in sorted(blocks.items()):
            log_no = int.from_bytes(packed, "big") >> 3
            index = int.from_bytes(block, "big") * EVENTS_PER_BLOCK
            findings.add("postings", f"{count} postings of a block are missing", origins.get(log_no, ""), index, count=count)
        self._counts.subtract((int.from_bytes(e[:4], "big") >> 3, int.from_bytes(e[12:], "big")) for e in lost)
        self._open &= waiting
        return waiting

    def settle(self, database: apsw.Connection, origins: dict[int, str], unread: set[int], findings: Findings) -> None:
        """What was not in the table must be pending; then the numbers must agree. Logs as in `SessionLedger.settle`."""
        waiting = self._look_into_pending(database, origins, findings)
        ((rows,),) = fetch(database, _SQL_COUNT)
        if rows + len(waiting) == self._counts.total() and not fetch(database, _SQL_LIKE):
            return
        held: Counter[tuple[int, int]] = Counter()
        table = "postings"
        for packed, block, count, longest in database.execute(_SQL_BY_BLOCK):
            log_no = int.from_bytes(packed, "big") >> 3
            held[log_no, int.from_bytes(block, "big") if longest == _POSTING_BYTES else -1] += count
        for entry in waiting:
            place = (int.from_bytes(entry[:4], "big") >> 3, int.from_bytes(entry[12:], "big"))
            held[place] += 1
            if held[place] > self._counts[place]:
                table = "pending_postings"
        for (log_no, block), count in sorted(held.items()):
            extra = count - self._counts[log_no, block]
            if extra > 0 and log_no not in unread:
                what = f"{extra} postings belong to no event of their block"
                findings.add(table, what, origins.get(log_no, ""), max(block, 0) * EVENTS_PER_BLOCK, count=extra)

    def as_json(self) -> dict[str, Any]:
        """For the position of a verification that goes on later."""
        return {
            "counts": [[*key, count] for key, count in self._counts.items()],
            "open": b"".join(sorted(self._open)).hex(),
        }

    def resumed(self, value: dict[str, Any]) -> PostingsCheck:
        """What `as_json` wrote, with the keys of this record."""
        check = PostingsCheck(self._keys)
        check._counts = Counter({(log_no, block): count for log_no, block, count in value["counts"]})
        packed = bytes.fromhex(value["open"])
        check._open = {packed[at : at + _POSTING_BYTES] for at in range(0, len(packed), _POSTING_BYTES)}
        return check


def _keys_of_events(block: Block) -> Iterable[int]:
    """The id keys without the gaps."""
    if block.all_events:
        return block.id_keys
    return [key for key, event in zip(block.id_keys, block.events, strict=True) if event]


def _missing(database: apsw.Connection, entries: set[bytes]) -> set[bytes]:
    """Those that are not in the table."""
    if not entries:
        return set()
    return {entry for (entry,) in fetch(database, _SQL_MISSING, (apsw.carray(tuple(sorted(entries))),))}
