"""What a witness remembers, in `witness.db` of the state directory: the last checkpoint of each log, and contradictions.

A cosignature may leave only after the checkpoint that it is for is on the disk; a witness that forgot could cosign two histories
of one log. The statement that remembers a checkpoint compares: it changes nothing unless what is stored is what the caller
decided by. One process writes the file, and one thread of it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaukas.server.errors import CannotServeError, StorageError
from chaukas.server.tlog.witness import WitnessedHead
from chaukas.verify.checkpoints import Checkpoint

__all__ = ["CONTRADICTIONS_MAX", "WITNESS_FILE", "Contradiction", "WitnessMemory"]

WITNESS_FILE = "witness.db"
#: Contradictions of one log that are kept; the first ones say enough.
CONTRADICTIONS_MAX = 16
_FORMAT = 1

#: The last cosigned checkpoint of each log, and for each contradiction what was known and what was refused.
_SQL_TABLES = """
CREATE TABLE witnessed (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE contradictions (
    origin TEXT NOT NULL, found_at_ns INTEGER NOT NULL, known BLOB NOT NULL, request BLOB NOT NULL, UNIQUE (origin, request)
) STRICT;
"""
_SQL_KNOWN = "SELECT size, root FROM witnessed WHERE origin = ?"
_SQL_NOTE = "SELECT note FROM witnessed WHERE origin = ?"
_SQL_LOGS = "SELECT count(*) FROM witnessed"
#: The first checkpoint of a log; nothing happens if there is one.
_SQL_BEGIN = "INSERT INTO witnessed VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"
#: The next checkpoint of a log; nothing happens if the last one is another than the caller knew.
_SQL_GROW = "UPDATE witnessed SET size = ?2, root = ?3, note = ?4 WHERE origin = ?1 AND size = ?5 AND root = ?6"
_SQL_CONTRADICTION = (
    "INSERT INTO contradictions SELECT ?1, ?2, ?3, ?4 WHERE (SELECT count(*) FROM contradictions WHERE origin = ?1) < ?5"
    " ON CONFLICT DO NOTHING"
)
_SQL_CONTRADICTIONS = "SELECT origin, found_at_ns, known, request FROM contradictions ORDER BY found_at_ns, rowid"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A checkpoint that its log signed and that contradicts what the witness had cosigned: the proof that a log was rewritten."""

    origin: str
    found_at_ns: int
    #: The note that was cosigned before; empty if there was none.
    known: bytes
    #: The whole request that was refused: old size, consistency proof, signed checkpoint.
    request: bytes


class WitnessMemory:
    """Used by one thread at a time."""

    def __init__(self, state_dir: Path) -> None:
        """Open the file, or make it. Raises `CannotServeError`."""
        self._path = state_dir / WITNESS_FILE
        try:
            # The caller's own thread is another for every call, and never two at once.
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise CannotServeError(f"the witness's memory {self._path} cannot be opened: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._database.close()
            raise CannotServeError(
                f"the witness's memory {self._path} cannot be read or written: {error}; a witness that forgets could cosign a"
                " rewritten log, so restore the newest copy"
            ) from error
        except CannotServeError:
            self._database.close()
            raise

    def _prepare(self) -> None:
        # A commit is on the disk before it returns, the file's place in its directory too.
        self._database.execute("PRAGMA synchronous = EXTRA")
        with self._transaction():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SQL_TABLES.split(";\n"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {_FORMAT}")
            elif version != _FORMAT:
                raise CannotServeError(
                    f"the witness's memory {self._path} has format {version}, which this release does not know"
                )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def known(self, origin: str) -> WitnessedHead | None:
        """The last checkpoint of a log. Raises `StorageError`."""
        with _as_storage_error():
            row = self._database.execute(_SQL_KNOWN, (origin,)).fetchone()
        return None if row is None else WitnessedHead(*row)

    def logs(self) -> int:
        """How many logs are remembered. Raises `StorageError`."""
        with _as_storage_error():
            (count,) = self._database.execute(_SQL_LOGS).fetchone()
        return int(count)

    def remember(self, checkpoint: Checkpoint, known: WitnessedHead | None) -> None:
        """Keep a checkpoint in the place of what was `known`, on the disk when it returns.

        Raises `StorageError` when it cannot be kept, or when something else stands there: then nothing may be cosigned.
        """
        if known is not None and (known.size, known.root) == (checkpoint.size, checkpoint.root):
            return
        row = (checkpoint.origin, checkpoint.size, checkpoint.root, bytes(checkpoint))
        with _as_storage_error(), self._transaction():
            if known is None:
                changed = self._database.execute(_SQL_BEGIN, row).rowcount
            else:
                changed = self._database.execute(_SQL_GROW, (*row, known.size, known.root)).rowcount
        if changed != 1:
            raise StorageError(f"the witness knows the log {checkpoint.origin} in another state than a moment ago")

    def keep_contradiction(self, checkpoint: Checkpoint, request: bytes, found_at_ns: int) -> None:
        """Keep a request that contradicts what is known, with the note that it contradicts. Raises `StorageError`."""
        with _as_storage_error(), self._transaction():
            row = self._database.execute(_SQL_NOTE, (checkpoint.origin,)).fetchone()
            known = b"" if row is None else row[0]
            self._database.execute(_SQL_CONTRADICTION, (checkpoint.origin, found_at_ns, known, request, CONTRADICTIONS_MAX))

    def contradictions(self) -> list[Contradiction]:
        """All that are kept, oldest first. Raises `StorageError`."""
        with _as_storage_error():
            return [Contradiction(*row) for row in self._database.execute(_SQL_CONTRADICTIONS)]

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._database.close()


@contextlib.contextmanager
def _as_storage_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError("the witness's memory could not be read or written; nothing was cosigned") from error
