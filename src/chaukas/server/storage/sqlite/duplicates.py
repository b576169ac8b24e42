"""Which of the events that arrive are stored already, and whether with the same content.

An id's key leads to the blocks that may hold it, the block's columns to the indexes whose key is equal, the segment to the
event; its id is compared as a string. Nearly always the first step says "none" for a whole commit in one statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import apsw

from chaukas.server.storage.contract import EventRecord
from chaukas.server.storage.sqlite.blocks import BlockReader
from chaukas.server.storage.sqlite.columns import EVENTS_PER_BLOCK
from chaukas.server.storage.sqlite.postings import Postings
from chaukas.server.storage.sqlite.segments import SegmentReader
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["Duplicates", "StoredIdentity"]


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """Where an event id stands, and what decides "same content"."""

    index: int
    salts: bytes
    digest: bytes
    stored: bytes

    def same_content(self, received: bytes) -> bool:
        """Whether these bytes, as received, are the ones that came first under the id, or those that were made of them."""
        return received == self.stored or sha256(self.salts + received).digest() == self.digest


class Duplicates:
    """Looks ids up, for the writer."""

    def __init__(self, postings: Postings, segments: SegmentReader, blocks: BlockReader) -> None:
        self._postings = postings
        self._segments = segments
        self._blocks = blocks

    def stored(
        self,
        database: apsw.Connection,
        log_no: int,
        records: Sequence[EventRecord],
        keys: Sequence[int],
        prefixes: Sequence[bytes],
    ) -> dict[str, StoredIdentity]:
        """Those of the records' ids that the log holds; `keys` are their keys, `prefixes` those of their postings."""
        candidates = self._postings.existing(database, prefixes)
        if not candidates:
            return {}
        found: dict[str, StoredIdentity] = {}
        for record, key, prefix in zip(records, keys, prefixes, strict=True):
            if prefix in candidates and record.event_id not in found:
                identity = self._look_up(database, log_no, record.event_id, key, candidates[prefix])
                if identity is not None:
                    found[record.event_id] = identity
        return found

    def _look_up(
        self, database: apsw.Connection, log_no: int, event_id: str, key: int, blocks: Sequence[int]
    ) -> StoredIdentity | None:
        for block_no in blocks:
            index = block_no * EVENTS_PER_BLOCK
            for columns in self._blocks.columns_of(database, log_no, block_no):
                for position in columns.positions_of_id(key):
                    segment = self._segments.segment_of(database, log_no, index + position)
                    at = index + position - segment.first_index
                    stored = segment.bodies[at]
                    if Event.FromString(stored).event_id == event_id:
                        return StoredIdentity(index + position, segment.salts_of(at), segment.digest_of(at), stored)
                index += columns.events
        return None
