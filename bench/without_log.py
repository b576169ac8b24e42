"""`chaukas serve` without the transparency log: the other side of the row `log-cost`, and of no use for anything else.

    python -m bench.without_log serve ...

What an acknowledgement does for the log is replaced by constants: salts, commitments, entries, leaf hashes, and the place of the
event in the answer. No heads are signed. The product has no such switch, because a record without its log cannot be proven; what
this server leaves in its directory can be counted and nothing more.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

from chaukas.server.cli import main as run_program
from chaukas.server.storage.contract import Outcome
from chaukas.server.storage.sqlite import appender, sessions
from chaukas.server.tlog.sequencer import Sequencer
from chaukas.server.transports import grpc
from chaukas.server.transports.ingest_answers import NOT_STORED
from chaukas.spec.server.v1.server_pb2 import IngestEventBatchResponse

__all__ = ["main"]

_HASH = bytes(32)


def _event_entries(
    _head: bytes, _salts: bytes, stored: Sequence[bytes], _envelopes: Sequence[int], _sessions: Iterable[bytes]
) -> list[bytes]:
    return [b""] * len(stored)


def _session_fields(_commitment: bytes, _first_sequence: int, events: int) -> list[bytes]:
    return [b""] * events


def _batch_answer(batch_id: str, outcomes: Sequence[Outcome]) -> IngestEventBatchResponse:
    answer = IngestEventBatchResponse(batch_id=batch_id)
    add = answer.results.add
    for outcome in outcomes:
        add(event_id=outcome.event_id, status=outcome.status)
    answer.rejected_count = sum(outcome.status in NOT_STORED for outcome in outcomes)
    answer.accepted_count = len(outcomes) - answer.rejected_count
    return answer


async def _nothing(_sequencer: Sequencer) -> None:
    await asyncio.sleep(0)


def _take_the_log_out() -> None:
    replacements: tuple[tuple[object, str, object], ...] = (
        (appender, "event_entries", _event_entries),
        (appender, "session_fields", _session_fields),
        (appender, "join_entries", lambda _entries: b""),
        (appender, "leaf_hash", lambda _entry: _HASH),
        (appender, "os", SimpleNamespace(urandom=lambda _size: b"")),
        (sessions, "commitment", lambda _salt, _data: _HASH),
        (grpc, "batch_answer", _batch_answer),
        (Sequencer, "start", _nothing),
        (Sequencer, "stop", _nothing),
    )
    for owner, name, value in replacements:
        # A name that is gone would leave its part of the log in, and the row would compare the server with itself.
        if not hasattr(owner, name):
            raise AttributeError(f"{owner} has no {name} any more; the log cannot be taken out")
        setattr(owner, name, value)


def main() -> int:
    """Run the command line of the server with what was said replaced."""
    _take_the_log_out()
    return run_program()


if __name__ == "__main__":
    sys.exit(main())
