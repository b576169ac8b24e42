"""The rotation of the log's key is interrupted at every step, before and after it took effect, and finished by the next call."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaukas.server.errors import ChaukasError
from chaukas.server.storage.log_contract import LogInfo, LogStore
from chaukas.server.storage.sqlite import SqliteStore
from chaukas.server.storage.sqlite.log_store import SqliteLogStore
from chaukas.server.testing import make_record
from chaukas.server.tlog import rotation
from chaukas.server.tlog.kept_heads import KeptHeads
from chaukas.server.tlog.keys import SigningKey, read_key_file
from chaukas.server.tlog.opening import KEY_FILE, open_sequencer, signing_keys
from chaukas.server.tlog.proving import prove_inclusion
from chaukas.server.tlog.retired_keys import read_retired_keys
from chaukas.server.tlog.rotation import find_key_entries, rotate_key
from chaukas.server.tlog.tile_reading import with_tiles
from chaukas.verify.checkpoints import parse_checkpoint
from chaukas.verify.evidence import Evidence
from chaukas.verify.key_chain import follow_key_change
from chaukas.verify.merkle import leaf_hash, verify_inclusion
from chaukas.verify.notes import verify_note
from chaukas.verify.payloads import Salts
from chaukas.verify.trust import Trust

_PROJECTS = ("shop", "")


class _CrashError(BaseException):
    """Nobody catches it: nothing is tidied up, as when the process ends."""


@contextlib.asynccontextmanager
async def _store(directory: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(directory / "data")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _fill(directory: Path, prefix: str = "e", count: int = 5) -> None:
    await asyncio.to_thread((directory / "state").mkdir, exist_ok=True, parents=True)
    async with _store(directory) as store:
        sequencer = await open_sequencer(store.log_store, directory / "state", None)
        for project in _PROJECTS:
            await store.append([make_record(f"{prefix}{n}", project_id=project, text="x" * n) for n in range(count)])
        await sequencer.sign_all()


async def _rotate(directory: Path) -> rotation.Rotation:
    async with _store(directory) as store:
        return await rotate_key(store.log_store, directory / "state")


async def _evidence(store: LogStore, log: LogInfo, index: int) -> bytes:
    record, head = await store.entry_record(log.log_id, index), await store.covering_head(log.log_id, index)
    assert record is not None
    assert head is not None
    proof = await with_tiles(store, log.log_id, lambda read: prove_inclusion(index, head.size, read))
    salts = Salts(record.envelope_salt, record.content_salt)
    note = parse_checkpoint(head.note)
    return bytes(Evidence(log.origin, index, record.entry, record.stored, salts, tuple(proof), note))


async def _check_rotated(directory: Path, old: SigningKey, heads: dict[str, bytes]) -> None:
    """One change in every log, signed by both keys, which leads from the old key to the one that signs now."""
    state = directory / "state"
    (new,) = signing_keys(state, None, create=False)
    assert new.public_key != old.public_key
    assert [key.public_key for key in read_retired_keys(state, new.public_key)] == [old.public_key]
    assert sorted(path.name for path in state.iterdir()) == [KEY_FILE, "retired-keys", "signed-heads"]
    async with _store(directory) as store:
        logs = await store.log_store.logs(None, None)
        assert [log.origin for log in logs] == sorted(heads)
        for log in logs:
            (index,) = await find_key_entries(store.log_store, log)
            trusted = Trust((old.log_key(log.origin),))
            followed = follow_key_change(await _evidence(store.log_store, log, index), trusted)
            head = await store.log_store.head(log.log_id)
            assert head is not None
            assert head.size == log.size
            assert new.log_key(log.origin) in verify_note(parse_checkpoint(head.note).note, followed.log_keys)
            # What was proven with the old key stays proven by it.
            kept = parse_checkpoint(heads[log.origin])
            assert verify_note(kept.note, trusted.log_keys)
            ((entry,), proof) = (
                await store.log_store.entries(log.log_id, 1, 2),
                await with_tiles(store.log_store, log.log_id, lambda read, kept=kept: prove_inclusion(1, kept.size, read)),
            )
            verify_inclusion(leaf_hash(entry), 1, kept.size, proof, kept.root)
        await open_sequencer(store.log_store, state, None)


async def _heads(directory: Path) -> dict[str, bytes]:
    async with _store(directory) as store:
        logs = await store.log_store.logs(None, None)
        return {log.origin: head.note for log in logs if (head := await store.log_store.head(log.log_id))}


_STEPS: list[tuple[Any, str]] = [
    (rotation, "write_key_file"),
    (rotation, "retire_key"),
    (SqliteLogStore, "append_others"),
    (SqliteLogStore, "grow_trees"),
    (KeptHeads, "keep"),
    (SqliteLogStore, "covering_head"),
    (Path, "replace"),
    (rotation, "_sync_directory"),
]


@contextlib.contextmanager
def _failing(owner: Any, name: str, number: int, *, stored: bool, error: Callable[[], BaseException]) -> Iterator[list[int]]:
    """The `number`-th call raises, before or after it took effect. Yields the numbers of the calls."""
    calls: list[int] = []
    whole = getattr(owner, name)

    def fails() -> bool:
        calls.append(len(calls))
        return calls[-1] == number

    if asyncio.iscoroutinefunction(whole):

        @functools.wraps(whole)
        async def called(*args: Any, **named: Any) -> Any:
            failing = fails()
            if failing and not stored:
                raise error()
            result = await whole(*args, **named)
            if failing:
                raise error()
            return result
    else:

        @functools.wraps(whole)
        def called(*args: Any, **named: Any) -> Any:
            failing = fails()
            if failing and not stored:
                raise error()
            result = whole(*args, **named)
            if failing:
                raise error()
            return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, called)
        yield calls


def test_the_rotation_leads_from_the_old_key_to_the_new_one(tmp_path: Path) -> None:
    """A rotation leaves one change in every log, and one more rotation goes on from there."""

    async def run() -> None:
        await _fill(tmp_path)
        heads, old = await _heads(tmp_path), read_key_file(tmp_path / "state" / KEY_FILE)
        done = await _rotate(tmp_path)
        assert (done.old, done.resumed, len(done.logs)) == (old.public_key, False, 2)
        await _check_rotated(tmp_path, old, heads)
        second = await _rotate(tmp_path)
        assert second.old == done.new
        retired = read_retired_keys(tmp_path / "state", second.new)
        assert [key.public_key for key in retired] == [old.public_key, done.new]
        async with _store(tmp_path) as store:
            for log in await store.log_store.logs(None, None):
                trust = Trust((old.log_key(log.origin),))
                for index in await find_key_entries(store.log_store, log):
                    trust = follow_key_change(await _evidence(store.log_store, log, index), trust)
                assert [key.public_key for key in trust.log_keys] == [old.public_key, done.new, second.new]

    asyncio.run(run())


def test_the_head_that_both_keys_signed_is_kept(tmp_path: Path) -> None:
    """However many heads follow, the first one behind a change of key stays, because it alone leads to the new key."""

    async def run() -> None:
        await _fill(tmp_path)
        old = read_key_file(tmp_path / "state" / KEY_FILE)
        await _rotate(tmp_path)
        async with _store(tmp_path) as store:
            sequencer = await open_sequencer(store.log_store, tmp_path / "state", None)
            for n in range(80):
                await store.append([make_record(f"later{n}", project_id="shop")])
                await sequencer.sign_all()
            (log,) = await store.log_store.logs(None, "shop")
            (index,) = await find_key_entries(store.log_store, log)
            assert await store.log_store.head(log.log_id, index) is None  # the old key's last one
            follow_key_change(await _evidence(store.log_store, log, index), Trust((old.log_key(log.origin),)))

    asyncio.run(run())


@pytest.mark.parametrize(("owner", "name"), _STEPS, ids=[name for _, name in _STEPS])
@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["crash", "failure"])
def test_each_step_is_interrupted(tmp_path: Path, owner: Any, name: str, stored: bool, kind: str) -> None:
    """Wherever a rotation ends early, a server may be started and take events, and the next call finishes the same rotation."""

    async def run(number: int, directory: Path) -> bool:
        await _fill(directory)
        heads, old = await _heads(directory), read_key_file(directory / "state" / KEY_FILE)

        def error() -> BaseException:
            return _CrashError() if kind == "crash" else OSError(5, "Input/output error")

        with _failing(owner, name, number, stored=stored, error=error) as calls:
            with contextlib.suppress(_CrashError, ChaukasError, OSError):
                await _rotate(directory)
            reached = number < len(calls)
        state = directory / "state"
        if read_key_file(state / KEY_FILE).public_key == old.public_key:
            # A server is started in between: it signs, with both keys if there are two.
            await _fill(directory, prefix=f"between{number}", count=2)
            await _rotate(directory)
        await _check_rotated(directory, old, heads)
        return reached

    async def all_calls() -> None:
        number = 0
        while await run(number, tmp_path / f"{number}"):
            number += 1
        assert number, "the step is never called"

    asyncio.run(all_calls())
