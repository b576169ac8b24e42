"""No order of commits, failures, restarts and questions loses a posting."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

import apsw
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chaukas.server.storage.sqlite.pending import Generation, PendingPostings, block_numbers
from chaukas.server.storage.sqlite.postings import KIND_TAG, Postings, pack_prefix
from tests.unit.sqlite.record import empty_record

_keys = st.integers(0, 12)
_commits = st.lists(_keys, min_size=1, max_size=12)


class PostingsMachine(RuleBasedStateMachine):
    """One writer with tiny generations, and readers that take their time between looking into memory and into their snapshots."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name) / "record.db"
        self.database = apsw.Connection(str(self._path))
        self.database.pragma("journal_mode", "wal")
        self.database.pragma("synchronous", "off")
        with empty_record() as empty, self.database.backup("main", empty, "main") as copy:
            copy.step()
        self.database.execute("INSERT INTO logs VALUES (1, 1, 'origin', 'tenant', 'project', 0, 0, x'', 0, 0, 0, 0, 0)")
        self.postings = self._new()
        self.block = 0
        self.committed: dict[int, set[int]] = defaultdict(set)
        self.pending = PendingPostings()
        #: Readers at work: their snapshot, what they took from memory before it, and what was committed then.
        self.readers: list[tuple[apsw.Connection, tuple[Generation, ...], dict[int, set[int]]]] = []

    @staticmethod
    def _new() -> Postings:
        return Postings(10, run_postings=3, merge_postings_min=2)

    def _write(self, keys: list[int]) -> None:
        self.database.execute("UPDATE logs SET next_index = next_index + 1")
        self.postings.add(self.database, [([pack_prefix(1, KIND_TAG, key) for key in keys], self.block)])

    @rule(keys=_commits, same_block=st.booleans())
    def commit(self, keys: list[int], same_block: bool):
        self.block += not same_block
        with self.database:
            self._write(keys)
        self.postings.committed()
        for key in keys:
            self.committed[key].add(self.block)

    @rule(keys=_commits)
    def fail(self, keys: list[int]):
        """The transaction is rolled back and memory is read again, as the appender does it."""
        self.database.execute("BEGIN")
        self.block += 1
        self._write(keys)
        self.database.execute("ROLLBACK")
        self.block -= 1
        self.postings.recover(self.database)

    @rule(keys=_commits)
    def fail_but_stored(self, keys: list[int]):
        """The commit is on the disk and reported as failed: nobody tells the memory, it is read again."""
        self.block += 1
        with self.database:
            self._write(keys)
        self.postings.recover(self.database)
        for key in keys:
            self.committed[key].add(self.block)

    @rule()
    def restart(self):
        """Of the writer; the readers stay."""
        self.postings = self._new()
        self.postings.recover(self.database)

    @rule()
    def begin_to_read(self):
        generations = self.pending.generations
        snapshot = apsw.Connection(str(self._path))
        snapshot.execute("BEGIN")
        snapshot.execute("SELECT count(*) FROM logs").get  # noqa: B018  it is read, and the snapshot begins
        self.readers.append((snapshot, generations, {key: set(blocks) for key, blocks in self.committed.items()}))

    @rule()
    def finish_reading(self):
        for snapshot, generations, committed in self.readers:
            self.pending.follow(snapshot)
            for key, blocks in committed.items():
                prefix = pack_prefix(1, KIND_TAG, key)
                known = block_numbers((*generations, *self.pending.generations), prefix)
                found = set(Postings.blocks_of(snapshot, prefix, known))
                assert blocks <= found <= self.committed[key]
            snapshot.close()
        self.readers.clear()

    @invariant()
    def every_posting_is_found(self):
        prefixes = [pack_prefix(1, KIND_TAG, key) for key in range(14)]
        existing = self.postings.existing(self.database, prefixes)
        assert existing == {prefix: sorted(self.committed[key]) for key, prefix in enumerate(prefixes) if self.committed.get(key)}

    def teardown(self):
        for snapshot, _, _ in self.readers:
            snapshot.close()
        self.database.close()
        self._directory.cleanup()


class TestPostings(PostingsMachine.TestCase):
    """Whatever happens, memory and table together hold exactly the postings that were committed."""

    settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
