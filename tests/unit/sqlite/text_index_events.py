"""Small events with texts, and what an index says of them."""

from __future__ import annotations

from pathlib import Path

from chaukas.server.storage.sqlite.text_index import TextIndexReader, TextIndexWriter
from chaukas.server.text.expression import TextQuery
from chaukas.spec.common.v1.events_pb2 import Event

__all__ = ["candidates", "filled", "found", "stored"]


def stored(*tags: str) -> bytes:
    """An event with these texts."""
    return Event(event_id="id", tags=tags).SerializeToString(deterministic=True)


def filled(directory: Path, bodies: list[bytes], log_no: int = 1) -> None:
    """Begin or go on with an index of one log, and close it."""
    writer = TextIndexWriter(directory)
    writer.add(log_no, writer.indexed().get(log_no, 0), bodies)
    writer.commit()
    writer.close()


def candidates(reader: TextIndexReader, query: TextQuery, log_no: int = 1) -> tuple[list[int], bool]:
    """The indexes that may match, and whether they are exact."""
    with reader.snapshot() as snapshot:
        search = snapshot.search(query, [log_no])
        blocks = search.blocks(log_no)
        if blocks is None:
            blocks = frozenset(range(snapshot.indexed(log_no) // 1024 + 1))
        return [index for block in sorted(blocks) for index in search.in_block(log_no, block)], search.exact


def found(directory: Path, text: str, log_no: int = 1) -> list[int]:
    """As `candidates`, for a query that must be exact."""
    reader = TextIndexReader(directory)
    try:
        indexes, exact = candidates(reader, TextQuery.parse(text), log_no)
    finally:
        reader.close()
    assert exact
    return indexes
