"""Replacing the key that signs the logs (`chaukas key rotate`), of a server that is stopped.

1. The new key is written beside the old one, as `<key file>.next`. From here on a rotation is under way: whoever opens the logs
   signs with both keys, and whoever rotates goes on with this one.
2. The old public key is listed as retired, so that it stays known when its file is gone.
3. Every log gets an entry of kind `key` that names both keys, in one transaction per log. A log that has it, because an earlier
   call was interrupted, gets no second one.
4. The heads that cover these entries are signed by both keys, and stored. The first such head of a log is kept for ever: whoever
   trusts the old key follows it to the new one.
5. Every log is looked at: the entry is there, and the first head behind it bears both signatures.
6. The new key takes the old one's place, in one rename. The old private key is gone then.

A crash, or a failure, between any two steps leaves old and new key side by side, logs that verify, and a server that may be
started; to repeat the call is to go on. Once 6 is done nothing tells of the rotation but the entries and the list, and another
call begins another rotation. What was proven with the old key stays proven by it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from chaukas.server.errors import ConfigurationError, StorageError
from chaukas.server.storage.entry import KIND_KEY, entry_kind
from chaukas.server.storage.log_contract import LogInfo, LogReader, LogStore, OtherEntry
from chaukas.server.tlog.keys import SigningKey, write_key_file
from chaukas.server.tlog.opening import KEY_FILE, next_key_file, open_sequencer, signing_keys
from chaukas.server.tlog.retired_keys import retire_key
from chaukas.verify.checkpoints import parse_checkpoint
from chaukas.verify.errors import VerificationError
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.notes import verify_note

__all__ = ["Rotation", "find_key_entries", "rotate_key"]

#: Entries that are looked through at once.
_ENTRIES_AT_ONCE = 8_192


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was done: the public keys, the logs with the index of the change in each, and whether an earlier call had begun it."""

    old: bytes
    new: bytes
    logs: tuple[tuple[LogInfo, int], ...]
    resumed: bool


async def rotate_key(
    store: LogStore,
    state_dir: Path,
    key_file: Path | None = None,
    *,
    on_log: Callable[[int, int], None] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Rotation:
    """Replace the key, or finish a replacement that was interrupted. The numbers are those of the module's text.

    `store` is that of a stopped server, opened by nobody else; `on_log` hears how many of how many logs have their entry. Raises
    `ConfigurationError` for keys that cannot be read or written, `CannotServeError` for a store that contradicts what was signed,
    and `StorageError`.
    """
    path = key_file or state_dir / KEY_FILE
    keys = signing_keys(state_dir, key_file, create=False)
    resumed = len(keys) > 1
    # 1.
    if not resumed:
        keys.append(SigningKey.generate())
        # Before anything is written: a store that may not be signed gets no new key.
        await open_sequencer(store, state_dir, key_file)
        try:
            write_key_file(next_key_file(path), keys[1])
        except FileExistsError:
            raise ConfigurationError(
                f"the key file {next_key_file(path)} appeared meanwhile: is another rotation under way?"
            ) from None
    old, new = keys
    sequencer = await open_sequencer(store, state_dir, key_file)
    try:
        # 2.
        retire_key(state_dir, old.public_key, now())
        # 3.
        logs = await store.logs(None, None)
        places: list[tuple[LogInfo, int]] = []
        for log in logs:
            places.append((log, await _note_change(store, log, _change(log, old, new), resumed=resumed)))
            if on_log is not None:
                on_log(len(places), len(logs))
        # 4.
        await sequencer.sign_all()
        # 5.
        for log, index in places:
            await _check_covered(store, log, index, _change(log, old, new))
        # 6.
        next_key_file(path).replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise ConfigurationError(f"the rotation stopped: {error.filename or path}: {error.strerror}") from error
    return Rotation(old.public_key, new.public_key, tuple(places), resumed)


async def find_key_entries(store: LogReader, log: LogInfo) -> list[int]:
    """The indices of a log's entries of kind `key`, ascending. Reads all its entries, and no payload."""
    found: list[int] = []
    for start in range(0, log.size, _ENTRIES_AT_ONCE):
        entries = await store.entries(log.log_id, start, min(start + _ENTRIES_AT_ONCE, log.size))
        found += [start + at for at, entry in enumerate(entries) if entry_kind(entry) == KIND_KEY]
    return found


def _change(log: LogInfo, old: SigningKey, new: SigningKey) -> KeyChange:
    return KeyChange(old.log_key(log.origin), new.log_key(log.origin))


async def _note_change(store: LogStore, log: LogInfo, change: KeyChange, *, resumed: bool) -> int:
    """The index of the entry that tells the change; it is appended unless an interrupted call did so."""
    if resumed:
        for index in await find_key_entries(store, log):
            record = await store.entry_record(log.log_id, index)
            if record is not None and record.stored == bytes(change):
                return index
    return await store.append_others(log.log_id, [OtherEntry(KIND_KEY, b"", bytes(change))])


async def _check_covered(store: LogReader, log: LogInfo, index: int, change: KeyChange) -> None:
    """Raises `StorageError` unless the first head behind the entry bears both signatures."""
    head = await store.covering_head(log.log_id, index)
    signers: set[bytes] = set()
    if head is not None:
        try:
            keys = verify_note(parse_checkpoint(head.note).note, (change.old, change.new))
        except VerificationError as error:
            raise StorageError(f"the head of {head.size} entries of the log {log.origin} is damaged: {error}") from error
        signers = {key.public_key for key in keys}
    if signers != {change.old.public_key, change.new.public_key}:
        raise StorageError(
            f"the log {log.origin} has no head that covers the change of its key at index {index} and is signed by both keys;"
            " the old key stays in place"
        )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
