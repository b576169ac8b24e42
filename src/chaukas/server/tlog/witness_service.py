"""Serving as a witness: decide, remember, cosign, in this order, one request after another.

1. What the witness remembers of the log is read.
2. `witness.decide` answers by it.
3. A contradiction is kept as evidence, and told.
4. A checkpoint that is to be cosigned is remembered, on the disk.
5. Only then is it cosigned.

A crash before 5 leaves a checkpoint that is remembered and was not cosigned: the log asks again and gets its cosignature. All of
it runs in one thread, so that no two requests about one log are decided by the same memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chaukas.server.errors import CannotServeError, ConfigurationError
from chaukas.server.tlog.keys import SigningKey, read_key_file, write_key_file
from chaukas.server.tlog.signing import cosign
from chaukas.server.tlog.witness import Decision, TrustedLogs, decide, origin_of_request
from chaukas.server.tlog.witness_memory import WITNESS_FILE, WitnessMemory
from chaukas.verify.errors import VerificationError
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["WITNESS_KEY_FILE", "WitnessService", "open_witness", "witness_signing_key"]

WITNESS_KEY_FILE = "witness.key"


class WitnessService:
    """One witness. `on_answer` hears the status of every answer, `on_contradiction` the origin and the reason of each 422."""

    def __init__(
        self,
        name: str,
        key: SigningKey,
        logs: TrustedLogs,
        memory: WitnessMemory,
        *,
        on_answer: Callable[[int], None] | None = None,
        on_contradiction: Callable[[str, str], None] | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.verifier_key = key.witness_key(name)
        self._name = name
        self._key = key
        self._logs = logs
        self._memory = memory
        self._on_answer = on_answer
        self._on_contradiction = on_contradiction
        self._now_ns = now_ns
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chaukas-witness")

    async def add_checkpoint(self, body: bytes) -> Decision:
        """The answer to a POST to `add-checkpoint` (C2SP tlog-witness); a status of 200 has the cosignature as its body.

        Raises `StorageError` when the witness cannot remember; nothing was cosigned then.
        """
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, body)
        if self._on_answer is not None:
            self._on_answer(answer.status)
        if answer.status == 422 and answer.checkpoint is not None and self._on_contradiction is not None:
            self._on_contradiction(answer.checkpoint.origin, answer.body.decode().strip())
        return answer

    def _answer(self, body: bytes) -> Decision:
        # 1.
        origin = origin_of_request(body)
        known = None if origin is None else self._memory.known(origin)
        # 2.
        decision = decide(body, self._logs, known)
        checkpoint = decision.checkpoint
        if checkpoint is None:
            return decision
        # 3.
        if decision.status != 200:
            self._memory.keep_contradiction(checkpoint, body, self._now_ns())
            return decision
        # 4.
        self._memory.remember(checkpoint, known)
        # 5.
        line = cosign(checkpoint, self._name, self._key, self._now_ns() // 1_000_000_000)
        return Decision(200, f"{line}\n".encode(), checkpoint=checkpoint, head=decision.head)

    async def close(self) -> None:
        """Finish what runs, and close the memory. Idempotent."""
        await asyncio.to_thread(self._thread.shutdown)
        self._memory.close()


def witness_signing_key(state_dir: Path, *, create: bool) -> SigningKey:
    """The witness's key, `witness.key` in the state directory; made by the first start.

    Raises `ConfigurationError` for a file that is missing, readable by others or no key, `CannotServeError` when it is missing
    although the witness has cosigned: others trust it.
    """
    path = state_dir / WITNESS_KEY_FILE
    try:
        return read_key_file(path)
    except FileNotFoundError:
        if not create:
            raise ConfigurationError(f"there is no witness key {path}: it is made by the first start with --witness") from None
    if (state_dir / WITNESS_FILE).exists():
        raise CannotServeError(f"the witness key {path} is gone, but the witness has a memory: restore it from a backup")
    key = SigningKey.generate()
    write_key_file(path, key)
    return key


def open_witness(
    state_dir: Path,
    name: str,
    logs: Sequence[str],
    *,
    on_answer: Callable[[int], None] | None = None,
    on_contradiction: Callable[[str, str], None] | None = None,
) -> WitnessService:
    """A witness called `name` for the logs of these verifier keys, with key and memory in the state directory.

    Raises `ConfigurationError` for a name or key that is none, or without any log; `CannotServeError` for key and memory.
    """
    if not logs:
        raise ConfigurationError(
            "witness_logs: a witness that knows no log refuses everybody; give the verifier keys of its logs"
        )
    try:
        trusted = TrustedLogs(map(VerifierKey.parse, logs))
    except VerificationError as error:
        raise ConfigurationError(f"witness_logs: {error}") from error
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = witness_signing_key(state_dir, create=True)
    try:
        key.witness_key(name)
    except VerificationError as error:
        raise ConfigurationError(f"witness_name: {error}") from error
    memory = WitnessMemory(state_dir)
    return WitnessService(name, key, trusted, memory, on_answer=on_answer, on_contradiction=on_contradiction)
