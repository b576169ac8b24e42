"""For people who write a storage driver or a backend: a fake store, records to fill it, and the conformance suite.

The suite stands in `chaukas.server.testing.conformance` and is imported from there, because it needs pytest and the rest
does not. How to run it on a driver of your own: `docs/drivers.md`.
"""

from chaukas.server.testing.memory_store import MemoryStore
from chaukas.server.testing.records import make_event, make_record, record_of
from chaukas.server.testing.store_pair import StorePair

__all__ = ["MemoryStore", "StorePair", "make_event", "make_record", "record_of"]
