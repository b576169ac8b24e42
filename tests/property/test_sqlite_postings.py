"""No order of commits, failures, restarts and questions loses a posting."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chaukas.server.storage.sqlite.postings import KIND_TAG, Generations, Postings, pack_prefix
from tests.unit.sqlite.record import empty_record

_keys = st.integers(0, 12)
_commits = st.lists(_keys, min_size=1, max_size=12)


class PostingsMachine(RuleBasedStateMachine):
    """One writer with tiny generations, and readers that take their time between looking into memory and into the table."""

    def __init__(self) -> None:
        super().__init__()
        self.database = empty_record()
        self.postings = self._new()
        self.block = 0
        self.committed: dict[int, set[int]] = defaultdict(set)
        #: Readers at work: what they took from memory, and what was committed then.
        self.readers: list[tuple[Generations, dict[int, set[int]]]] = []

    @staticmethod
    def _new() -> Postings:
        return Postings(10, run_postings=3, merge_postings_min=2)

    def _write(self, keys: list[int]) -> None:
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
        self.postings = self._new()
        self.postings.recover(self.database)
        self.readers.clear()

    @rule()
    def begin_to_read(self):
        self.readers.append((self.postings.generations, {key: set(blocks) for key, blocks in self.committed.items()}))

    @rule()
    def finish_reading(self):
        for generations, committed in self.readers:
            for key, blocks in committed.items():
                prefix = pack_prefix(1, KIND_TAG, key)
                found = self.postings.blocks_of(self.database, prefix, self.postings.remembered(prefix, generations))
                assert blocks <= set(found)
        self.readers.clear()

    @invariant()
    def every_posting_is_found(self):
        prefixes = [pack_prefix(1, KIND_TAG, key) for key in range(14)]
        existing = self.postings.existing(self.database, prefixes)
        assert existing == {prefix: sorted(self.committed[key]) for key, prefix in enumerate(prefixes) if self.committed.get(key)}

    def teardown(self):
        self.database.close()


class TestPostings(PostingsMachine.TestCase):
    """Whatever happens, memory and table together hold exactly the postings that were committed."""

    settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
