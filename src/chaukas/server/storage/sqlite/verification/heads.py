"""Signed heads: each has the root of the entries below it, says so in its note, and is signed by the log's key.

The text of a note is compared inside the transaction; signatures take longer, and are checked when it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from chaukas.server.storage.sqlite.connection import DATABASE_NAME, fetch
from chaukas.server.storage.sqlite.segments import INDEX_BITS
from chaukas.server.storage.sqlite.verification.findings import Findings
from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.errors import VerificationError
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.notes import verify_note
from chaukas.verify.verdict import AUTHENTICITY, COMPLETENESS
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["Heads", "check_heads", "check_signatures", "newest_notes", "trusted_keys"]

_INDEX_MASK = (1 << INDEX_BITS) - 1
_SQL_HEADS = "SELECT place, root, note FROM heads WHERE place BETWEEN ? AND ? ORDER BY place"
_SQL_NEWEST = "SELECT note FROM heads JOIN logs ON place = log_no << 40 | head_size ORDER BY log_no"


@dataclass(frozen=True, slots=True)
class Heads:
    """The heads of one log whose text is right, smallest first, and the key changes in its entries."""

    origin: str
    checkpoints: tuple[Checkpoint, ...]
    key_changes: tuple[tuple[int, KeyChange], ...]

    @property
    def size(self) -> int:
        """Entries below the newest one."""
        return self.checkpoints[-1].size if self.checkpoints else 0


def check_heads(
    database: apsw.Connection,
    log_no: int,
    origin: str,
    size: int,
    head_size: int,
    root_of: Callable[[int], bytes | None],
    findings: Findings,
) -> list[Checkpoint]:
    """Compare the heads of a log with the tree of its entries; returns what their notes say."""
    checkpoints: list[Checkpoint] = []
    newest = 0
    for place, root, note in fetch(database, _SQL_HEADS, (log_no << INDEX_BITS, ((log_no + 1) << INDEX_BITS) - 1)):
        at = newest = place & _INDEX_MASK
        if at > size:
            what = f"a head of {at} entries was signed, and the log has {size}"
            findings.add("heads", what, origin, size, aspect=COMPLETENESS)
            continue
        made = root_of(at)
        if made is not None and made != root:
            findings.add("heads", f"the root of the head of {at} entries is not that of the entries", origin, at - 1)
        try:
            checkpoint = parse_checkpoint(note)
        except VerificationError as error:
            findings.add("heads", f"the note of the head of {at} entries: {error}", origin, at - 1)
            continue
        if (checkpoint.origin, checkpoint.size, checkpoint.extensions) != (origin, at, ()) or checkpoint.root not in {made, root}:
            findings.add("heads", f"the note of the head of {at} entries says something else", origin, at - 1)
        elif made is not None and checkpoint.root != made:
            findings.add(
                "heads", f"the entries below the signed head of {at} entries are not those that were signed", origin, at - 1
            )
        checkpoints.append(checkpoint)
    if newest != head_size:
        what = f"the newest head has {newest} entries, the log says {head_size}"
        findings.add("heads" if newest < head_size else "logs", what, origin, aspect=COMPLETENESS)
    return checkpoints


def trusted_keys(heads: Heads, trusted: Iterable[VerifierKey]) -> list[VerifierKey]:
    """The keys that may have signed: those that are trusted, and those that key changes in the log connect with them.

    Backwards, the entry under a head of the new key is enough. Forwards, the old key must have signed a head over the entry:
    otherwise whoever can write into the database could name a key of their own.
    """
    keys = list(trusted)
    for _, change in reversed(heads.key_changes):
        if change.new in keys and change.old not in keys:
            keys.append(change.old)
    for index, change in heads.key_changes:
        if (
            change.old in keys
            and change.new not in keys
            and any(checkpoint.size > index and _is_signed(checkpoint, [change.old]) for checkpoint in heads.checkpoints)
        ):
            keys.append(change.new)
    return keys


def _is_signed(checkpoint: Checkpoint, keys: Sequence[VerifierKey]) -> bool:
    try:
        verify_note(checkpoint.note, keys)
    except VerificationError:
        return False
    return True


def check_signatures(heads: Heads, keys: Sequence[VerifierKey], findings: Findings) -> None:
    """Every head has a valid signature by one of the keys, and no invalid one."""
    for checkpoint in heads.checkpoints:
        try:
            verify_note(checkpoint.note, keys)
        except VerificationError as error:
            findings.add(
                "heads",
                f"the head of {checkpoint.size} entries: {error}",
                heads.origin,
                max(0, checkpoint.size - 1),
                aspect=AUTHENTICITY,
            )


def newest_notes(directory: Path) -> list[bytes]:
    """The newest signed note of every log of a record that nobody serves, in the order of the logs."""
    database = apsw.Connection(str(directory / DATABASE_NAME), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [note for (note,) in fetch(database, _SQL_NEWEST)]
    finally:
        database.close()
