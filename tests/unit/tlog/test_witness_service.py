"""The witness with its memory on disk: what is cosigned is remembered first, and nothing is ever cosigned against it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaukas.server.errors import CannotServeError, ConfigurationError, StorageError
from chaukas.server.tlog.witness import Decision, WitnessedHead
from chaukas.server.tlog.witness_memory import CONTRADICTIONS_MAX, WITNESS_FILE, WitnessMemory
from chaukas.server.tlog.witness_messages import build_add_checkpoint, parse_add_checkpoint
from chaukas.server.tlog.witness_service import WITNESS_KEY_FILE, WitnessService, open_witness, witness_signing_key
from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.notes import parse_signature_lines
from chaukas.verify.signed_checkpoints import verify_checkpoint
from tests.log_samples import sample_log

_LOG = sample_log(300)
_OTHER = sample_log(300, salt_seed="rewritten")


def _open(state: Path, **handlers: Any) -> WitnessService:
    return open_witness(state, "witness.example/w", [str(_LOG.log_key)], **handlers)


def _ask(state: Path, *requests: bytes) -> list[Decision]:
    """The answers of a witness that is started, asked and stopped."""

    async def run() -> list[Decision]:
        witness = _open(state)
        try:
            return [await witness.add_checkpoint(request) for request in requests]
        finally:
            await witness.close()

    return asyncio.run(run())


def _request(old: int, new: int, log: Any = _LOG) -> bytes:
    return build_add_checkpoint(old, log.consistency(old, new), log.checkpoint(new, cosigned=False))


def _known(state: Path) -> WitnessedHead | None:
    memory = WitnessMemory(state)
    try:
        return memory.known(_LOG.origin)
    finally:
        memory.close()


def _cosigned(request: bytes, answer: Decision, state: Path) -> Checkpoint:
    checkpoint = parse_add_checkpoint(request).checkpoint
    note = bytes(checkpoint.note.with_signatures(parse_signature_lines(answer.body)))
    key = witness_signing_key(state, create=False).witness_key("witness.example/w")
    checked = parse_checkpoint(note)
    verify_checkpoint(checked, (_LOG.log_key,), (key,), witnesses_min=1)
    return checked


def test_a_witness_remembers_over_starts(tmp_path: Path) -> None:
    """A witness that was started again goes on from what it cosigned, and refuses what contradicts it."""
    first, second = _request(0, 100), _request(100, 300)
    (answer,) = _ask(tmp_path, first)
    assert answer.status == 200
    _cosigned(first, answer, tmp_path)
    again, grown = _ask(tmp_path, first, second)
    assert (again.status, again.body) == (409, b"100\n")
    assert grown.status == 200
    _cosigned(second, grown, tmp_path)
    (same,) = _ask(tmp_path, _request(300, 300))
    assert same.status == 200
    assert _known(tmp_path) == WitnessedHead(300, _LOG.checkpoint().root)


def test_a_contradiction_is_kept_as_evidence(tmp_path: Path) -> None:
    """A rewritten log is refused, told, and the two checkpoints that convict it are kept, however often it asks."""
    told: list[tuple[str, str]] = []

    async def run() -> None:
        witness = _open(tmp_path, on_contradiction=lambda origin, reason: told.append((origin, reason)))
        await witness.add_checkpoint(_request(0, 100))
        for _ in range(3):
            assert (await witness.add_checkpoint(_request(100, 200, _OTHER))).status == 422
        for size in range(201, 201 + CONTRADICTIONS_MAX):
            assert (await witness.add_checkpoint(_request(100, size, _OTHER))).status == 422
        await witness.close()

    asyncio.run(run())
    assert {origin for origin, _ in told} == {_LOG.origin}
    memory = WitnessMemory(tmp_path)
    kept = memory.contradictions()
    memory.close()
    assert len(kept) == CONTRADICTIONS_MAX
    known, refused = parse_checkpoint(kept[0].known), parse_add_checkpoint(kept[0].request).checkpoint
    assert (known.size, refused.size) == (100, 200)
    for checkpoint in (known, refused):
        verify_checkpoint(checkpoint, (_LOG.log_key,))
    assert _known(tmp_path) == WitnessedHead(100, _LOG.checkpoint(100).root)


class _CrashError(BaseException):
    """Nobody catches it."""


class _FailingDatabase:
    """A database whose n-th statement fails, before or after it took effect."""

    def __init__(self, database: sqlite3.Connection, number: int, error: Callable[[], BaseException], *, stored: bool) -> None:
        self._database, self._number, self._error, self._stored = database, number, error, stored
        self.calls = 0

    def execute(self, *args: Any) -> Any:
        self.calls += 1
        failing = self.calls == self._number
        if failing and not self._stored:
            raise self._error()
        result = self._database.execute(*args)
        if failing:
            raise self._error()
        return result

    @property
    def in_transaction(self) -> bool:
        return self._database.in_transaction

    def close(self) -> None:
        self._database.close()


@pytest.mark.parametrize("stored", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["crash", "failure"])
def test_each_statement_fails(tmp_path: Path, stored: bool, kind: str) -> None:
    """Whatever fails while a witness answers: no cosignature leaves whose checkpoint is not on the disk."""

    def error() -> BaseException:
        return _CrashError() if kind == "crash" else sqlite3.OperationalError("disk I/O error")

    for name, request in (("first", _request(0, 100)), ("grown", _request(100, 200)), ("other", _request(100, 250, _OTHER))):
        number = 1
        while True:
            state = tmp_path / f"{name}{number}"
            if name != "first":
                _ask(state, _request(0, 100))
            if asyncio.run(_answer_failing(state, number, request, error, stored=stored)) < number:
                break
            # The log asks again, as it would, and gets what it should.
            _check_again(state, request, contradicts=name == "other")
            number += 1
        assert number > 3


async def _answer_failing(state: Path, number: int, request: bytes, error: Callable[[], BaseException], *, stored: bool) -> int:
    """One request while the n-th statement fails; returns how many there were."""
    witness = _open(state)
    failing = _FailingDatabase(witness._memory._database, number, error, stored=stored)
    witness._memory._database = failing  # type: ignore[assignment]
    answer = None
    with contextlib.suppress(StorageError, _CrashError):
        answer = await witness.add_checkpoint(request)
    await witness.close()
    if answer is not None and answer.status == 200:
        known = _known(state)
        assert known is not None
        assert known.size == parse_add_checkpoint(request).checkpoint.size
    return failing.calls


def _check_again(state: Path, request: bytes, *, contradicts: bool) -> None:
    (again,) = _ask(state, request)
    known = _known(state)
    assert known is not None
    if contradicts:
        assert (again.status, known.size) == (422, 100)
    elif again.status == 409:
        assert int(again.body) == known.size == parse_add_checkpoint(request).checkpoint.size
        assert _ask(state, _request(known.size, known.size))[0].status == 200
    else:
        assert again.status == 200


def test_memory_changes_only_what_was_decided_by(tmp_path: Path) -> None:
    """Two requests that were decided by the same memory cannot both be remembered."""
    memory = WitnessMemory(tmp_path)
    memory.remember(_LOG.checkpoint(100), None)
    with pytest.raises(StorageError):
        memory.remember(_LOG.checkpoint(50), None)
    known = memory.known(_LOG.origin)
    memory.remember(_LOG.checkpoint(200), known)
    with pytest.raises(StorageError):
        memory.remember(_LOG.checkpoint(300), known)
    assert memory.logs() == 1
    memory.close()


def test_an_incomplete_witness_refuses_to_start(tmp_path: Path) -> None:
    """A witness without logs, with a wrong name or key, or that lost its key or memory's format, does not start."""
    with pytest.raises(ConfigurationError, match="witness_logs"):
        open_witness(tmp_path, "w", [])
    with pytest.raises(ConfigurationError, match="witness_logs"):
        open_witness(tmp_path, "w", [str(_LOG.witness_key)])
    with pytest.raises(ConfigurationError, match="witness_name"):
        open_witness(tmp_path, "w w", [str(_LOG.log_key)])
    _ask(tmp_path, _request(0, 100))
    (tmp_path / WITNESS_KEY_FILE).rename(tmp_path / "elsewhere")
    with pytest.raises(CannotServeError, match="restore it from a backup"):
        _open(tmp_path)
    (tmp_path / "elsewhere").rename(tmp_path / WITNESS_KEY_FILE)
    (tmp_path / WITNESS_FILE).write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(CannotServeError, match="restore the newest copy"):
        _open(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "newer")) as newer:
        newer.execute("PRAGMA user_version = 9")
    (tmp_path / "newer").replace(tmp_path / WITNESS_FILE)
    with pytest.raises(CannotServeError, match="format 9"):
        _open(tmp_path)


def test_an_origin_that_is_no_key_name_is_unknown(tmp_path: Path) -> None:
    """A prefix does not cover what no key can be named: the answer is 404, not a failure."""
    prefix = _LOG.key.log_key("chaukas.example/")
    origin = "chaukas.example/a b"
    note = f"old 0\n\n{origin}\n1\n{'A' * 43}=\n\n\u2014 x {'A' * 96}\n".encode()

    async def run() -> int:
        witness = open_witness(tmp_path, "w", [str(prefix)])
        try:
            return (await witness.add_checkpoint(note)).status
        finally:
            await witness.close()

    assert asyncio.run(run()) == 404
