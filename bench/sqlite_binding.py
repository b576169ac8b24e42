"""apsw beside the standard library's sqlite3, with the statements of an ingest transaction: `python -m bench.sqlite_binding`.

A transaction inserts 1,000 random 16-byte keys into an ordered table of 100,000 or more; a look-up asks which of 1,000 keys
are there. Each is done row by row (`executemany`, a statement per key) and in one statement, alone and beside a thread that
computes in Python as an event loop under load does. Every step of a statement lets go of the interpreter lock, and getting it
back can take the switch interval of 5 ms. Prints a Markdown table (docs/decisions/0003).
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import apsw

__all__ = ["main"]

_RESULTS = Path(__file__).resolve().parent / "results"
_ROWS = 1_000
_SETTINGS = "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA cache_size = -32768"
_SCHEMA = "CREATE TABLE entries (entry BLOB PRIMARY KEY) STRICT, WITHOUT ROWID"
_INSERT = "INSERT OR IGNORE INTO entries VALUES (?)"
_FIND = "SELECT entry FROM entries WHERE entry = ?"
#: One statement: apsw passes an array, sqlite3 needs a placeholder for each value.
_INSERT_ARRAY = "INSERT OR IGNORE INTO entries SELECT value FROM carray(?)"
_FIND_ARRAY = "SELECT entry FROM entries WHERE entry IN (SELECT value FROM carray(?))"
_INSERT_LIST = "INSERT OR IGNORE INTO entries VALUES " + ", ".join(["(?)"] * _ROWS)  # noqa: S608  placeholders only
_FIND_LIST = f"SELECT entry FROM entries WHERE entry IN ({', '.join(['?'] * _ROWS)})"  # noqa: S608  placeholders only
#: Measurements stop after so many transactions or seconds; at least two are made.
_TIMES_MAX, _SECONDS_MAX = 60, 3.0
#: Transactions that fill each table before, so that all ways meet a table of the same size.
_FILLED_TIMES = 100


class _Binding(Protocol):
    """The four ways of one library."""

    name: str

    def insert_rows(self, keys: Sequence[bytes]) -> None: ...

    def insert_at_once(self, keys: Sequence[bytes]) -> None: ...

    def find_rows(self, keys: Sequence[bytes]) -> int: ...

    def find_at_once(self, keys: Sequence[bytes]) -> int: ...


class _Apsw:
    def __init__(self, path: Path) -> None:
        self.name = f"apsw {apsw.apsw_version()} (SQLite {apsw.sqlite_lib_version()})"
        self._database = apsw.Connection(str(path))
        self._database.execute(_SETTINGS)
        self._database.execute(_SCHEMA)

    def insert_rows(self, keys: Sequence[bytes]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(_INSERT, [(key,) for key in keys])
        self._database.execute("COMMIT")

    def insert_at_once(self, keys: Sequence[bytes]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute(_INSERT_ARRAY, (apsw.carray(tuple(keys)),))
        self._database.execute("COMMIT")

    def find_rows(self, keys: Sequence[bytes]) -> int:
        return sum(len(self._database.execute(_FIND, (key,)).fetchall()) for key in keys)

    def find_at_once(self, keys: Sequence[bytes]) -> int:
        return len(self._database.execute(_FIND_ARRAY, (apsw.carray(tuple(keys)),)).fetchall())

    def close(self) -> None:
        self._database.close()


class _StandardLibrary:
    def __init__(self, path: Path) -> None:
        self.name = f"sqlite3 (SQLite {sqlite3.sqlite_version})"
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.executescript(_SETTINGS)
        self._database.execute(_SCHEMA)

    def insert_rows(self, keys: Sequence[bytes]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(_INSERT, [(key,) for key in keys])
        self._database.execute("COMMIT")

    def insert_at_once(self, keys: Sequence[bytes]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute(_INSERT_LIST, keys)
        self._database.execute("COMMIT")

    def find_rows(self, keys: Sequence[bytes]) -> int:
        return sum(len(self._database.execute(_FIND, (key,)).fetchall()) for key in keys)

    def find_at_once(self, keys: Sequence[bytes]) -> int:
        return len(self._database.execute(_FIND_LIST, keys).fetchall())

    def close(self) -> None:
        self._database.close()


def _random_keys() -> list[bytes]:
    random_bytes = os.urandom(16 * _ROWS)
    return [random_bytes[at : at + 16] for at in range(0, len(random_bytes), 16)]


def _median_and_worst_ms(work: Callable[[Sequence[bytes]], object]) -> tuple[float, float]:
    took: list[float] = []
    while len(took) < 2 or (len(took) < _TIMES_MAX and sum(took) < _SECONDS_MAX):
        keys = _random_keys()
        began = time.perf_counter()
        work(keys)
        took.append(time.perf_counter() - began)
    took.sort()
    return took[len(took) // 2] * 1_000, took[-1] * 1_000


@contextmanager
def _busy_thread() -> Iterator[None]:
    """A thread that holds the interpreter lock whenever it can."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(number * number for number in range(1_000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _measure(library: type[_Apsw | _StandardLibrary], home: Path) -> list[str]:
    ways: tuple[tuple[str, Callable[[_Binding, Sequence[bytes]], object]], ...] = (
        ("insert, row by row", lambda binding, keys: binding.insert_rows(keys)),
        ("insert, one statement", lambda binding, keys: binding.insert_at_once(keys)),
        ("look up, row by row", lambda binding, keys: binding.find_rows(keys)),
        ("look up, one statement", lambda binding, keys: binding.find_at_once(keys)),
    )
    lines: list[str] = []
    for number, (what, work) in enumerate(ways):
        binding = library(home / f"{library.__name__}-{number}.db")
        for _ in range(_FILLED_TIMES):
            binding.insert_rows(_random_keys())
        alone, _ = _median_and_worst_ms(partial(work, binding))
        with _busy_thread():
            contended, worst = _median_and_worst_ms(partial(work, binding))
        binding.close()
        lines.append(f"| {binding.name} | {what} | {alone:.2f} | {contended:,.1f} | {worst:,.1f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main() -> None:
    """Measure both in empty databases on the disk of the repository."""
    _RESULTS.mkdir(parents=True, exist_ok=True)
    lines = ["| binding | 1,000 keys | alone, ms | beside a busy thread, ms | worst, ms |", "|---|---|--:|--:|--:|"]
    with tempfile.TemporaryDirectory(dir=_RESULTS) as directory:
        for library in (_Apsw, _StandardLibrary):
            lines += _measure(library, Path(directory))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
